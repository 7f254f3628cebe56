// Colours. Weights: viridis, cividis or magma, perceptually even and safe for colour-blind people, as one 256-entry
// table that the shader or the canvas looks up. Differences: purple to orange, alike in strength on both sides.
// Measures: one warm ramp per theme, so that nobody takes a measure for a weight. Places on a scale: linear,
// logarithmic (2^-16 .. 1) or by rank.
import { interpolateCividis, interpolateMagma, interpolatePuOr, interpolateViridis } from 'd3-scale-chromatic';
import { isDark } from './theme';

/** The colours of a map that a person may choose. */
export type Palette = 'viridis' | 'cividis' | 'magma';
/** How a weight becomes a place on them. */
export type Scale = 'log' | 'linear' | 'rank';
/** What a block of cells shows: the share of its rows, or its largest weight. */
export type Pool = 'sum' | 'max';

/** Where the logarithmic scale begins. */
export const LOG_FLOOR = -16; // log2 of the weight that is drawn darkest
/** Where the counts of ranks begin. */
export const RANK_FLOOR = -24; // log2 range of the rank histogram
/** How many counts there are. */
export const RANK_BINS = 256;
/** The mark of a cell that is none. */
export const ABSENT = -1; // a cell above the diagonal
/** The mark of a cell that is no number. */
export const NOT_A_NUMBER = -2; // a cell whose weight is NaN or infinite: drawn magenta
/** The colour of what is no number. */
export const FAULT = [255, 0, 255] as const;

/** All colours that maps have. */
export type Ramp = Palette | 'difference';
/** Differences on a dark ground: no difference is dark, so that what differs is what shines. */
const DARK_STOPS = ['#b79cff', '#6a549f', '#262a33', '#a05f28', '#ffb366'];
const ramps: Record<Ramp | 'differenceDark', (t: number) => string> = {
  difference: interpolatePuOr, // orange above zero
  differenceDark: (t) => between(DARK_STOPS, t),
  viridis: interpolateViridis,
  cividis: interpolateCividis,
  magma: interpolateMagma,
};

function between(stops: string[], t: number): string {
  const at = Math.min(stops.length - 2, Math.floor(t * (stops.length - 1)));
  const part = t * (stops.length - 1) - at;
  const [a, b] = [rgb(stops[at]!), rgb(stops[at + 1]!)];
  return `rgb(${a.map((v, c) => Math.round(v + (b[c]! - v) * part)).join(', ')})`;
}

function rgb(colour: string): [number, number, number] {
  if (colour.startsWith('#')) {
    const n = parseInt(colour.slice(1), 16);
    return [n >> 16, (n >> 8) & 255, n & 255];
  }
  const parts = colour.match(/\d+/g) ?? [];
  return [Number(parts[0] ?? 0), Number(parts[1] ?? 0), Number(parts[2] ?? 0)];
}

const tables = new Map<keyof typeof ramps, Uint8Array>();

/** RGBA [256, 4]. Of a difference that of the theme. */
export function table(of: Ramp): Uint8Array {
  const palette = of === 'difference' && isDark() ? 'differenceDark' : of;
  let out = tables.get(palette);
  if (!out) {
    out = new Uint8Array(1024);
    for (let i = 0; i < 256; ++i) {
      const [r, g, b] = rgb(ramps[palette](i / 255));
      out.set([r, g, b, 255], 4 * i);
    }
    tables.set(palette, out);
  }
  return out;
}

/** RGB of the table at t, 0..1. */
export function shade(lut: Uint8Array, t: number): [number, number, number] {
  const at = 4 * Math.round(t * 255);
  return [lut[at]!, lut[at + 1]!, lut[at + 2]!];
}

/** All that decides the colour of a cell. */
export interface Colours {
  palette: Palette;
  scale: Scale;
  pool: Pool;
  signed: boolean; // values are (d + 1) / 2 of a difference d
  top: number; // the value drawn brightest on the linear scale
  cdf: Float32Array; // [RANK_BINS] share of the cells in view below each bin
  version: number; // changes whenever any of this does
}

/** The count that a weight belongs to. */
export const rankBin = (v: number): number =>
  Math.max(0, Math.min(RANK_BINS - 1, Math.floor(((Math.log2(v) - RANK_FLOOR) / -RANK_FLOOR) * (RANK_BINS - 1))));

/** Where a value stands on the scale, 0..1: the twin of the shader's place(). */
export function place(v: number, colours: Colours): number {
  if (colours.signed) {
    const d = 2 * v - 1;
    const size = strength(Math.abs(d), { ...colours, scale: colours.scale === 'linear' ? 'linear' : 'log' });
    return 0.5 + (d < 0 ? -0.5 : 0.5) * size;
  }
  return strength(v, colours);
}

function strength(v: number, colours: Pick<Colours, 'scale' | 'top' | 'cdf'>): number {
  if (!(v > 0)) return 0;
  if (colours.scale === 'linear') return Math.min(1, v / colours.top);
  if (colours.scale === 'log') return Math.max(0, Math.min(1, 1 - Math.log2(v) / LOG_FLOOR));
  return colours.cdf[rankBin(v)] ?? 0;
}

/** The colours of a map. */
export const rampOf = (c: Colours): Ramp => (c.signed ? 'difference' : c.palette);

const WARM_DARK: [number, number, number][] = [
  [34, 36, 44],
  [122, 62, 38],
  [255, 176, 84],
];
const WARM_LIGHT: [number, number, number][] = [
  [240, 234, 222],
  [238, 164, 92],
  [158, 52, 8],
];

/** The colour of a measure at t, 0..1. */
export function warm(t: number, dark: boolean): [number, number, number] {
  const stops = dark ? WARM_DARK : WARM_LIGHT;
  const x = Math.max(0, Math.min(1, t)) * 2;
  const i = x >= 1 ? 1 : 0;
  const a = stops[i]!;
  const b = stops[i + 1]!;
  return [0, 1, 2].map((c) => Math.round(a[c]! + (b[c]! - a[c]!) * (x - i))) as [number, number, number];
}

/** A colour as style sheets write it. */
export const css = (c: readonly number[]): string => `rgb(${c[0]}, ${c[1]}, ${c[2]})`;
/** Whether black reads better upon it than white. */
export const bright = (c: readonly number[]): boolean =>
  0.2126 * (c[0]! / 255) ** 2.2 + 0.7152 * (c[1]! / 255) ** 2.2 + 0.0722 * (c[2]! / 255) ** 2.2 > 0.18;
