// What stands around and upon the map: the measures along both edges (entropy of each row, attention received by each
// key), token labels or positions, the focused row and key, and at the deepest zoom each cell's weight in figures.
// Plain 2D canvas over the map; every text drawn here also stands in the page as text.
import { ABSENT, type Colours, NOT_A_NUMBER, bright, place, rampOf, shade, table } from '../draw/colormap';
import { label } from '../data/format';
import type { Pen } from '../draw/pen';
import type { Picture } from '../draw/picture';
import type { Camera } from '../draw/render';
import type { Patch } from '../draw/tiles';

/** The box of a map and its gutters. */
export interface Frame {
  width: number; // of the whole box, CSS pixels
  height: number;
  left: number; // gutter of the rows
  bottom: number; // gutter of the keys
}
/** The colours of the theme. */
export interface Ink {
  text: string;
  faint: string;
  line: string;
  accent: string;
  paper: string;
  second: string;
}

/** The colours of the present theme. */
export function ink(): Ink {
  const style = getComputedStyle(document.documentElement);
  const read = (name: string): string => style.getPropertyValue(name).trim();
  return {
    text: read('--text'),
    faint: read('--faint'),
    line: read('--line'),
    accent: read('--accent'),
    paper: read('--card'),
    second: read('--second'),
  };
}

const marginal = (f: Frame): number => (f.left < 80 ? 14 : 24);
/** From this size on cells have figures. */
export const FIGURES_PX = 26; // a cell shows its figures from this size on
const LABEL_PX = 12; // a label for every token from this many pixels a token

/** All that stands on a map. */
export interface Scene {
  context: Pen;
  frame: Frame;
  camera: Camera; // scale in CSS pixels a token
  tokens: string[];
  picture: Picture;
  colours: Colours;
  row: number;
  key: number;
  first: boolean;
  patches: Patch[];
  room?: boolean; // there is room around: labels at the very edges are not cut
}

/** The cells of a patch that are in view, [r0, r1) x [c0, c1). */
export function cellsInView(p: Patch, camera: Camera, f: Frame): { r0: number; r1: number; c0: number; c1: number } {
  const right = camera.x + (f.width - f.left) / camera.scale;
  const bottom = camera.y + (f.height - f.bottom) / camera.scale;
  return {
    r0: Math.max(0, Math.floor((camera.y - p.y) / p.cell)),
    r1: Math.min(p.height, Math.ceil((bottom - p.y) / p.cell)),
    c0: Math.max(0, Math.floor((camera.x - p.x) / p.cell)),
    c1: Math.min(p.width, Math.ceil((right - p.x) / p.cell)),
  };
}

function step(pxPerToken: number): number {
  const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000];
  return steps.find((s) => s * pxPerToken >= 64) ?? 100000;
}

function mean(values: Float32Array, from: number, to: number): number {
  let sum = 0;
  for (let i = from; i < to; ++i) sum += values[i] ?? 0;
  return sum / (to - from);
}

function marginals(s: Scene, colours: Ink): void {
  const { context: c, frame: f, camera, picture: head } = s;
  const depth = marginal(f);
  if (!head.edges) return;
  const top = Math.log(Math.max(head.n, 2));
  const plotHeight = f.height - f.bottom;
  const bars = (
    length: number,
    at: (from: number, to: number, p: number, size: number) => void,
    start: number,
  ): void => {
    if (camera.scale >= 1) {
      const last = Math.min(head.n, Math.ceil(start + length / camera.scale));
      for (let i = Math.max(0, Math.floor(start)); i < last; ++i) {
        at(i, i + 1, (i - start) * camera.scale, camera.scale);
      }
      return;
    }
    for (let p = 0; p < length; ++p) {
      const from = Math.floor(start + p / camera.scale);
      const to = Math.max(from + 1, Math.floor(start + (p + 1) / camera.scale));
      if (from >= 0 && from < head.n) at(from, Math.min(to, head.n), p, 1);
    }
  };
  c.fillStyle = colours.second;
  bars(
    plotHeight,
    (from, to, p, size) => {
      const w = (mean(head.edges!.entropy, from, to) / top) * depth;
      if (w > 0) c.fillRect(f.left - 2 - w, p, w, Math.min(size, plotHeight - p));
    },
    camera.y,
  );
  c.fillStyle = colours.accent;
  bars(
    f.width - f.left,
    (from, to, p, size) => {
      const v = mean(head.edges!.received, from, to);
      const h = v > 0 ? Math.max(0, 1 + Math.log2(v) / 16) * depth : 0;
      if (h > 0) c.fillRect(f.left + Math.max(0, p), plotHeight + 2, size + Math.min(0, p), h);
    },
    camera.x,
  );
}

