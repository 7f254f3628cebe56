// What one cell of the map says, in figures and in words: for the readout, and for those who hear the page.
import { type Pair, differenceName, differenceOf } from './compare';
import { partOf } from '../data/exact';
import { count, percent, percentSigned, quoted, span } from '../data/format';
import type { Head, RowView } from '../data/head';
import { triangle } from '../data/quant';
import type { Norm } from '../save/row_file';

/** A cell, and how the map shows it. */
export interface Asked {
  tokens: string[];
  row: number;
  key: number;
  norm: 'row' | 'key';
  weighted: boolean;
  first: boolean; // the first token's weight is shown
}
/** What is said of it. */
export interface Said {
  value: number | null; // null: still on its way
  text: string;
}

/** A head whose cells are wider than a token has no single weights to tell. */
export const inBlocks = (head: Head): boolean => !head.exact && head.pooled.block > 1;

/** The tokens of the block that token i lies in. */
export function blockOf(head: Head, i: number): string {
  const { block } = head.pooled;
  const from = Math.floor(i / block) * block;
  return span(from, Math.min(head.n - 1, from + block - 1));
}

/** As what the map of a head shows its cells. */
function shownAs({ exact }: Head, { norm, weighted }: Asked): Norm {
  if (norm === 'key' && (exact?.can.key ?? true)) return 'key';
  return weighted && exact?.can.weighted ? 'carried' : 'row';
}

const within = (i: number, { n, pooled: { block } }: Head): number => Math.min(block, n - i * block);

/** Without the first token the block of the first keys is another. */
const without = (head: Head, { key, first }: Asked): boolean => !head.exact && !first && key < head.pooled.block;

/** A cell of the pooled map, as the map draws it. */
function ofBlock(head: Head, asked: Asked, as: Norm): number {
  const { block, blocks, share, restShare } = head.pooled;
  const [r, c] = [asked.row, asked.key].map((i) => Math.floor(i / block)) as [number, number];
  const given = (i: number): number => (without(head, asked) ? restShare[i] : share[triangle(i) + c]) ?? NaN;
  if (as !== 'key') return given(r);
  let all = 0;
  for (let i = c; i < blocks; ++i) all += given(i) * within(i, head) || 0; // what is no number counts nothing
  return partOf(given(r) * within(r, head), all);
}

/** One cell in figures, of a pooled head the mean of its block. null: on its way. */
export function cellValue(head: Head, view: RowView | null, asked: Asked, as: Norm): number | null {
  const { row, key } = asked;
  const { exact, pooled } = head;
  if (view?.row !== row) return null;
  if (!exact) {
    const keys = within(Math.floor(key / pooled.block), head) - (without(head, asked) ? 1 : 0);
    return ofBlock(head, asked, as) / (as === 'key' ? within(Math.floor(row / pooled.block), head) : Math.max(1, keys));
  }
  const w = view.weights[key] ?? NaN;
  return as === 'key'
    ? partOf(w, exact.received?.[key] ?? NaN)
    : as === 'carried'
      ? w * (exact.sizes?.[key] ?? NaN)
      : w;
}

/** As what a cell of two heads is told and subtracted: as their maps show it, or, where those differ, as weights. */
export function inBoth(a: Head, b: Head, asked: Asked) {
  const [x, y] = [shownAs(a, asked), shownAs(b, asked)];
  const as = x === y ? x : 'row';
  const what = {
    row: x === y ? '' : 'weights',
    key: 'of what the key receives',
    carried: 'weight \u00D7 size carried',
  };
  const unit = [what[as], inBlocks(a) || inBlocks(b) ? 'means of blocks' : ''].filter(Boolean).join(', ');
  const sized = (v: number): string => v.toPrecision(3).replace('-', '\u2212');
  const [plain, signed] = as === 'carried' ? [sized, sized] : [percent, percentSigned];
  return { as, unit: unit && ` (${unit})`, plain, signed };
}

/** `view`: the row, where it is there. */
export function said(head: Head, view: RowView, asked: Asked, as = shownAs(head, asked)): Said {
  const rest = without(head, asked) ? ' without the first token' : '';
  if (inBlocks(head)) {
    const { block, max } = head.pooled;
    const value = ofBlock(head, asked, as);
    if (as === 'key') return { value, text: `${percent(value)} of what the keys receive${rest}` };
    // Without the first token the largest weight is not known.
    const most = max[triangle(Math.floor(asked.row / block)) + Math.floor(asked.key / block)] ?? NaN;
    return { value, text: `share ${percent(value)}${rest || `, at most ${percent(most)} in one cell`}` };
  }
  const value = cellValue(head, view, asked, as);
  if (value === null) return { value, text: '\u2026' };
  const sure = head.exact ? '' : as === 'key' ? ', of weights to within 3 %' : ', to within 3 % of it';
  if (as === 'key') return { value, text: `${percent(value)} of what the key receives${rest}${sure}` };
  if (as === 'carried')
    return { value, text: `${percent(view.weights[asked.key] ?? NaN)}, carrying ${value.toPrecision(3)}` };
  return { value, text: `${percent(value)}${rest}${sure}` };
}

function rank(view: RowView, key: number): string {
  const w = view.weights[key] ?? NaN;
  const above = view.weights.reduce((n, v) => n + (v > w ? 1 : 0), 0);
  return `rank ${count(above + 1)} of ${count(view.row + 1)}`;
}

function alone(head: Head, view: RowView, asked: Asked, as = shownAs(head, asked)): string {
  const { text } = said(head, view, asked, as);
  return inBlocks(head) || as === 'key' ? text : `weight ${text}, ${rank(view, asked.key)}`;
}

interface Both {
  head: Head;
  view: RowView;
  pair: Pair;
}

/** "from <key> to <row>: weight 12.3 %, rank 2 of 40". Empty until it is known. */
export function cellSentence(head: Head, view: RowView, asked: Asked, other: Both | null): string {
  const { tokens, row, key } = asked;
  if (view.row !== row) return '';
  const where = inBlocks(head)
    ? `from keys ${blockOf(head, key)} to rows ${blockOf(head, row)}`
    : `from ${count(key)} ${quoted(tokens[key])} to ${count(row)} ${quoted(tokens[row])}`;
  if (!other) return `${where}: ${alone(head, view, asked)}`;
  const { pair } = other;
  const [one, two] = pair.names;
  if (pair.as === 'side')
    return `${where}: ${one} ${alone(head, view, asked)}; ${two} ${alone(other.head, other.view, asked)}`;
  const { as, unit, signed } = inBoth(head, other.head, asked);
  const [a, b] = [cellValue(head, view, asked, as), cellValue(other.head, other.view, asked, as)];
  const each = `${one} ${alone(head, view, asked, as)}; ${two} ${alone(other.head, other.view, asked, as)}`;
  return `${where}: ${differenceName(pair)} ${signed(differenceOf(pair, a ?? NaN, b ?? NaN))}${unit}; ${each}`;
}

/** The row, of a difference: where it is largest. */
export function differenceSentence(tokens: string[], pair: Pair, row: number, signed: Float32Array): string {
  const keys = Array.from(signed.keys()).sort((i, j) => Math.abs(signed[j]!) - Math.abs(signed[i]!));
  const most = keys.slice(0, 3).map((j) => `${percentSigned(signed[j]!)} to ${count(j)} ${quoted(tokens[j])}`);
  return `row ${count(row)} ${quoted(tokens[row])}, ${differenceName(pair)}: ${most.join(', ')}`;
}
