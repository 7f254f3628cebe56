// One drawing, two papers: what is drawn with a Pen stands on a canvas (the screen, PNG) or in an SVG, the same in
// both. A Pen is the part of a canvas context that the page uses; SvgPen writes it down as shapes and text, escaped,
// and cells as paths in whole cells inside one transformed group, so that no seam opens between neighbours at any
// size. It refuses pictures of more runs of cells than a reader would open. Next: figure.ts, which puts pictures
// together.

/** What both a canvas and an SVG can draw. */
export type Pen = Pick<
  CanvasRenderingContext2D,
  | 'fillStyle'
  | 'strokeStyle'
  | 'lineWidth'
  | 'globalAlpha'
  | 'font'
  | 'textAlign'
  | 'textBaseline'
  | 'save'
  | 'restore'
  | 'translate'
  | 'rotate'
  | 'beginPath'
  | 'closePath'
  | 'moveTo'
  | 'lineTo'
  | 'rect'
  | 'clip'
  | 'fill'
  | 'stroke'
  | 'fillRect'
  | 'strokeRect'
  | 'fillText'
>;

/** Pixels that are cells of `cell` units a side, the first one at x, y. */
export interface CellImage {
  image: ImageData;
  x: number;
  y: number;
  cell: number;
  whole?: boolean; // what lies under it does not show through where it has no cells
}
/** Units to CSS pixels: (v - at) * scale. */
export interface Units {
  x: number;
  y: number;
  scale: number;
}

const MOST_RUNS = 1_000_000;

