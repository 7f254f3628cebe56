// Small pictures of every head: the lower left triangle is the map (rows look at columns), the upper right one, empty
// because nobody looks ahead, carries the colour of the chosen measure. All thumbnails are one section, decoded once.
import { FAULT, type Palette, bright, css, shade, table, warm } from './colormap';
import type { Pen } from './pen';
import { LOG_DECODE, triangle, unrounded } from '../data/quant';
import type { Source } from '../source/source';

/** The small pictures of all heads, as codes. */
export interface Thumbs {
  size: number; // T
  cells: number; // bytes a head
  codes: Uint8Array;
}

const loading = new WeakMap<Source, Promise<Thumbs>>();

/** Reads them, once for each source. */
export function loadThumbs(source: Source): Promise<Thumbs> {
  const known = loading.get(source);
  if (known) return known;
  const { size } = source.data.thumbs;
  const cells = triangle(size) + size;
  const read = source.section('thumbs', cells * source.data.means.length).then((codes) => ({ size, cells, codes }));
  loading.set(source, read);
  read.catch(() => loading.delete(source)); // to be asked for once more
  return read;
}

/** Where the colours of small pictures begin. */
export const LOW = -9; // log2 of the share drawn darkest: an even row of 40 cells lies at -5.3

/** Coloured cells of one head, [T, T], above the diagonal transparent. */
export function thumbImage(thumbs: Thumbs, head: number, palette: Palette, first: boolean): ImageData {
  const { size, cells, codes } = thumbs;
  const image = new ImageData(size, size);
  const lut = table(palette);
  const start = head * cells;
  for (let r = 0; r < size; ++r) {
    for (let c = 0; c <= r; ++c) {
      const at = !first && c === 0 ? start + triangle(size) + r : start + triangle(r) + c;
      const v = LOG_DECODE[codes[at] ?? 0] ?? NaN;
      const to = 4 * (r * size + c);
      if (Number.isNaN(v)) {
        image.data.set([...FAULT, 255], to);
        continue;
      }
      const t = v > 0 ? Math.max(0, Math.min(1, 1 - Math.log2(v) / LOW)) : 0;
      image.data.set(lut.subarray(4 * Math.round(t * 255), 4 * Math.round(t * 255) + 4), to);
    }
  }
  return image;
}

/**
 * The differences of two runs' thumbnails of one head, b less a: orange is more, purple less. What lies within the
 * rounding of the two is no difference.
 */
export function thumbDifference(a: Thumbs, b: Thumbs, head: number, first: boolean): ImageData {
  const { size, cells } = a;
  const image = new ImageData(size, size);
  const lut = table('difference');
  const start = head * cells;
  for (let r = 0; r < size; ++r) {
    for (let c = 0; c <= r; ++c) {
      const at = !first && c === 0 ? start + triangle(size) + r : start + triangle(r) + c;
      const x = LOG_DECODE[a.codes[at] ?? 0] ?? NaN;
      const y = LOG_DECODE[b.codes[at] ?? 0] ?? NaN;
      const to = 4 * (r * size + c);
      const d = unrounded(y, x);
      if (Number.isNaN(d)) {
        image.data.set([...FAULT, 255], to);
        continue;
      }
      const t = d === 0 ? 0 : Math.max(0, Math.min(1, 1 - Math.log2(Math.abs(d)) / LOW));
      const i = Math.round((0.5 + 0.5 * Math.sign(d) * t) * 255);
      image.data.set(lut.subarray(4 * i, 4 * i + 4), to);
    }
  }
  return image;
}

/**
 * What two heads have in common, sum of the smaller of both weights, mean over the rows; blocks of keys are counted as
 * one, so it is at most this much. NaN where either is not a number.
 */
export function inCommon(thumbs: Thumbs, a: number, b: number): number {
  const { size, cells, codes } = thumbs;
  let sum = 0;
  for (let at = 0; at < triangle(size); ++at)
    sum += Math.min(LOG_DECODE[codes[a * cells + at] ?? 0] ?? NaN, LOG_DECODE[codes[b * cells + at] ?? 0] ?? NaN);
  return Math.min(1, sum / size);
}

/** One head as the grid has it. */
export interface Tile {
  head: number;
  x: number;
  y: number;
  size: number; // CSS pixels
  tint: readonly number[]; // of the upper right triangle
  badge: string;
  dot: boolean; // exact, where not all heads are
  dim: boolean;
}

