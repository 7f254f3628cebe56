// The arithmetic of the tour: one head on one short sentence, in the open. Scores, weights and the blend of a row, with
// a temperature and a muted span. With temperature 1 and nothing muted the weights are the engine's own.
/** The sentence of the tour, run by the engine. */
export interface Lesson {
  tokens: string[]; // [n]
  layer: number;
  head: number;
  row: number; // who asks
  key: number; // who is heard
  width: number; // W of the model: how many numbers a token is, before the head
  scale: number; // of q . k_j: 1 over the root of D, unless the model says otherwise
  q: (number | null)[][]; // [n][D]
  k: (number | null)[][];
  v: (number | null)[][];
  weights: (number | null)[][]; // [n][i + 1], the engine's
}

/** How its knobs stand. */
export interface Play {
  temperature: number; // scores are divided by it
  from: number; // muted tokens [from, to]; from > to: none
  to: number;
  mute: number; // taken from their scores
  masked: boolean; // not muted but taken away: a score of minus infinity
}
/** As the model has it. */
export const NO_PLAY: Play = { temperature: 1, from: 1, to: 0, mute: 0, masked: false };

/** All that is worked out for the token that asks. */
export interface Row {
  dots: number[]; // q . k_j
  scores: number[]; // q . k_j times the scale, by temperature and muting
  lift: number; // taken from every score before the power, so that it stays a number; 0 where it does anyway
  powers: number[]; // exp(score - lift)
  sum: number; // of the powers
  weights: number[];
  blend: number[]; // [D]
}

/** A number that JSON could not hold is NaN. */
export const num = (x: number | null | undefined): number => x ?? NaN;

/** Place by place: q_d k_d. */
export const products = (q: (number | null)[], k: (number | null)[]): number[] => q.map((x, d) => num(x) * num(k[d]));

const total = (values: number[]): number => values.reduce((a, b) => a + b, 0);

/** Works out a row under the knobs. */
export function computeRow(lesson: Lesson, row: number, play: Play): Row {
  const q = lesson.q[row]!;
  const dots = lesson.k.slice(0, row + 1).map((k) => total(products(q, k)));
  const scores = dots.map((dot, j) => {
    const muted = j >= play.from && j <= play.to;
    if (muted && play.masked) return -Infinity;
    return (dot * lesson.scale) / play.temperature - (muted ? play.mute : 0);
  });
  const top = Math.max(...scores);
  const lift = Math.abs(top) > 100 && top > -Infinity ? top : 0;
  const powers = scores.map((s) => Math.exp(s - lift));
  const sum = total(powers);
  const weights = powers.map((p) => (sum > 0 ? p / sum : sum === 0 ? 0 : NaN)); // all are masked: nothing is heard
  const blend = q.map((_, d) => total(weights.map((w, j) => w * num(lesson.v[j]![d]))));
  return { dots, scores, lift, powers, sum, weights, blend };
}

/** The place of the largest size; the first where none is a number. */
export const strongest = (values: number[]): number =>
  values.reduce((best, v, i) => (Math.abs(v) > Math.abs(values[best]!) ? i : best), 0);

/** The few terms of a sum that count most, in their order, and what the others come to. */
export function few(values: number[], most: number): { at: number[]; others: number; rest: number } {
  const size = (i: number): number => Math.abs(values[i]!) || 0;
  const order = values.map((_, i) => i).sort((a, b) => size(b) - size(a));
  const at = order.slice(0, most).sort((a, b) => a - b);
  const others = order.slice(most);
  return { at, others: others.length, rest: total(others.map((i) => values[i]!)) };
}

/** Four digits, as a person writes them. */
export function figure(x: number): string {
  if (Number.isNaN(x)) return 'not a number';
  if (!Number.isFinite(x)) return x < 0 ? '\u2212\u221E' : '\u221E';
  const size = Math.abs(x);
  let text;
  if (Number.isInteger(x) && size < 1e5) text = String(x);
  else if (size >= 1e5 || size < 1e-3) {
    const [digits, power] = x.toExponential(2).split('e');
    const raised = Array.from(power!, (c) => (c === '-' ? '\u207B' : c === '+' ? '' : SUPER[Number(c)])).join('');
    text = `${digits}\u00B710${raised}`;
  } else text = x.toFixed(size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 3);
  return text.replace('-', '\u2212');
}
const SUPER = '\u2070\u00B9\u00B2\u00B3\u2074\u2075\u2076\u2077\u2078\u2079';
