// Where the page's numbers come from: its own file (source_file.ts) or the server that sent it (source_http.ts). All
// else asks through these interfaces and cannot tell the two apart. A third source implements `Source`, nothing more;
// what the bytes mean is the same for all and read in head.ts (docs/page-format.md).
import type { PageData } from '../data/data';
import type { Patch } from '../draw/tiles';

/** How weights are looked at: the same for a patch, a row and a cell. */
export interface Look {
  readonly first: boolean; // the first token's weight is shown
  readonly norm: 'row' | 'key'; // parts of what a row gives, or of what a key receives from all rows
  readonly weighted: boolean; // times the size of what the key carries, |v W_O|
}

/**
 * Exact patches of one head under one look. want() says what the screen shows now: patches at 2^level tokens a cell
 * that are there already; the rest is on its way, what is no longer wanted is given up, and onReady is called as they
 * come.
 */
export interface Patches {
  readonly pending: number;
  readonly missing: number; // of those wanted now, patches that could not be had
  want(level: number, x0: number, x1: number, y0: number, y1: number): Patch[];
  stop(): void;
}

/** The exact cells of one head. */
export interface Cells {
  readonly how: string; // "recomputed here from Q, K and LSE"
  /** Weights of row i on the keys [0, i], [i + 1]: at once where they are at hand. */
  row(i: number, signal: AbortSignal): Float32Array | Promise<Float32Array>;
  patches(look: Look, onReady: () => void): Patches;
  /** Looks that this head can be shown under. */
  readonly can: { readonly key: boolean; readonly weighted: boolean };
  /** Weight received by each key, [N], and |v W_O| of each key, [N]; null where they are not known. */
  readonly received: Float32Array | null;
  readonly sizes: Float32Array | null;
}

/** How a text that was typed in is coming along. */
export interface RunState {
  state: 'idle' | 'running' | 'done' | 'cancelled' | 'failed';
  done: number; // tokens
  total: number;
  error?: string;
}
/** One change of the weighting, as in a steering file (docs/steering.md). */
export interface Intervention {
  kind: 'boost' | 'knockout' | 'temperature' | 'scale';
  heads: string[];
  keys?: [number, number][];
  value?: number;
}
/** A server that runs what the page asks for. */
export interface Live {
  start(text: string): Promise<void>;
  /** The text that is shown once more, with its weighting changed; when it is done steered() is that run. */
  steer(interventions: Intervention[]): Promise<void>;
  steered(): Promise<Source>;
  state(): Promise<RunState>;
  cancel(): Promise<void>;
}

/** Where the numbers of one run come from: the file itself, or a server. */
export interface Source {
  readonly data: PageData;
  readonly against?: Source; // a second run over the same tokens
  readonly live?: Live; // a model is at hand to run other texts
  /** The bytes of a section; an error where there are not `size` of them. */
  section(name: string, size: number): Promise<Uint8Array>;
  /** Asks once more whether the run is there, where that may change. */
  again?(): Promise<void>;
  /** null: this head is known by its pooled map only. */
  cells(head: number): Promise<Cells | null>;
}
