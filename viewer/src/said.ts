// What one cell of the map says, in figures and in words: for the readout, and for those who hear the page.
import { type Pair, differenceName, differenceOf } from './compare';
import { count, percent, percentSigned, quoted, span } from './format';
import type { Head, RowView } from './head';
import { triangle } from './quant';

export interface Asked {
  tokens: string[];
  row: number;
  key: number;
  norm: 'row' | 'key';
  weighted: boolean;
}
export interface Said {
  value: number | null; // null: still on its way
  text: string;
}

/// A head whose cells are wider than a token has no single weights to tell.
export const inBlocks = (head: Head): boolean => !head.exact && head.pooled.block > 1;

/// The tokens of the block that token i lies in.
export function blockOf(head: Head, i: number): string {
  const { block } = head.pooled;
  const from = Math.floor(i / block) * block;
  return span(from, Math.min(head.n - 1, from + block - 1));
}

/// `view`: the row, where it is there.
export function said(head: Head, view: RowView, { row, key, norm, weighted }: Asked): Said {
  if (inBlocks(head)) {
    const { block, share, max } = head.pooled;
    const at = triangle(Math.floor(row / block)) + Math.floor(key / block);
    const value = share[at] ?? NaN;
    return { value, text: `${percent(value)}, at most ${percent(max[at] ?? NaN)} in one cell` };
  }
  if (view.row !== row) return { value: null, text: '\u2026' };
  const w = view.weights[key] ?? NaN;
  if (!head.exact) return { value: w, text: `${percent(w)}, to within 3 % of it` };
  const { received, sizes } = head.exact;
  if (norm === 'key' && received) {
    const part = w / (received[key] ?? NaN);
    return { value: part, text: `${percent(part)} of what the key receives` };
  }
  if (weighted && sizes) {
    const carried = w * (sizes[key] ?? NaN);
    return { value: carried, text: `${percent(w)}, carrying ${carried.toPrecision(3)}` };
  }
  return { value: w, text: percent(w) };
}

function rank(view: RowView, key: number): string {
  const w = view.weights[key] ?? NaN;
  const above = view.weights.reduce((n, v) => n + (v > w ? 1 : 0), 0);
  return `rank ${count(above + 1)} of ${count(view.row + 1)}`;
}

function alone(head: Head, view: RowView, asked: Asked): string {
  const { text } = said(head, view, asked);
  return inBlocks(head) ? `share ${text}` : `weight ${text}, ${rank(view, asked.key)}`;
}

interface Both {
  head: Head;
  view: RowView;
  pair: Pair;
}

/// "from <key> to <row>: weight 12.3 %, rank 2 of 40". Empty until it is known.
export function cellSentence(head: Head, view: RowView, asked: Asked, other: Both | null): string {
  const { tokens, row, key } = asked;
  if (view.row !== row) return '';
  const where = inBlocks(head)
    ? `from keys ${blockOf(head, key)} to rows ${blockOf(head, row)}`
    : `from ${count(key)} ${quoted(tokens[key])} to ${count(row)} ${quoted(tokens[row])}`;
  if (!other) return `${where}: ${alone(head, view, asked)}`;
  const { pair } = other;
  const each = `${pair.names[0]} ${alone(head, view, asked)}; ${pair.names[1]} ${alone(other.head, other.view, asked)}`;
  if (pair.as === 'side') return `${where}: ${each}`;
  const d = differenceOf(pair, view.weights[key] ?? NaN, other.view.weights[key] ?? NaN);
  return `${where}: ${differenceName(pair)} ${percentSigned(d)}; ${each}`;
}

/// The row, of a difference: where it is largest.
export function differenceSentence(tokens: string[], pair: Pair, row: number, signed: Float32Array): string {
  const keys = Array.from(signed.keys()).sort((i, j) => Math.abs(signed[j]!) - Math.abs(signed[i]!));
  const most = keys.slice(0, 3).map((j) => `${percentSigned(signed[j]!)} to ${count(j)} ${quoted(tokens[j])}`);
  return `row ${count(row)} ${quoted(tokens[row])}, ${differenceName(pair)}: ${most.join(', ')}`;
}