/** In the corner, in the colours of the bars: what they are. */
function edgeNames(s: Scene, colours: Ink): void {
  const { context: c, frame: f } = s;
  if (!s.picture.edges) return;
  c.font = '10px system-ui, sans-serif';
  c.textAlign = 'right';
  c.textBaseline = 'middle';
  const y = f.height - f.bottom;
  c.fillStyle = colours.second;
  c.fillText('entropy \u2191', f.left - 4, y + 8);
  c.fillStyle = colours.accent;
  c.fillText('received \u2192', f.left - 4, y + 20);
}

function labels(s: Scene, colours: Ink): void {
  const { context: c, frame: f, camera, tokens } = s;
  const depth = marginal(f);
  const n = tokens.length;
  const plotHeight = f.height - f.bottom;
  const every = camera.scale >= LABEL_PX ? 1 : step(camera.scale);
  // Monospaced, 11 px: a letter is 6.7 px wide. Cut rather than squeezed.
  const text = (i: number, room: number): string =>
    every === 1
      ? label(tokens[i]?.trimStart() || tokens[i], Math.max(3, Math.floor(room / 6.7)))
      : i.toLocaleString('en');
  const rowRoom = f.left - depth - 12;
  const keyRoom = f.bottom - depth - 12;
  c.font = every === 1 ? '11px ui-monospace, "DejaVu Sans Mono", monospace' : '11px system-ui, sans-serif';
  c.textBaseline = 'middle';
  const half = every === 1 ? 0.5 : 0;
  const edge = s.room ? 0 : 4;
  c.textAlign = 'right';
  for (let i = Math.max(0, Math.ceil(camera.y / every) * every - (every === 1 ? 1 : 0)); i < n; i += every) {
    const y = (i + half - camera.y) * camera.scale;
    if (y > plotHeight - edge) break;
    if (y < edge) continue;
    c.fillStyle = i === s.row ? colours.text : colours.faint;
    c.fillText(text(i, rowRoom), f.left - depth - 8, y, rowRoom + 8);
  }
  for (let j = Math.max(0, Math.ceil(camera.x / every) * every - (every === 1 ? 1 : 0)); j < n; j += every) {
    const x = f.left + (j + half - camera.x) * camera.scale;
    if (x > f.width - edge) break;
    if (x < f.left + edge) continue;
    c.fillStyle = j === s.key ? colours.text : colours.faint;
    c.save();
    c.translate(x, plotHeight + depth + 8);
    if (every === 1) c.rotate(-Math.PI / 2);
    else c.textAlign = 'center';
    c.fillText(text(j, keyRoom), 0, every === 1 ? 0 : 7, keyRoom + (every === 1 ? 8 : 40));
    c.restore();
  }
}

/** A weight in percent, as short as a cell: "41", "0.3", or a dot for less than 0.1 %. */
function points(w: number): string {
  const size = Math.abs(w);
  const text = size >= 0.0995 ? (100 * size).toFixed(0) : size >= 1e-3 ? (100 * size).toFixed(1) : '\u00B7';
  return w < 0 && size >= 1e-3 ? `\u2212${text}` : text;
}

