// Weights recomputed from Q, K and LSE. The one hot loop of the page: 64 multiply-adds a cell.
/** What a head’s weights are computed from. */
export interface Exact {
  q: Float32Array; // [N, D]
  k: Float32Array; // [N, D]
  lse: Float32Array; // [N]
  dim: number; // D
  scale: number; // of q . k
  softcap: number; // c: s = c tanh(s / c); 0: none
  slope: number; // ALiBi: s += slope (j - i)
  window: number; // row i sees the first `leading` keys and keys [i - window, i]
  leading: number;
  steer?: Steer;
}
/** How the scores of a steered head were changed: times `scale`, plus value[rowSpan[i] * keySpans + keySpan[j]]. */
export interface Steer {
  rowSpan: ArrayLike<number>; // [N]
  keySpan: ArrayLike<number>; // [N]
  keySpans: number;
  value: Float32Array; // empty: nothing is added
  scale: number;
}

/** What part a weight is of all that its key receives; of a key that receives nothing (it is muted) none. */
export const partOf = (weight: number, all: number): number => (all === 0 ? 0 * weight : weight / all);

/** Weights of row i on keys [from, to), to <= i + 1, into out. */
export function exactWeights(x: Exact, i: number, from: number, to: number, out: Float32Array | Float64Array): void {
  const { q, k, dim, scale, softcap, slope, leading } = x;
  const lse = x.lse[i] ?? NaN;
  const qi = i * dim;
  const whole = dim - (dim % 4);
  const begin = i - x.window;
  const { steer } = x;
  const spanned = steer && steer.value.length > 0;
  const spans = spanned ? steer.rowSpan[i]! * steer.keySpans : 0;
  for (let j = from; j < to; ++j) {
    if (j < begin && j >= leading) {
      out[j - from] = 0; // outside the window: no weight at all
      continue;
    }
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
    let score = (a + b + (c + e)) * scale;
    if (steer) score *= steer.scale;
    if (softcap) score = softcap * Math.tanh(score / softcap);
    if (slope) score += slope * (j - i);
    if (spanned) score += steer.value[spans + steer.keySpan[j]!]!;
    out[j - from] = Math.exp(score - lse);
  }
}
