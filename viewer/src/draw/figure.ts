// A picture to be shared: the text's title, what is shown, one or more panels beside each other, colour bars with their
// values, and notes. Laid out once, drawn by a Pen: as PNG at two pixels to one, or as SVG. What is in the panels:
// figure_map.ts, figure_grid.ts, figure_layers.ts.
import { css } from './colormap';
import { ink } from '../map/gutters';
import { type Pen, SvgPen } from './pen';

/** One drawing of a picture. */
export interface Panel {
  caption: string;
  width: number;
  height: number;
  draw(pen: Pen): void; // from 0, 0
}
/** A colour bar with its marks. */
export interface Legend {
  colour(t: number): readonly number[]; // of 0..1
  ticks: readonly (readonly [number, string])[];
  what: string;
}
/** A picture to be saved: a title, lines, drawings, colour bars and notes. */
export interface Figure {
  title: string;
  lines: string[];
  panels: Panel[];
  legends: Legend[];
  notes: string[];
}

const PAD = 24;
const GAP = 28;
const CAPTION = 24;
const LEGEND = 300;
const SANS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif';
/** The font of pictures. */
export const sans = (size: number, weight = 400): string => `${weight} ${size}px ${SANS}`;

const ruler = document.createElement('canvas').getContext('2d')!;

/** Lines of at most so wide a text, broken between words, within them only where one alone is too long. */
export function wrapped(text: string, font: string, width: number): string[] {
  ruler.font = font;
  const fits = (t: string): boolean => ruler.measureText(t).width <= width;
  const out: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    const longer = line ? `${line} ${word}` : word;
    if (fits(longer)) {
      line = longer;
      continue;
    }
    if (line) out.push(line);
    line = '';
    for (const letter of word) {
      if (line && !fits(line + letter)) {
        out.push(line);
        line = '';
      }
      line += letter;
    }
  }
  return line ? [...out, line] : out;
}

interface Line {
  text: string;
  font: string;
  y: number;
  faint: boolean;
}
interface Layout {
  width: number;
  height: number;
  lines: Line[];
  panels: number; // top
  legends: number; // top
}

function layout(figure: Figure): Layout {
  const wide = figure.panels.reduce((sum, p) => sum + p.width, GAP * (figure.panels.length - 1));
  const width = Math.ceil(2 * PAD + Math.max(wide, 2 * LEGEND + GAP));
  const lines: Line[] = [];
  let y = PAD;
  const put = (text: string, size: number, weight: number, faint: boolean): void => {
    const font = sans(size, weight);
    for (const line of wrapped(text, font, width - 2 * PAD)) {
      lines.push({ text: line, font, y: y + size * 0.6, faint });
      y += Math.round(size * 1.45);
    }
  };
  put(figure.title, 18, 650, false);
  figure.lines.forEach((line, i) => put(line, i ? 13 : 15, i ? 400 : 500, i > 0));
  y += 12;
  const panels = y;
  const captions = figure.panels.some((p) => p.caption) ? CAPTION : 0;
  y += captions + Math.max(...figure.panels.map((p) => p.height)) + 14;
  const legends = y;
  const across = Math.max(1, Math.floor((width - 2 * PAD + GAP) / (LEGEND + GAP)));
  y += 52 * Math.ceil(figure.legends.length / across) + (figure.legends.length ? 6 : 0);
  for (const note of figure.notes) put(note, 12.5, 400, true);
  return { width, height: Math.ceil(y + PAD - 6), lines, panels, legends };
}

function drawLegend(pen: Pen, legend: Legend): void {
  const colours = ink();
  pen.font = sans(12.5);
  pen.textBaseline = 'middle';
  pen.textAlign = 'left';
  pen.fillStyle = colours.text;
  pen.fillText(legend.what, 0, 6);
  // Each step reaches to the end, and the next one covers the rest of it: no seams, however it is scaled.
  for (let x = 0; x < LEGEND; x += 2) {
    pen.fillStyle = css(legend.colour(x / (LEGEND - 2)));
    pen.fillRect(x, 16, LEGEND - x, 10);
  }
  pen.font = sans(11.5);
  pen.fillStyle = colours.faint;
  legend.ticks.forEach(([t, text]) => {
    const x = Math.round(t * LEGEND);
    pen.fillRect(Math.min(LEGEND - 1, x), 26, 1, 4);
    pen.textAlign = t <= 0.04 ? 'left' : t >= 0.96 ? 'right' : 'center';
    pen.fillText(text, x, 37);
  });
}

function drawFigure(pen: Pen, figure: Figure, at: Layout): void {
  const colours = ink();
  pen.fillStyle = colours.paper;
  pen.fillRect(0, 0, at.width, at.height);
  pen.textBaseline = 'middle';
  pen.textAlign = 'left';
  for (const { text, font, y, faint } of at.lines) {
    pen.font = font;
    pen.fillStyle = faint ? colours.faint : colours.text;
    pen.fillText(text, PAD, y);
  }
  const captions = figure.panels.some((p) => p.caption) ? CAPTION : 0;
  let left = PAD;
  for (const panel of figure.panels) {
    pen.save();
    pen.translate(left, at.panels);
    if (captions) {
      pen.font = sans(14, 600);
      pen.fillStyle = colours.accent;
      pen.fillText(panel.caption, 0, 8);
    }
    pen.translate(0, captions);
    panel.draw(pen);
    pen.restore();
    left += panel.width + GAP;
  }
  const across = Math.max(1, Math.floor((at.width - 2 * PAD + GAP) / (LEGEND + GAP)));
  figure.legends.forEach((legend, i) => {
    pen.save();
    pen.translate(PAD + (i % across) * (LEGEND + GAP), at.legends + 52 * Math.floor(i / across));
    drawLegend(pen, legend);
    pen.restore();
  });
}

/** The picture as SVG. */
export function svgOf(figure: Figure): Blob {
  const at = layout(figure);
  const pen = new SvgPen(at.width, at.height);
  drawFigure(pen, figure, at);
  return pen.blob(`${figure.title}: ${figure.lines[0] ?? ''}`, [...figure.lines.slice(1), ...figure.notes].join(' '));
}

/** At two pixels to one, whatever the screen has. */
export function pngOf(figure: Figure): Promise<Blob> {
  const at = layout(figure);
  const canvas = document.createElement('canvas');
  canvas.width = 2 * at.width;
  canvas.height = 2 * at.height;
  const pen = canvas.getContext('2d')!;
  pen.scale(2, 2);
  drawFigure(pen, figure, at);
  return new Promise((done, fail) =>
    canvas.toBlob((b) => (b ? done(b) : fail(new Error('the browser made no PNG of this'))), 'image/png'),
  );
}
