// Numbers and tokens as people read them. Tokens come from strangers: control characters are drawn as pictures, and
// characters that reorder text by name, so that a label never lies about what it names.

const REORDERING = /[\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]/g;
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001F\u007F-\u009F\u2028\u2029\uFEFF]/g;

// Nothing but spaces, line ends and characters without a shape.
const BLANK = /^[\s\p{Z}\p{Cf}\p{Cc}\u115F\u1160\u2800\u3164]*$/u;
const NO_SHAPE = /[\p{Cf}\u115F\u1160\u2800\u3164]/gu;

/** Nothing of it would be seen. */
export const isBlank = (token: string): boolean => BLANK.test(token);

/** The last token that can be seen: at the end of a file stands a line end, which is the least interesting row. */
export function lastSeen(tokens: string[]): number {
  const last = tokens.findLastIndex((token) => !isBlank(token));
  return last < 0 ? tokens.length - 1 : last;
}

function picture(c: string): string {
  const code = c.codePointAt(0)!;
  if (c === '\n' || c === '\r' || code === 0x2028 || code === 0x2029) return '\u23CE';
  if (c === '\t') return '\u21E5';
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  return `\u2039U+${code.toString(16).toUpperCase().padStart(4, '0')}\u203A`;
}

/** Text from strangers on one line of a sentence. */
export const plain = (text: string): string => text.replace(CONTROL, picture).replace(REORDERING, picture);

/** The first characters of a text, none of them cut in two. */
export function beginning(text: string, most: number): string {
  if (text.length <= most) return text;
  const low = text.charCodeAt(most);
  return text.slice(0, low >= 0xdc00 && low < 0xe000 ? most - 1 : most);
}

/**
 * A token as a short label; an empty one (a later part of a split character) is an ellipsis, one of spaces alone is
 * drawn as such.
 */
export function label(token: string | undefined, most = 18): string {
  if (token === undefined) return '';
  if (token === '') return '\u22EF';
  const head = beginning(token, 4 * most);
  const shown = isBlank(head)
    ? plain(head)
        .replace(NO_SHAPE, picture)
        .replace(/[\s\p{Z}]/gu, '\u2423')
    : plain(head);
  const letters = Array.from(shown);
  return letters.length > most ? `${letters.slice(0, most - 1).join('')}\u2026` : shown;
}

/** The same in quotes. */
export const quoted = (token: string | undefined, most = 18): string => `\u2018${label(token, most)}\u2019`;

/** Whether a character of it turns others around. */
export const hasReordering = (token: string): boolean => token.search(REORDERING) >= 0;

/** A weight in percent, to three figures. */
export function percent(weight: number): string {
  if (Number.isNaN(weight)) return 'not a number';
  const p = weight * 100;
  if (p === 0) return '0 %';
  if (p < 0.001) return '< 0.001 %';
  const digits = p >= 99.95 ? 0 : p >= 10 ? 1 : p >= 1 ? 2 : 3;
  return `${p.toFixed(digits)} %`;
}

/** Differences have a sign, weights have none to show. */
export const percentSigned = (w: number): string => (w < 0 ? `\u2212${percent(-w)}` : percent(w));

/** What went wrong, in words. */
export const errorText = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** A whole number. */
export const count = (n: number): string => Math.round(n).toLocaleString('en');

/** A number of things. */
export const plural = (n: number, what: string): string => `${count(n)} ${what}${n === 1 ? '' : 's'}`;

/** A measure with its unit. */
export function value(x: number | null | undefined, unit: string): string {
  if (x === null || x === undefined || Number.isNaN(x)) return 'not a number';
  const size = Math.abs(x);
  const text = size >= 1000 ? count(x) : size >= 100 ? x.toFixed(0) : size >= 10 ? x.toFixed(1) : x.toFixed(2);
  return unit ? `${text} ${unit}` : text;
}

/** Tokens from one to another, or the one. */
export const span = (from: number, to: number): string =>
  from === to ? count(from) : `${count(from)}\u2013${count(to)}`;

/** How many parameters, in round numbers. */
export const parameters = (n: number): string =>
  n >= 1e9 ? `${(n / 1e9).toFixed(1)} B` : n >= 1e6 ? `${(n / 1e6).toFixed(0)} M` : count(n);
