// The map as patches of cells, coarse to exact. Pooled levels come from the page's base level by reduction, each cell
// holding both the share of its rows' weight (sums add) and the largest single weight (mean would hide stripes and
// single hits). Exact patches are 256 x 256 tokens, computed from Q, K and LSE in slices of a few milliseconds, reduced
// on the way to the cell size that the screen needs. Those of a server: source_http.ts.
import { ABSENT, NOT_A_NUMBER } from './colormap';
import { type Exact, exactWeights, partOf } from '../data/exact';
import type { Head } from '../data/head';
import { triangle } from '../data/quant';
import type { Look, Patches } from '../source/source';

/** The side of an exact patch. */
export const TILE = 256; // tokens a side of an exact patch
const SLICE_MS = 6;
const KEEP_BYTES = 96e6;

/** A rectangle of cells that is drawn as one. */
export interface Patch {
  x: number; // first key
  y: number; // first row
  cell: number; // tokens a side of one cell
  width: number; // cells
  height: number;
  exact: boolean;
  values: Float32Array; // [height, width, 2] share, max; ABSENT above the diagonal
}

const mark = (v: number): number => (Number.isFinite(v) ? v : NOT_A_NUMBER);

/** All pooled levels, finest first. What blocks cannot tell under a look is absent rather than wrong. */
export function pooledLevels(head: Head, look: Look): Patch[] {
  const levels = shareLevels(head, look.first);
  const { received, sizes } = head.exact ?? { received: null, sizes: null };
  if (look.norm === 'key') levels.forEach((level) => byKey(level, head.n));
  else if (look.weighted && received && sizes) levels.forEach((level) => bySize(level, received, sizes));
  return levels;
}

/** Shares of rows to parts of what the keys of a block receive. */
function byKey(level: Patch, n: number): void {
  const { width, values, cell } = level;
  for (let c = 0; c < width; ++c) {
    const sumOf = (r: number): number => values[2 * (r * width + c)]! * Math.min(cell, n - r * cell);
    let sum = 0;
    for (let r = c; r < width; ++r) sum += Math.max(0, sumOf(r));
    for (let r = c; r < width; ++r) {
      const at = 2 * (r * width + c);
      if (values[at]! >= 0) values[at] = sum > 0 ? sumOf(r) / sum : 0;
      if (values[at + 1] !== NOT_A_NUMBER) values[at + 1] = ABSENT; // the largest part is not known from blocks
    }
  }
}

/** Shares times the mean size of what the block's keys carry, each key counted by what it receives. */
function bySize(level: Patch, received: Float32Array, sizes: Float32Array): void {
  const { width, values, cell } = level;
  const top = largest(sizes);
  for (let c = 0; c < width; ++c) {
    let sum = 0;
    let all = 0;
    for (let j = c * cell; j < Math.min(sizes.length, (c + 1) * cell); ++j) {
      sum += received[j]! * sizes[j]!;
      all += received[j]!;
    }
    for (let r = c; r < width; ++r) {
      const at = 2 * (r * width + c);
      if (values[at]! >= 0) values[at]! *= all > 0 ? sum / all / top : 0;
      if (values[at + 1] !== NOT_A_NUMBER) values[at + 1] = ABSENT;
    }
  }
}

/** The largest value, 1 where all are 0. */
export function largest(values: Float32Array): number {
  let top = 0;
  for (const v of values) if (v > top) top = v;
  return top || 1;
}

function shareLevels(head: Head, first: boolean): Patch[] {
  const { block, blocks, share, max, restShare } = head.pooled;
  const values = new Float32Array(2 * blocks * blocks).fill(ABSENT);
  for (let r = 0; r < blocks; ++r) {
    for (let c = 0; c <= r; ++c) {
      const to = 2 * (r * blocks + c);
      const from = triangle(r) + c;
      values[to] = mark(!first && c === 0 ? (restShare[r] ?? NaN) : (share[from] ?? NaN));
      // Without the first token the largest weight of its block is not known: absent rather than wrong.
      values[to + 1] = !first && c === 0 ? ABSENT : mark(max[from] ?? NaN);
    }
  }
  const levels: Patch[] = [{ x: 0, y: 0, cell: block, width: blocks, height: blocks, exact: false, values }];
  for (let last = levels[0]!; last.width > 8; last = levels[levels.length - 1]!) levels.push(halve(last, head.n));
  return levels;
}

