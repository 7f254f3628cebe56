// What the numbers of two layers' likeness are called, how they are written and coloured: the same on screen
// (layers_page.tsx), in pictures and in files (figure_layers.ts).
import { FAULT, shade, table } from '../draw/colormap';
import { type PageData, headName } from './data';
import { count } from './format';
import type { Like, Likeness, Match } from './likeness';
import type { State } from '../state/state';

/** What each likeness is called. */
export const NAMES: Record<Like, string> = {
  common: 'in common',
  js: 'Jensen-Shannon divergence, nats',
  outputs: 'cosine of what they write',
};

/** As short as a cell, to two digits or three: "87", "5.3", "0.31", "0.017", "\u22120.12". */
export function figure(like: Like, v: number): string {
  if (Number.isNaN(v)) return '\u2715';
  if (like === 'common') return (100 * v).toFixed(v < 0.0995 ? 1 : 0);
  return v.toFixed(Math.abs(v) < 0.0995 ? 3 : 2).replace('-', '\u2212');
}

/** As a person says it: "87 % in common", "0.31 nats apart". */
export function words(like: Like, v: number): string {
  const said = figure(like, v);
  if (Number.isNaN(v)) return `${said}, not a number`;
  return like === 'common' ? `${said} % in common` : like === 'js' ? `${said} nats apart` : `cosine ${said}`;
}

/** How a matrix is coloured. */
export interface Shades {
  low: number; // at the dull end; of outputs the contrary
  high: number; // at the bright end
  of(v: number): readonly number[];
}

/** Alike is bright, whichever way the numbers run. Pairs decide the range, not a head with itself. */
export function shades(pairs: Match[], like: Like, state: State): Shades {
  const all = pairs.map((p) => p.value);
  const [least, most] = [Math.min(...all), Math.max(...all)];
  const top = Math.max(Math.abs(least), Math.abs(most));
  const [low, high] = like === 'outputs' ? [-top, top] : like === 'js' ? [most, least] : [least, most];
  const lut = table(like === 'outputs' ? 'difference' : state.palette);
  const at = (v: number): number => (high === low ? 1 : Math.max(0, Math.min(1, (v - low) / (high - low))));
  return { low, high, of: (v) => (Number.isNaN(v) ? FAULT : shade(lut, at(v))) };
}

/** How the shown numbers came to be, and how sure they are. */
export function origin(found: Likeness, like: Like, first: boolean): string {
  const rest = first ? '' : ' Of the weight that does not go to the first token.';
  if (found.rows && like !== 'common')
    return `Exact, by the engine: ${like === 'js' ? `every weight of ${count(found.rows)} rows` : 'of all rows'}.`;
  if (found.exact) return `Exact: made here from every weight of all rows.${rest}`;
  if (found.block === 1) return `From the map\u2019s single cells, each to within 3 %.${rest}`;
  const bound = like === 'common' ? 'at most this much' : 'at least this far apart';
  const side = `${found.block} \u00D7 ${found.block} tokens`;
  return `From pooled maps, ${side} a block: ${bound}, to within their rounding.${rest}`;
}

/** The names of the two heads of a pair. */
export const pairName = (data: PageData, [a, b]: readonly [number, number], m: Match): [string, string] => [
  headName(data, a * data.model.heads + m.a),
  headName(data, b * data.model.heads + m.b),
];