function figures(s: Scene): void {
  const { context: c, frame: f, camera } = s;
  if (camera.scale < FIGURES_PX) return;
  const lut = table(rampOf(s.colours));
  const which = s.colours.pool === 'sum' ? 0 : 1;
  c.font = `${Math.min(13, Math.round(camera.scale / 3))}px system-ui, sans-serif`;
  c.textAlign = 'center';
  c.textBaseline = 'middle';
  const exact = s.patches.some((p) => p.exact);
  for (const p of s.patches) {
    if (p.cell !== 1 || p.exact !== exact) continue; // of two that lie on each other the better one
    // Only in cells that are wholly in view, but for a pixel: cut figures are wrong figures.
    const edge = 1 / camera.scale;
    const x0 = Math.max(p.x, Math.ceil(camera.x - edge));
    const y0 = Math.max(p.y, Math.ceil(camera.y - edge));
    const x1 = Math.min(p.x + p.width, Math.floor(camera.x + (f.width - f.left) / camera.scale + edge));
    const y1 = Math.min(p.y + p.height, Math.floor(camera.y + (f.height - f.bottom) / camera.scale + edge));
    for (let i = y0; i < y1; ++i) {
      for (let j = x0; j < Math.min(x1, i + 1); ++j) {
        const w = p.values[2 * ((i - p.y) * p.width + (j - p.x)) + which]!;
        if (w === ABSENT) continue;
        c.fillStyle = bright(shade(lut, place(w, s.colours))) ? '#101010' : '#f4f4f4';
        const text = w === NOT_A_NUMBER ? 'NaN' : s.colours.signed ? points(2 * w - 1) : points(w);
        c.fillText(text, f.left + (j + 0.5 - camera.x) * camera.scale, (i + 0.5 - camera.y) * camera.scale);
      }
    }
  }
}

function cross(s: Scene, colours: Ink): void {
  const { context: c, frame: f, camera } = s;
  const plotHeight = f.height - f.bottom;
  const y = (s.row - camera.y) * camera.scale;
  const x = f.left + (s.key - camera.x) * camera.scale;
  const size = Math.max(camera.scale, 1);
  const ends = Math.min(f.width, f.left + (s.row + 1 - camera.x) * camera.scale);
  c.save();
  c.beginPath();
  c.rect(f.left, 0, f.width - f.left, plotHeight);
  c.clip();
  c.globalAlpha = 0.9;
  c.strokeStyle = s.picture.signed ? colours.text : colours.accent; // what is more is orange itself
  c.lineWidth = 1;
  const mid = (v: number): number => Math.round(v) + 0.5;
  if (camera.scale < 6) {
    c.beginPath();
    c.moveTo(f.left, mid(y + size / 2));
    c.lineTo(ends, mid(y + size / 2));
    c.stroke();
    c.strokeRect(mid(x + size / 2) - 4, mid(y + size / 2) - 4, 8, 8);
  } else {
    c.strokeRect(f.left - 2, mid(y), ends - f.left + 2, Math.round(size));
    const line = c.strokeStyle;
    for (const [width, style] of [
      [5, colours.paper], // what is bright itself would hide the line
      [2, line],
    ] as const) {
      c.lineWidth = width;
      c.strokeStyle = style;
      c.strokeRect(x, y, size, size);
    }
  }
  c.restore();
}

/** Draws what stands upon and around the cells. */
export function drawScene(s: Scene): void {
  const { context: c, frame: f } = s;
  const colours = ink();
  c.save();
  c.beginPath();
  c.rect(f.left, 0, f.width - f.left, f.height - f.bottom);
  c.clip();
  figures(s);
  c.restore();
  cross(s, colours);
  c.strokeStyle = colours.line;
  c.lineWidth = 1;
  c.beginPath();
  c.moveTo(f.left - 0.5, 0);
  c.lineTo(f.left - 0.5, f.height - f.bottom + 0.5);
  c.lineTo(f.width, f.height - f.bottom + 0.5);
  c.stroke();
  marginals(s, colours);
  edgeNames(s, colours);
  labels(s, colours);
}