function halve(fine: Patch, n: number): Patch {
  const width = Math.ceil(fine.width / 2);
  const values = new Float32Array(2 * width * width).fill(ABSENT);
  const cell = fine.cell * 2;
  for (let r = 0; r < width; ++r) {
    const all = Math.min(cell, n - r * cell);
    for (let half = 0; half < 2; ++half) {
      const fr = 2 * r + half;
      if (fr >= fine.height) continue;
      const part = Math.min(fine.cell, n - fr * fine.cell) / all;
      for (let c = 0; c <= Math.min(fr, fine.width - 1); ++c) {
        const from = 2 * (fr * fine.width + c);
        const to = 2 * (r * width + (c >> 1));
        const s = fine.values[from]!;
        const m = fine.values[from + 1]!;
        if (s === NOT_A_NUMBER || values[to] === NOT_A_NUMBER) values[to] = NOT_A_NUMBER;
        else if (s !== ABSENT) values[to] = Math.max(values[to]!, 0) + s * part;
        if (m === NOT_A_NUMBER || values[to + 1] === NOT_A_NUMBER) values[to + 1] = NOT_A_NUMBER;
        else values[to + 1] = Math.max(values[to + 1]!, m);
      }
    }
  }
  return { x: 0, y: 0, cell, width, height: width, exact: false, values };
}

/** A patch that is wanted. */
export interface Tile {
  tx: number;
  ty: number;
  level: number; // 2^level tokens a cell
  id: string;
  far: number; // from the middle of what is in view, tokens
}

/** Tiles of `side` tokens that lie in the triangle of an n-token text and touch the tokens [x0, x1) x [y0, y1). */
export function tilesInView(n: number, side: number, level: number, x: [number, number], y: [number, number]): Tile[] {
  const clamp = (v: number): number => Math.max(0, Math.min(Math.ceil(n / side) - 1, Math.floor(v / side)));
  const out: Tile[] = [];
  for (let ty = clamp(y[0]); ty <= clamp(y[1]); ++ty) {
    for (let tx = clamp(x[0]); tx <= Math.min(ty, clamp(x[1])); ++tx) {
      const far = Math.hypot((tx + 0.5) * side - (x[0] + x[1]) / 2, (ty + 0.5) * side - (y[0] + y[1]) / 2);
      out.push({ tx, ty, level, id: `${level}/${tx}/${ty}`, far });
    }
  }
  return out;
}

/** Patches that were made, the most recently used last; the oldest go when they take too much memory. */
export class PatchStore {
  private readonly done = new Map<string, Patch>();
  private bytes = 0;

  get(id: string): Patch | undefined {
    const there = this.done.get(id);
    if (there) {
      this.done.delete(id);
      this.done.set(id, there);
    }
    return there;
  }

  add(id: string, patch: Patch): void {
    this.done.set(id, patch);
    this.bytes += patch.values.byteLength;
    for (const [oldId, old] of this.done) {
      if (this.bytes <= KEEP_BYTES || oldId === id) break;
      this.done.delete(oldId);
      this.bytes -= old.values.byteLength;
    }
  }

  clear(): void {
    this.done.clear();
    this.bytes = 0;
  }
}

interface Job {
  patch: Patch;
  next: number; // next row of the tile
  id: string;
}
interface HeldHead {
  n: number; // N
  exact: Exact;
  received: Float32Array | null; // [N]
  sizes: Float32Array | null; // [N]
}

/** The exact patches of one head whose Q and K are at hand. */
export class ExactPatches implements Patches {
  private readonly done = new PatchStore();
  private queue: Tile[] = [];
  private job: Job | null = null;
  private scheduled = false;
  private stopped = false;
  readonly missing = 0; // what is at hand can be had
  private readonly channel = new MessageChannel();
  private readonly row = new Float64Array(TILE);
  private readonly keySums = new Float64Array(TILE);
  private keySumsOf = '';
  private readonly largest: number;

  constructor(
    private readonly head: HeldHead,
    private readonly look: Look,
    private readonly onReady: () => void,
  ) {
    this.largest = head.sizes ? largest(head.sizes) : 1;
    this.channel.port1.onmessage = () => {
      this.scheduled = false;
      this.work();
    };
  }

