// How alike the heads of two layers are on this text, every head of one with every head of the other, from what the
// page has: single weights where the text is short and all of these heads are exact, else their pooled maps. Two
// readings of one comparison. In common: the sum of the lesser of both weights, of all weight; blocks can only hide
// what differs, so that of pooled maps it is at most this. Jensen-Shannon divergence in nats: 0 alike, 0.69 nothing in
// common; of pooled maps it is at least this. Where the page holds the engine's own figures of a layer
// (docs/page-format.md, "agreement"), those: from single weights, of every row up to 1,448 tokens, of some rows of
// longer texts.
import { ABSENT } from '../draw/colormap';
import { headName } from './data';
import { readPooled } from './head';
import { floats, triangle } from './quant';
import type { Source } from '../source/source';

/** By what two heads are compared. */
export type Like = 'common' | 'js' | 'outputs';
/** The same with names, and what they mean. */
export const LIKES: readonly (readonly [Like, string, string])[] = [
  ['common', 'In common', 'The weight that both heads give to the same keys'],
  ['js', 'Divergence', 'Jensen-Shannon: 0 nats where both weigh alike, 0.69 where they share nothing'],
  ['outputs', 'Outputs', 'The cosine between what the two heads write'],
];

/** How alike the heads of two layers are, by what is known. */
export interface Likeness {
  heads: number; // H
  values: Partial<Record<Like, Float64Array>>; // [H, H]: a head of the first layer, one of the second
  exact: boolean; // made from single weights
  block: number; // else from blocks of so many tokens
  rows: number; // whose weights the engine compared; 0: it did not
}

/** Texts up to this length are compared weight by weight. */
const MOST = 512;

interface Map {
  cells: Float32Array; // [R (R + 1) / 2] shares of the rows' weight
  rows: Float32Array; // [R] tokens in each row of cells
}

/** Every weight of a head, tile by tile as they come. */
async function single(source: Source, head: number, first: boolean): Promise<Map | null> {
  const n = source.data.run.tokens;
  const exact = await source.cells(head);
  if (!exact) return null;
  let wake = (): void => undefined;
  const patches = exact.patches({ first, norm: 'row', weighted: false }, () => wake());
  let there = patches.want(0, 0, n, 0, n);
  while (patches.pending) {
    await new Promise<void>((done) => (wake = done));
    there = patches.want(0, 0, n, 0, n);
  }
  const cells = new Float32Array(triangle(n)).fill(NaN);
  for (const p of there)
    for (let r = 0; r < p.height && p.y + r < n; ++r)
      for (let c = 0; c < p.width && p.x + c <= p.y + r; ++c) {
        const v = p.values[2 * (r * p.width + c)]!;
        cells[triangle(p.y + r) + p.x + c] = v === ABSENT ? 0 : v < 0 ? NaN : v;
      }
  patches.stop();
  // The first row has one weight, which is 1 in every head: it says nothing.
  return { cells, rows: new Float32Array(n).fill(1).fill(0, 0, 1) };
}

async function pooled(source: Source, head: number, first: boolean): Promise<Map> {
  const { blocks, block, share, restShare } = await readPooled(source, headName(source.data, head));
  const cells = share.slice();
  if (!first) for (let r = 0; r < blocks; ++r) cells[triangle(r)] = restShare[r]!;
  const n = source.data.run.tokens;
  return { cells, rows: Float32Array.from({ length: blocks }, (_, r) => Math.min(block, n - r * block)) };
}

/** What is in either, weighed by rows; of the whole of both. NaN where a weight is no number. */
function compare({ cells: a, rows }: Map, { cells: b }: Map): [common: number, js: number] {
  let all = 0;
  let lesser = 0;
  let apart = 0;
  for (let r = 0, at = 0; r < rows.length; ++r) {
    let both = 0;
    let min = 0;
    let js = 0;
    for (let c = 0; c <= r; ++c, ++at) {
      const p = a[at]!;
      const q = b[at]!;
      both += p + q;
      min += Math.min(p, q);
      if (p > 0) js += p * Math.log((2 * p) / (p + q));
      if (q > 0) js += q * Math.log((2 * q) / (p + q));
    }
    all += rows[r]! * both;
    lesser += rows[r]! * min;
    apart += rows[r]! * js;
  }
  return [(2 * lesser) / all, Math.max(0, apart / all)];
}

async function mapsOf(source: Source, heads: number[], first: boolean): Promise<{ maps: Map[]; exact: boolean }> {
  if (source.data.run.tokens <= MOST) {
    const maps = await Promise.all(heads.map((h) => single(source, h, first)));
    if (maps.every((m) => m !== null)) return { maps, exact: true };
  }
  return { maps: await Promise.all(heads.map((h) => pooled(source, h, first))), exact: false };
}

/** The engine's own figures, of one layer with itself. */
async function engines(source: Source, layer: number): Promise<{ rows: number; js: number[]; outputs?: number[] }> {
  const size = source.data.model.heads ** 2;
  const count = 1 + size * (source.data.agreement?.outputs ? 2 : 1);
  const all = Array.from(floats(await source.section(`agreement/${layer}`, 4 * count), 0, count));
  const js = all.slice(1, 1 + size);
  return { rows: all[0]!, js, ...(count > 1 + size ? { outputs: all.slice(1 + size) } : {}) };
}

/** `first`: the first token's weight counts. */
export async function likeness(source: Source, [a, b]: readonly [number, number], first: boolean): Promise<Likeness> {
  const { model, pool, agreement } = source.data;
  const { heads } = model;
  const of = (layer: number): number[] => Array.from({ length: heads }, (_, h) => layer * heads + h);
  const { maps, exact } = await mapsOf(source, a === b ? of(a) : [...of(a), ...of(b)], first);
  const common = new Float64Array(heads * heads);
  const js = new Float64Array(heads * heads);
  for (let i = 0; i < heads; ++i) {
    for (let j = 0; j < heads; ++j)
      [common[i * heads + j], js[i * heads + j]] = compare(maps[i]!, maps[a === b ? j : heads + j]!);
    await new Promise((done) => window.setTimeout(done)); // the page stays awake
  }
  const found: Likeness = { heads, values: { common, js }, exact, block: exact ? 1 : pool.block, rows: 0 };
  if (a !== b || !first || !agreement) return found;
  const own = await engines(source, a);
  found.rows = own.rows;
  found.values.js = Float64Array.from(own.js);
  if (own.outputs) found.values.outputs = Float64Array.from(own.outputs);
  return found;
}

/** A pair of heads and how alike it is. */
export interface Match {
  a: number; // heads of the first and of the second layer
  b: number;
  value: number;
}

/** All pairs, each once, the most alike first; what is no number is left out. */
export function ranked({ heads, values }: Likeness, like: Like, within: boolean): Match[] {
  const of = values[like] ?? [];
  const out: Match[] = [];
  for (let a = 0; a < heads; ++a)
    for (let b = within ? a + 1 : 0; b < heads; ++b) {
      const value = of[a * heads + b]!;
      if (!Number.isNaN(value)) out.push({ a, b, value });
    }
  return out.sort((x, y) => (like === 'js' ? x.value - y.value : y.value - x.value));
}
