// One head's numbers, read from the page when first needed: the pooled map, the measures along the edges, and, for an
// exact head, Q, K and LSE, from which any weight is recomputed: exp(q_i . k_j / sqrt(D) - LSE_i). Sums are f64; what
// differs from the engine is the rounding of Q and K to binary16, nothing else.
import { type PageData, headName, headOf, layerOf, section } from './data';
import { LOG_DECODE, halfPlanes, linearDecode, triangle } from './quant';

export interface Pooled {
  block: number; // tokens per block
  blocks: number; // B
  share: Float32Array; // [B (B + 1) / 2] mean share of a row's weight
  max: Float32Array; // [B (B + 1) / 2] largest single weight
  restShare: Float32Array; // [B] column block 0 without the first token
}
export interface Edges {
  received: Float32Array; // [N] mean weight received as a key
  entropy: Float32Array; // [N] nats
  maxWeight: Float32Array; // [N]
  maxKey: Int32Array; // [N]
}
export interface Exact {
  q: Float32Array; // [N, D]
  k: Float32Array; // [N, D]
  lse: Float32Array; // [N]
  scale: number;
  dim: number; // D
}
export interface Head {
  index: number;
  layer: number;
  head: number;
  n: number; // N
  pooled: Pooled;
  edges: Edges | null;
  exact: Exact | null;
}

async function readPooled(data: PageData, name: string): Promise<Pooled> {
  const { block, blocks } = data.pool;
  const cells = triangle(blocks);
  const bytes = await section(`pool/${name}`, 2 * cells + blocks);
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

async function readEdges(data: PageData, name: string): Promise<Edges | null> {
  if (!data.has_rows) return null;
  const n = data.run.tokens;
  const planes = n > 65536 ? 6 : 5;
  const bytes = await section(`rows/${name}`, planes * n);
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

async function readExact(data: PageData, index: number): Promise<Exact | null> {
  if (!data.exact.includes(index)) return null;
  const n = data.run.tokens;
  const dim = data.model.head_dim;
  const group = data.model.heads / data.model.kv_heads;
  const kvName = `${layerOf(data, index)}.${Math.floor(headOf(data, index) / group)}`;
  const [qBytes, kBytes] = await Promise.all([
    section(`q/${headName(data, index)}`, 2 * n * dim + 4 * n),
    section(`k/${kvName}`, 2 * n * dim),
  ]);
  const lse = new Float32Array(n);
  const view = new DataView(qBytes.buffer, qBytes.byteOffset + 2 * n * dim, 4 * n);
  for (let i = 0; i < n; ++i) lse[i] = view.getFloat32(4 * i, true);
  const q = halfPlanes(qBytes, 0, n * dim);
  return { q, k: halfPlanes(kBytes, 0, n * dim), lse, scale: 1 / Math.sqrt(dim), dim };
}

export async function readHead(data: PageData, index: number): Promise<Head> {
  const name = headName(data, index);
  const [pooled, edges, exact] = await Promise.all([
    readPooled(data, name),
    readEdges(data, name),
    readExact(data, index),
  ]);
  return { index, layer: layerOf(data, index), head: headOf(data, index), n: data.run.tokens, pooled, edges, exact };
}

/// Weights of row i on keys [from, to), to <= i + 1, into out.
export function exactWeights(x: Exact, i: number, from: number, to: number, out: Float32Array | Float64Array): void {
  const { q, k, dim, scale } = x;
  const lse = x.lse[i] ?? NaN;
  const qi = i * dim;
  const whole = dim - (dim % 4);
  for (let j = from; j < to; ++j) {
    const kj = j * dim;
    let a = 0;
    let b = 0;
    let c = 0;
    let e = 0;
    let d = 0;
    for (; d < whole; d += 4) {
      a += q[qi + d]! * k[kj + d]!;
      b += q[qi + d + 1]! * k[kj + d + 1]!;
      c += q[qi + d + 2]! * k[kj + d + 2]!;
      e += q[qi + d + 3]! * k[kj + d + 3]!;
    }
    for (; d < dim; ++d) a += q[qi + d]! * k[kj + d]!;
    out[j - from] = Math.exp((a + b + (c + e)) * scale - lse);
  }
}

export function exactCell(x: Exact, i: number, j: number): number {
  const out = new Float64Array(1);
  exactWeights(x, i, j, j + 1, out);
  return out[0] ?? NaN;
}

export interface RowKey {
  from: number; // first key
  to: number; // last key, inclusive: a block where the head is pooled
  weight: number;
}
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

/// What row i gives to every key: exact, or the mean over the rows of its block.
export function rowView(head: Head, i: number): RowView {
  if (head.exact) {
    const weights = new Float32Array(i + 1);
    exactWeights(head.exact, i, 0, i + 1, weights);
    let total = 0;
    for (const w of weights) total += w;
    const top = strongest(weights, TOP).map((j) => ({ from: j, to: j, weight: weights[j] ?? NaN }));
    return { row: i, exact: true, rows: [i, i], weights, top, total, strongest: null };
  }
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