/** A text within XML. */
export const xml = (text: string): string =>
  text
    // eslint-disable-next-line no-control-regex
    .replace(/[\u0000-\u0008\u000B\u000C\u000E-\u001F\uFFFE\uFFFF]|[\uD800-\uDBFF](?![\uDC00-\uDFFF])/g, '\uFFFD')
    .replace(/(^|[^\uD800-\uDBFF])[\uDC00-\uDFFF]/g, '$1\uFFFD')
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
    .replace(/"/g, '&quot;');

/** In pieces, so that the page's script holds no tag that a reader of its HTML might count. */
const named = (name: string, text: string): string => `<${name}>${xml(text)}</${name}>`;
const short = (v: number): string => String(Math.round(v * 100) / 100);
const hex = (r: number, g: number, b: number): string => `#${((r << 16) | (g << 8) | b).toString(16).padStart(6, '0')}`;

const scratch = document.createElement('canvas');

/** Cells as they are, never smoothed: neighbours share their edge, which lies on a whole pixel of a picture at 2x. */
export function putCells(pen: Pen, all: CellImage[], units: Units): void {
  if (pen instanceof SvgPen) {
    pen.cells(all, units);
    return;
  }
  const c = pen as CanvasRenderingContext2D;
  c.imageSmoothingEnabled = false;
  const x = (v: number): number => Math.round((v - units.x) * units.scale * 2) / 2;
  const y = (v: number): number => Math.round((v - units.y) * units.scale * 2) / 2;
  for (const { image, cell, whole, ...at } of all) {
    scratch.width = image.width;
    scratch.height = image.height;
    scratch.getContext('2d')!.putImageData(image, 0, 0);
    const [left, top] = [x(at.x), y(at.y)];
    const [w, h] = [x(at.x + cell * image.width) - left, y(at.y + cell * image.height) - top];
    if (whole) c.fillRect(left, top, w, h);
    c.drawImage(scratch, left, top, w, h);
  }
}

interface Ways {
  fillStyle: Pen['fillStyle'];
  strokeStyle: Pen['strokeStyle'];
  lineWidth: number;
  globalAlpha: number;
  font: string;
  textAlign: CanvasTextAlign;
  textBaseline: CanvasTextBaseline;
  groups: number; // opened since, to be closed with it
}

/** Draws into an SVG of shapes and text alone. */
export class SvgPen implements Pen {
  fillStyle: Pen['fillStyle'] = '#000000';
  strokeStyle: Pen['strokeStyle'] = '#000000';
  lineWidth = 1;
  globalAlpha = 1;
  font = '10px sans-serif';
  textAlign: CanvasTextAlign = 'start';
  textBaseline: CanvasTextBaseline = 'alphabetic';
  private readonly out: string[] = [];
  private readonly before: Ways[] = [];
  private groups = 0;
  private path = '';
  private clips = 0;
  private runs = 0;

  constructor(
    private readonly width: number,
    private readonly height: number,
  ) {}

  save(): void {
    const { fillStyle, strokeStyle, lineWidth, globalAlpha, font, textAlign, textBaseline, groups } = this;
    this.before.push({ fillStyle, strokeStyle, lineWidth, globalAlpha, font, textAlign, textBaseline, groups });
    this.groups = 0;
  }

  restore(): void {
    this.out.push('</g>'.repeat(this.groups));
    Object.assign(this, this.before.pop());
  }

  private group(attribute: string): void {
    this.out.push(`<g ${attribute}>`);
    ++this.groups;
  }

  translate(x: number, y: number): void {
    this.group(`transform="translate(${short(x)} ${short(y)})"`);
  }

  rotate(angle: number): void {
    this.group(`transform="rotate(${short((angle * 180) / Math.PI)})"`);
  }

  beginPath(): void {
    this.path = '';
  }

  moveTo(x: number, y: number): void {
    this.path += `M${short(x)} ${short(y)}`;
  }

  lineTo(x: number, y: number): void {
    this.path += `L${short(x)} ${short(y)}`;
  }

  closePath(): void {
    this.path += 'Z';
  }

  rect(x: number, y: number, w: number, h: number): void {
    this.path += `M${short(x)} ${short(y)}h${short(w)}v${short(h)}h${short(-w)}Z`;
  }

  clip(): void {
    const id = `clip${++this.clips}`;
    this.out.push(`<clipPath id="${id}"><path d="${this.path}"/></clipPath>`);
    this.group(`clip-path="url(#${id})"`);
  }

  private get faint(): string {
    return this.globalAlpha < 1 ? ` opacity="${short(this.globalAlpha)}"` : '';
  }

  private get outline(): string {
    return `fill="none" stroke="${xml(String(this.strokeStyle))}" stroke-width="${short(this.lineWidth)}"${this.faint}`;
  }

  fill(): void {
    this.out.push(`<path d="${this.path}" fill="${xml(String(this.fillStyle))}"${this.faint}/>`);
  }

  stroke(): void {
    this.out.push(`<path d="${this.path}" ${this.outline}/>`);
  }

  private box(x: number, y: number, w: number, h: number): string {
    return `<rect x="${short(x)}" y="${short(y)}" width="${short(w)}" height="${short(h)}"`;
  }

  fillRect(x: number, y: number, w: number, h: number): void {
    this.out.push(`${this.box(x, y, w, h)} fill="${xml(String(this.fillStyle))}"${this.faint}/>`);
  }

  strokeRect(x: number, y: number, w: number, h: number): void {
    this.out.push(`${this.box(x, y, w, h)} ${this.outline}/>`);
  }

  /** Baselines are counted here: readers of SVG do not agree on theirs. */
  fillText(text: string, x: number, y: number): void {
    const [, weight, size, family] = /^(?:(\d+) )?([\d.]+)px (.*)$/.exec(this.font) ?? ['', '', '10', 'sans-serif'];
    const down = { middle: 0.35, top: 0.8 }[this.textBaseline as string] ?? 0;
    const anchor = { right: 'end', end: 'end', center: 'middle' }[this.textAlign as string];
    this.out.push(
      `<text x="${short(x)}" y="${short(y + down * Number(size))}" font-size="${size}" ` +
        `font-family="${xml(family!.replace(/"/g, "'"))}"${weight ? ` font-weight="${weight}"` : ''}` +
        `${anchor ? ` text-anchor="${anchor}"` : ''} fill="${xml(String(this.fillStyle))}"${this.faint}>` +
        `${xml(text)}</text>`,
    );
  }

  /** Runs of one colour, all runs of a colour as one path. */
  cells(all: CellImage[], { x, y, scale }: Units): void {
    const exact = (v: number): string => String(Number(v.toPrecision(10)));
    this.out.push(
      `<g transform="scale(${exact(scale)}) translate(${exact(-x)} ${exact(-y)})" shape-rendering="crispEdges"` +
        `${this.faint}>`,
    );
    for (const { image, cell, whole, ...at } of all) {
      const { width, height, data } = image;
      if (whole) this.fillRect(at.x, at.y, width * cell, height * cell);
      const paths = new Map<string, string[]>();
      for (let r = 0; r < height; ++r) {
        for (let c = 0, from = 0; c < width; from = c) {
          const p = 4 * (r * width + from);
          const same = (q: number): boolean =>
            data[p + 3] === data[q + 3] &&
            data[p] === data[q] &&
            data[p + 1] === data[q + 1] &&
            data[p + 2] === data[q + 2];
          while (c < width && same(4 * (r * width + c))) ++c;
          if (data[p + 3] === 0) continue;
          if (++this.runs > MOST_RUNS) throw new Error('this is too much for an SVG: zoom in, or save a PNG');
          const colour = hex(data[p]!, data[p + 1]!, data[p + 2]!);
          let path = paths.get(colour);
          if (!path) paths.set(colour, (path = []));
          const w = (c - from) * cell;
          path.push(`M${at.x + from * cell} ${at.y + r * cell}h${w}v${cell}h-${w}z`);
        }
      }
      for (const [colour, path] of paths) this.out.push(`<path fill="${colour}" d="${path.join('')}"/>`);
    }
    this.out.push('</g>');
  }

  blob(title: string, description: string): Blob {
    const [w, h] = [short(this.width), short(this.height)];
    const head =
      `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${w} ${h}" width="${w}" height="${h}" role="img">\n` +
      `${named('title', title)}\n${named('desc', description)}\n`;
    const end = '</g>'.repeat(this.groups);
    return new Blob([head, this.out.filter(Boolean).join('\n'), end, '\n</svg>\n'], { type: 'image/svg+xml' });
  }
}
