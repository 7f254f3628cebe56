// What a map is given and what it tells: see map.ts.
import type { Drawn } from './drawn';
import type { Gauge } from '../draw/gauge';
import type { Frame } from './gutters';
import type { Picture } from '../draw/picture';
import type { Camera } from '../draw/render';
import type { State, View } from '../state/state';
import type { Patch } from '../draw/tiles';

/** A row and a key. */
export interface Cell {
  row: number;
  key: number;
}
/** What a map tells. */
export interface Events {
  hover(cell: Cell | null): void;
  focus(cell: Cell): void;
  view(view: View | null): void;
  drawn(drawn: Drawn): void; // as soon as it is another
  settled(patches: Patch[], camera: Camera, frame: Frame, pending: number): void; // when the hand rests
  lost(): void; // the graphics context is gone: this canvas draws nothing more
}
/** What it draws on. */
export interface Canvases {
  cells: HTMLCanvasElement;
  over: HTMLCanvasElement;
  mini: HTMLCanvasElement;
}
/** What it shows. */
export interface Subject {
  picture: Picture;
  tokens: string[];
  gauge: Gauge; // shared with the maps beside this one
}
/** How it shows that. */
export type Shown = Pick<State, 'scale' | 'pool' | 'first' | 'palette' | 'row' | 'key' | 'norm' | 'weighted'>;