const scratch = document.createElement('canvas');

/**
 * The measure's colour in the upper right. The diagonal is what many heads are about: its cells are drawn whole, and
 * the tint begins beyond them.
 */
export function drawTint(pen: Pen, tile: Tile, cell: number): void {
  const { x, y, size } = tile;
  const gap = Math.max(1, Math.round(size / 26));
  pen.globalAlpha = tile.dim ? 0.16 : 1;
  pen.fillStyle = css(tile.tint);
  pen.beginPath();
  pen.moveTo(x + cell + gap, y);
  pen.lineTo(x + size, y);
  pen.lineTo(x + size, y + size - cell - gap);
  pen.closePath();
  pen.fill();
}

/** Draws one head on a canvas; `image` is null until it is there. */
export function drawTile(c: CanvasRenderingContext2D, tile: Tile, image: ImageData | null): void {
  const { x, y, size } = tile;
  const cell = Math.max(1.5, image ? size / image.width : 0);
  drawTint(c, tile, cell);
  if (image) {
    if (scratch.width !== image.width) scratch.width = scratch.height = image.width;
    scratch.getContext('2d')!.putImageData(image, 0, 0);
    c.imageSmoothingEnabled = size < image.width * 1.6;
    c.imageSmoothingQuality = 'high';
    c.save();
    c.beginPath();
    c.moveTo(x, y);
    c.lineTo(x + cell, y);
    c.lineTo(x + size, y + size - cell);
    c.lineTo(x + size, y + size);
    c.lineTo(x, y + size);
    c.closePath();
    c.clip();
    c.drawImage(scratch, x, y, size, size);
    c.restore();
  }
  const inks = ['rgba(20, 16, 10, 0.86)', 'rgba(255, 250, 240, 0.92)'] as const;
  const [ink, ring] = bright(tile.tint) ? inks : [inks[1], inks[0]];
  if (tile.dot) {
    c.fillStyle = ink;
    c.beginPath();
    c.arc(x + size * 0.84, y + size * 0.48, Math.max(2.2, size * 0.06), 0, 2 * Math.PI);
    c.fill();
    c.strokeStyle = ring; // of few tokens the map reaches as far as this
    c.lineWidth = 1;
    c.stroke();
  }
  if (tile.badge && size >= 20) {
    c.font = `600 ${Math.round(Math.max(9, size * 0.24))}px system-ui, sans-serif`;
    c.textAlign = 'right';
    c.textBaseline = 'top';
    c.fillStyle = ink;
    c.fillText(tile.badge, x + size - size * 0.09, y + size * 0.09);
  }
  c.globalAlpha = 1;
}

/** "first-token" is F, "mixed" is nothing. */
export const badge = (role: string): string => (role === 'mixed' ? '' : (role[0] ?? '').toUpperCase());

/** Why a head is worth a look, in a word that fits its square. */
const WORDS: Record<string, string> = {
  pointer: 'points',
  far: 'far',
  'previous-token': 'before',
  hub: 'hub',
  broad: 'broad',
  local: 'near',
  'first-token': 'first',
  self: 'self',
};
/** Why a head is worth a look, in a word. */
export const word = (highlight: string): string => WORDS[highlight] ?? highlight;

/**
 * Where each head's value stands between the least and the greatest of all heads, 0..1; NaN where it is not a number.
 * Differences have 0 in the middle. `low` and `high` are NaN where no head has a number.
 */
export function places(values: number[], signed: boolean): { at: number[]; low: number; high: number } {
  const known = values.filter((v) => Number.isFinite(v));
  if (!known.length) return { at: values.map(() => NaN), low: NaN, high: NaN };
  const widest = known.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  const low = signed ? -widest : Math.min(...known);
  const high = signed ? widest : Math.max(...known);
  const middle = (v: number): number => (v === low ? 0.5 : NaN);
  return { at: values.map((v) => (high > low ? (v - low) / (high - low) : middle(v + 0))), low, high };
}

/** The colour of a measure that stands at `place`, 0..1. */
export function tint(place: number, dark: boolean, signed: boolean): readonly number[] {
  if (Number.isNaN(place)) return FAULT;
  return signed ? shade(table('difference'), Math.max(0, Math.min(1, place))) : warm(place, dark);
}
