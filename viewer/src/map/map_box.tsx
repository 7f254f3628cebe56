// One map on the page: its canvases and the MapView that draws them, for as long as its picture is shown. Several boxes
// of the same text move together: each follows the view in the store and writes its own movements there.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { type CellRow, strongestCells } from '../head/cells_table';
import type { Drawn } from './drawn';
import { focusOn } from '../state/focus';
import type { Gauge } from '../draw/gauge';
import { MapView } from './map';
import type { Cell } from './map_types';
import type { Picture } from '../draw/picture';
import { type State, type Store, useDark } from '../state/state';

/** What a map tells when the hand rests. */
export interface Settled {
  pending: number;
  cells: CellRow[];
  renderer: string;
  top: number; // the weight drawn brightest on the linear scale
}
/** What is known before. */
export const UNSETTLED: Settled = { pending: 0, cells: [], renderer: '', top: 1 };

interface MapBoxProps {
  store: Store;
  state: State;
  picture: Picture;
  gauge: Gauge;
  label: string;
  described: string; // ids of what a screen reader is told of it
  caption: string; // above the map where there are several
  keyToken: number;
  minimap: boolean;
  buttons: boolean; // those that zoom
  onHover: (cell: Cell | null) => void;
  onDrawn: (d: Drawn) => void;
  onSettled: (s: Settled) => void;
  view: { current: MapView | null }; // for the buttons beside the map
}

let canvases = 0;

/** One map, its minimap and its zoom. */
export function MapBox({ store, state, picture, gauge, keyToken: key, ...rest }: MapBoxProps) {
  const { label, described, caption, minimap, buttons, onHover, onDrawn, onSettled, view } = rest;
  const cells = useRef<HTMLCanvasElement>(null);
  const over = useRef<HTMLCanvasElement>(null);
  const mini = useRef<HTMLCanvasElement>(null);
  const [dark] = useDark();
  const [lost, setLost] = useState(0); // graphics contexts, one after the other
  // A canvas keeps the context it was drawn with first, and that one ends with its picture: each has its own.
  const canvas = useMemo(() => ++canvases, [picture, lost]);
  const { scale, pool, first, palette, row, norm, weighted } = state;

  useLayoutEffect(() => {
    const map = new MapView(
      { cells: cells.current!, over: over.current!, mini: mini.current! },
      { picture, tokens: store.data.tokens, gauge },
      { ...store.get(), ...allowed(store.get(), picture), key },
      store.get().view,
      {
        hover: onHover,
        focus: (c) => {
          focusOn(store, c.row, c.key);
          over.current?.focus({ preventScroll: true });
        },
        view: (v) => store.set({ view: v }),
        drawn: onDrawn,
        settled: (patches, camera, frame, pending) =>
          onSettled({
            pending,
            cells: strongestCells(patches, camera, frame, map.palette.pool, picture.signed),
            renderer: map.renderer.kind,
            top: map.palette.top,
          }),
        lost: () => setLost((times) => times + 1),
      },
    );
    view.current = map;
    // Where the page has just come to a head, its listed keys work at once.
    if (buttons && document.activeElement?.matches('main')) over.current!.focus({ preventScroll: true });
    const stop = store.subscribe((s) => map.follow(s.view));
    return () => {
      stop();
      map.dispose();
      if (view.current === map) view.current = null;
    };
  }, [canvas]);

  useLayoutEffect(
    () => view.current?.show({ scale, first, palette, row, key, ...allowed(state, picture) }),
    [scale, pool, first, palette, row, key, norm, weighted, picture],
  );
  useEffect(() => view.current?.retheme(), [dark]);
  const opened = useRef(true);
  useEffect(() => {
    // A link names its view: the focus is brought into it only when it moves.
    if (!opened.current) view.current?.reveal(row, key);
    opened.current = false;
  }, [row, key]);

  const onKeyDown = (e: KeyboardEvent): void => {
    const map = view.current;
    if (!map || e.ctrlKey || e.metaKey || e.altKey) return;
    const moves: Record<string, [number, number]> = {
      ArrowUp: [-1, 0],
      ArrowDown: [1, 0],
      ArrowLeft: [0, -1],
      ArrowRight: [0, 1],
    };
    const move = moves[e.key];
    // Keys may come faster than what they change is drawn.
    const { row, key: chosen } = store.get();
    const at = chosen >= 0 ? Math.min(chosen, row) : key;
    if (move && e.shiftKey) map.panBy(move[1] / 4, move[0] / 4);
    else if (move) focusOn(store, row + move[0] * map.stride, Math.max(0, at + move[1] * map.stride));
    else if (e.key === '+' || e.key === '=') map.zoomBy(2);
    else if (e.key === '-' || e.key === '_') map.zoomBy(0.5);
    else if (e.key === '0') map.go(null);
    else if (e.key === 'Enter' && !e.repeat)
      map.toCells(row, at); // held down it has only opened the head
    else if (e.key === 'Home') focusOn(store, row, 0);
    else if (e.key === 'End') focusOn(store, row, row);
    else if (e.key === 'PageUp') focusOn(store, row - Math.ceil(picture.n / 10), at);
    else if (e.key === 'PageDown') focusOn(store, row + Math.ceil(picture.n / 10), at);
    else return;
    onHover(null); // what moved last counts
    e.preventDefault();
  };

  return (
    <figure class="map-box">
      {caption && <figcaption class="map-caption">{caption}</figcaption>}
      <div class="map">
        <canvas key={canvas} ref={cells} class="map-cells" aria-hidden="true" />
        <canvas
          ref={over}
          class="map-over"
          tabIndex={0}
          role="application"
          aria-roledescription="attention map"
          aria-label={label}
          aria-describedby={described}
          onKeyDown={onKeyDown}
        />
        <canvas ref={mini} class={minimap ? 'map-mini' : 'map-mini none'} aria-hidden="true" />
      </div>
      {buttons && <ZoomButtons view={view} row={row} keyToken={key} />}
    </figure>
  );
}

interface ZoomButtonsProps {
  view: { current: MapView | null };
  row: number;
  keyToken: number;
}

function ZoomButtons({ view, row, keyToken }: ZoomButtonsProps) {
  const buttons: [string, string, (map: MapView) => void][] = [
    ['\u2212', 'Zoom out', (map) => map.zoomBy(0.5)],
    ['+', 'Zoom in', (map) => map.zoomBy(2)],
    ['All', 'All', (map) => map.go(null)],
    ['Cells', 'Cells', (map) => map.toCells(row, keyToken)],
  ];
  return (
    <div class="options zoom" role="group" aria-label="Zoom">
      {buttons.map(([text, name, act]) => (
        <button type="button" key={name} aria-label={name} onClick={() => view.current && act(view.current)}>
          {text}
        </button>
      ))}
    </div>
  );
}

/** A link may ask for what this picture cannot show: blocks do not know the largest part of what a key receives. */
export function allowed(state: State, picture: Picture): Pick<State, 'pool' | 'norm' | 'weighted'> {
  const norm = picture.can.key ? state.norm : 'row';
  const weighted = picture.can.weighted && state.weighted && norm === 'row';
  return { norm, weighted, pool: (norm === 'key' || weighted) && !picture.exact ? 'sum' : state.pool };
}
