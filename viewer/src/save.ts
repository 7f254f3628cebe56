// Saving what is shown: the map as PNG or SVG, the focused row or all heads as CSV or JSON. Everything is made here and
// handed to the browser as a download; nothing is asked of a network. Tokens come from strangers: in CSV a cell that a
// spreadsheet would run as a formula is defused, in SVG text is escaped, file names are plain letters.
import { ABSENT, FAULT, NOT_A_NUMBER, css, place, rampOf, shade, table } from './colormap';
import { label } from './format';
import { type Scene, cellsInView } from './gutters';

export const slug = (text: string): string =>
  text
    .toLowerCase()
    .normalize('NFKD')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 40)
    .replace(/-+$/, '') || 'page';

export function download(name: string, content: Blob): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  window.setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export const csvBlob = (rows: (string | number | null)[][]): Blob =>
  // The mark at the start tells spreadsheets that it is UTF-8.
  new Blob(['\uFEFF', rows.map((r) => r.map(csvCell).join(',')).join('\r\n'), '\r\n'], {
    type: 'text/csv;charset=utf-8',
  });
export const jsonBlob = (value: unknown): Blob =>
  new Blob(
    [JSON.stringify(value, (_, v: unknown) => (typeof v === 'number' && !Number.isFinite(v) ? null : v), 1), '\n'],
    {
      type: 'application/json',
    },
  );

/// One cell. Texts that begin as a formula would (= + - @, also behind blanks or control characters) get an apostrophe.
function csvCell(value: string | number | null): string {
  if (value === null) return '';
  if (typeof value === 'number') return Number.isFinite(value) ? String(value) : 'NaN';
  // eslint-disable-next-line no-control-regex
  const risky = /^[\s\u0000-\u001F\u200B-\u200F\u202A-\u202E\u2060\uFEFF]*[=+\-@\uFF1D\uFF0B\uFF0D\uFF20]/.test(value);
  // eslint-disable-next-line no-control-regex
  const safe = (risky || /^[\t\r\n]/.test(value) ? `'${value}` : value).replace(/\u0000/g, '\uFFFD');
  return `"${safe.replace(/"/g, '""')}"`;
}

export function pngBlob(canvas: HTMLCanvasElement): Promise<Blob> {
  return new Promise((done, fail) =>
    canvas.toBlob((b) => (b ? done(b) : fail(new Error('the browser made no PNG of the map'))), 'image/png'),
  );
}

const xml = (text: string): string =>
  text
    // eslint-disable-next-line no-control-regex
    .replace(/[\u0000-\u0008\u000B\u000C\u000E-\u001F\uFFFE\uFFFF]|[\uD800-\uDBFF](?![\uDC00-\uDFFF])/g, '\uFFFD')
    .replace(/(^|[^\uD800-\uDBFF])[\uDC00-\uDFFF]/g, '$1\uFFFD')
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
    .replace(/"/g, '&quot;');

/// In pieces, so that the page's script holds no tag that a reader of its HTML might count.
const named = (name: string, text: string): string => `<${name}>${xml(text)}</${name}>`;

const MOST_RECTANGLES = 60_000;

/// The view as vectors: runs of cells of one colour, and labels as text. The finest patches only, the coarse beneath
/// where these are missing.
export function svgBlob(scene: Scene, title: string, description: string, ground: string, text: string): Blob {
  const { frame: f, camera, tokens, patches, colours } = scene;
  const width = f.width - f.left;
  const height = f.height - f.bottom;
  const lut = table(rampOf(colours));
  const which = colours.pool === 'sum' ? 0 : 1;
  const n = (v: number): string => v.toFixed(2).replace(/\.?0+$/, '');
  const out: string[] = [];
  for (const p of patches) {
    const size = p.cell * camera.scale;
    const { r0, r1, c0, c1 } = cellsInView(p, camera, f);
    for (let r = r0; r < r1; ++r) {
      let from = c0;
      let colour = '';
      for (let c = c0; c <= c1; ++c) {
        const v = c < c1 ? p.values[2 * (r * p.width + c) + which]! : ABSENT;
        const here = v === ABSENT ? '' : css(v === NOT_A_NUMBER ? FAULT : shade(lut, place(v, colours)));
        if (here === colour && c < c1) continue;
        if (colour) {
          const x = f.left + (p.x + from * p.cell - camera.x) * camera.scale;
          const y = (p.y + r * p.cell - camera.y) * camera.scale;
          out.push(
            `<rect x="${n(x)}" y="${n(y)}" width="${n((c - from) * size)}" height="${n(size)}" fill="${colour}"/>`,
          );
        }
        from = c;
        colour = here;
      }
    }
    if (out.length > MOST_RECTANGLES) {
      throw new Error(`this view has more than ${MOST_RECTANGLES.toLocaleString('en')} cells: zoom in, or save a PNG`);
    }
  }
  const labels: string[] = [];
  const every = camera.scale >= 12 ? 1 : Math.max(1, Math.ceil(64 / camera.scale / 10) * 10);
  const name = (i: number): string =>
    xml(every === 1 ? label(tokens[i]?.trimStart() || tokens[i], 12) : i.toLocaleString('en'));
  const half = every === 1 ? 0.5 : 0;
  for (let i = Math.max(0, Math.ceil((camera.y - half) / every) * every); i < tokens.length; i += every) {
    const y = (i + half - camera.y) * camera.scale;
    if (y > height) break;
    labels.push(
      `<text x="${n(f.left - 6)}" y="${n(y)}" text-anchor="end" dominant-baseline="middle">${name(i)}</text>`,
    );
  }
  for (let j = Math.max(0, Math.ceil((camera.x - half) / every) * every); j < tokens.length; j += every) {
    const x = f.left + (j + half - camera.x) * camera.scale;
    if (x > f.width) break;
    const turn =
      every === 1 ? ` transform="rotate(-90 ${n(x)} ${n(height + 6)})" text-anchor="end"` : ' text-anchor="middle"';
    const down = every === 1 ? height + 6 : height + 14;
    labels.push(`<text x="${n(x)}" y="${n(down)}" dominant-baseline="middle"${turn}>${name(j)}</text>`);
  }
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${n(f.width)} ${n(f.height)}" ` +
    `width="${n(f.width)}" height="${n(f.height)}" role="img">\n` +
    `${named('title', title)}\n${named('desc', description)}\n` +
    `<rect width="100%" height="100%" fill="${ground}"/>\n` +
    `<clipPath id="plot"><rect x="${n(f.left)}" y="0" width="${n(width)}" height="${n(height)}"/></clipPath>\n` +
    `<g clip-path="url(#plot)" shape-rendering="crispEdges">${out.join('\n')}</g>\n` +
    `<g font-family="ui-monospace, monospace" font-size="11" fill="${text}">${labels.join('\n')}</g>\n</svg>\n`;
  return new Blob([svg], { type: 'image/svg+xml' });
}