  stop(): void {
    this.stopped = true;
    this.queue = [];
    this.done.clear();
    this.channel.port1.close();
  }

  get pending(): number {
    return this.queue.length + (this.job ? 1 : 0);
  }

  /**
   * Patches that cover the tokens [x0, x1) x [y0, y1) at 2^level tokens a cell: those that are there. The rest is
   * computed, nearest to the middle first.
   */
  want(level: number, x0: number, x1: number, y0: number, y1: number): Patch[] {
    const out: Patch[] = [];
    const missing: Tile[] = [];
    for (const tile of tilesInView(this.head.n, TILE, level, [x0, x1], [y0, y1])) {
      const there = this.done.get(tile.id);
      if (there) out.push(there);
      else missing.push(tile);
    }
    this.queue = missing.sort((a, b) => a.far - b.far).filter((m) => m.id !== this.job?.id);
    if (this.job && !missing.some((m) => m.id === this.job?.id)) this.job = null; // no longer looked at
    this.schedule();
    return out;
  }

  private schedule(): void {
    if (this.scheduled || this.stopped || !this.pending) return;
    this.scheduled = true;
    this.channel.port2.postMessage(0);
  }

  private work(): void {
    if (this.stopped) return;
    const until = performance.now() + SLICE_MS;
    let finished = false;
    while (performance.now() < until && this.pending) {
      if (!this.job) {
        const next = this.queue.shift()!;
        this.job = { patch: this.empty(next.tx, next.ty, next.level), next: 0, id: next.id };
      }
      finished = this.advance(this.job, 8) || finished;
    }
    if (finished) this.onReady();
    this.schedule();
  }

  private empty(tx: number, ty: number, level: number): Patch {
    const cell = 1 << level;
    const width = TILE / cell;
    const values = new Float32Array(2 * width * width).fill(ABSENT);
    return { x: tx * TILE, y: ty * TILE, cell, width, height: width, exact: true, values };
  }

  private advance(job: Job, rows: number): boolean {
    const { patch } = job;
    const { n, exact } = this.head;
    const end = Math.min(job.next + rows, TILE, n - patch.y);
    for (; job.next < end; ++job.next) {
      const i = patch.y + job.next;
      const to = Math.min(patch.x + TILE, i + 1);
      if (to <= patch.x) continue;
      exactWeights(exact, i, patch.x, to, this.row);
      this.reduce(patch, i, to);
    }
    if (job.next < Math.min(TILE, n - patch.y)) return false;
    this.done.add(job.id, patch);
    this.job = null;
    return true;
  }

  private reduce(patch: Patch, i: number, to: number): void {
    const { cell, width, values } = patch;
    const { first, norm, weighted } = this.look;
    const { n, received, sizes } = this.head;
    const shift = Math.log2(cell);
    const r = (i - patch.y) >> shift;
    const byKey = norm === 'key' && received !== null;
    const bySize = weighted && !byKey && sizes !== null;
    if (byKey) this.sumKeys(patch, received);
    const rows = 1 / Math.min(cell, n - patch.y - r * cell);
    for (let j = patch.x; j < to; ++j) {
      if (j === 0 && !first) continue;
      const c = (j - patch.x) >> shift;
      const raw = this.row[j - patch.x]!;
      const w = byKey ? partOf(raw, received[j]!) : bySize ? (raw * sizes[j]!) / this.largest : raw;
      const at = 2 * (r * width + c);
      if (!Number.isFinite(w) || values[at] === NOT_A_NUMBER) {
        values[at] = NOT_A_NUMBER;
        values[at + 1] = NOT_A_NUMBER;
        continue;
      }
      values[at] = Math.max(values[at]!, 0) + (byKey ? partOf(raw, this.keySums[c]!) : w * rows);
      if (w > values[at + 1]!) values[at + 1] = w;
    }
  }

  /** What the keys of each column of the patch receive together. */
  private sumKeys(patch: Patch, received: Float32Array): void {
    const id = `${patch.x}/${patch.cell}`;
    if (this.keySumsOf === id) return;
    this.keySumsOf = id;
    this.keySums.fill(0);
    const shift = Math.log2(patch.cell);
    for (let j = patch.x; j < Math.min(this.head.n, patch.x + TILE); ++j) {
      if (j > 0 || this.look.first) this.keySums[(j - patch.x) >> shift]! += received[j]!;
    }
  }
}
