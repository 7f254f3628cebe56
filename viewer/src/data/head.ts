// One head's numbers, asked from the source when first needed: the pooled map, the measures along the edges, and, where
// the source has them, exact cells. And what a row of it says in words and figures.
import { headName, headOf, layerOf } from './data';
import { LOG_DECODE, linearDecode, triangle } from './quant';
import type { Cells, Source } from '../source/source';

/** A head’s weights in blocks. */
export interface Pooled {
  block: number; // tokens per block
  blocks: number; // B
  share: Float32Array; // [B (B + 1) / 2] mean share of a row's weight
  max: Float32Array; // [B (B + 1) / 2] largest single weight
  restShare: Float32Array; // [B] column block 0 without the first token
}
/** What stands along the edges of its map. */
export interface Edges {
  received: Float32Array; // [N] mean weight received as a key
  entropy: Float32Array; // [N] nats
  maxWeight: Float32Array; // [N]
  maxKey: Int32Array; // [N]
}
/** One head, read. */
export interface Head {
  index: number;
  layer: number;
  head: number;
  n: number; // N
  pooled: Pooled;
  edges: Edges | null;
  exact: Cells | null;
}

/** Reads the blocks of a head. */
export async function readPooled(source: Source, name: string): Promise<Pooled> {
  const { block, blocks } = source.data.pool;
  const cells = triangle(blocks);
  const bytes = await source.section(`pool/${name}`, 2 * cells + blocks);
  const decode = (from: number, count: number): Float32Array =>
    Float32Array.from(bytes.subarray(from, from + count), (code) => LOG_DECODE[code] ?? NaN);
  return {
    block,
    blocks,
    share: decode(0, cells),
    max: decode(cells, cells),
    restShare: decode(2 * cells, blocks),
  };
}

async function readEdges(source: Source, name: string): Promise<Edges | null> {
  const { data } = source;
  if (!data.has_rows) return null;
  const n = data.run.tokens;
  const planes = n > 65536 ? 6 : 5;
  const bytes = await source.section(`rows/${name}`, planes * n);
  const top = Math.log(Math.max(n, 2));
  const plane = (p: number, i: number): number => bytes[p * n + i] ?? 0;
  return {
    received: Float32Array.from({ length: n }, (_, i) => LOG_DECODE[plane(0, i)] ?? NaN),
    entropy: Float32Array.from({ length: n }, (_, i) => linearDecode(plane(1, i), top)),
    maxWeight: Float32Array.from({ length: n }, (_, i) => LOG_DECODE[plane(2, i)] ?? NaN),
    maxKey: Int32Array.from({ length: n }, (_, i) => {
      const key = plane(3, i) | (plane(4, i) << 8) | (planes > 5 ? plane(5, i) << 16 : 0);
      return Math.min(key, n - 1);
    }),
  };
}

/** Reads a head. */
export async function readHead(source: Source, index: number): Promise<Head> {
  const { data } = source;
  const name = headName(data, index);
  const [pooled, edges, exact] = await Promise.all([
    readPooled(source, name),
    readEdges(source, name),
    source.cells(index),
  ]);
  return { index, layer: layerOf(data, index), head: headOf(data, index), n: data.run.tokens, pooled, edges, exact };
}

/** A key of a row, or a block of keys, and its weight. */
export interface RowKey {
  from: number; // first key
  to: number; // last key, inclusive: a block where the head is pooled
  weight: number;
}
/** One row of a head, ready to be shown. */
export interface RowView {
  row: number;
  exact: boolean;
  rows: [number, number]; // the rows that were averaged: the row itself where exact
  weights: Float32Array; // [row + 1]: per key; of a pooled head the block's share spread over its keys
  top: RowKey[]; // strongest first
  total: number; // what the weights sum to: 1 but for rounding
  strongest: RowKey | null; // of a pooled head: the one key that is known
}

const TOP = 12;

function strongest(weights: ArrayLike<number>, count: number): number[] {
  const best: number[] = [];
  for (let j = 0; j < weights.length; ++j) {
    const w = weights[j] ?? 0;
    if (best.length === count && !(w > (weights[best[count - 1]!] ?? 0))) continue;
    let place = best.length;
    while (place > 0 && w > (weights[best[place - 1]!] ?? 0)) --place;
    best.splice(place, 0, j);
    if (best.length > count) best.pop();
  }
  return best;
}

/**
 * What row i gives to every key: exact, or the mean over the rows of its block. A promise only where the exact row has
 * to be fetched.
 */
export function rowView(head: Head, i: number, signal: AbortSignal): RowView | Promise<RowView> {
  if (!head.exact) return pooledRow(head, i);
  const weights = head.exact.row(i, signal);
  return weights instanceof Promise ? weights.then((w) => exactRow(i, w)) : exactRow(i, weights);
}

function exactRow(i: number, weights: Float32Array): RowView {
  let total = 0;
  for (const w of weights) total += w;
  const top = strongest(weights, TOP).map((j) => ({ from: j, to: j, weight: weights[j] ?? NaN }));
  return { row: i, exact: true, rows: [i, i], weights, top, total, strongest: null };
}

function pooledRow(head: Head, i: number): RowView {
  const { block, blocks, share } = head.pooled;
  const r = Math.min(Math.floor(i / block), blocks - 1);
  const start = triangle(r);
  const line = share.subarray(start, start + r + 1);
  const last = Math.min(head.n, (r + 1) * block) - 1;
  const weights = new Float32Array(i + 1);
  let total = 0;
  for (let c = 0; c <= r; ++c) {
    const keys = Math.min(last + 1, (c + 1) * block) - c * block;
    total += line[c] ?? 0;
    for (let j = c * block; j < Math.min(i + 1, (c + 1) * block); ++j) weights[j] = (line[c] ?? 0) / keys;
  }
  const top = strongest(line, TOP).map((c) => ({
    from: c * block,
    to: Math.min(last, (c + 1) * block - 1),
    weight: line[c] ?? NaN,
  }));
  const key = head.edges?.maxKey[i] ?? 0;
  const known = head.edges ? { from: key, to: key, weight: head.edges.maxWeight[i] ?? NaN } : null;
  return { row: i, exact: false, rows: [r * block, last], weights, top, total, strongest: known };
}
