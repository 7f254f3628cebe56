// What the tests of saved files share: a click that saves and the file it gives, CSV as rows, the texts of an SVG with
// where they stand, and what a browser draws of a picture.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

export async function save(o, name) {
  const [download] = await Promise.all([
    o.page.waitForEvent('download'),
    o.page.getByRole('button', { name, exact: false }).click(),
  ]);
  return { name: download.suggestedFilename(), bytes: readFileSync(await download.path()) };
}

export const csv = (text) => {
  const rows = [[]];
  for (const m of text.replace(/^\uFEFF/, '').matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|$)/g)) {
    rows.at(-1).push(m[1] === undefined ? m[2] : m[1].replace(/""/g, '"'));
    if (m[3] === '\r\n') rows.push([]);
    if (m[3] === '') break;
  }
  return rows.filter((r) => r.length > 1);
};

export const finish = async (o) => {
  assert.deepEqual(await o.page.evaluate(() => window.violations), []);
  // A download is announced as a request for a blob of the page's own: it is none to a network.
  assert.deepEqual(
    o.wrong.filter((w) => !/^request: blob:/.test(w)),
    [],
  );
  await o.close();
};

const plain = (xml) =>
  xml.replace(/&lt;/g, '<').replace(/&gt;/g, '>').replace(/&quot;/g, '"').replace(/&amp;/g, '&');

/// Every text of an SVG, in order: what it says, and its place within its group.
export const texts = (svg) =>
  [...svg.matchAll(/<text x="([-\d.]+)" y="([-\d.]+)" font-size="([\d.]+)"[^>]*>([^<]*)<\/text>/g)].map(
    ([, x, y, size, said]) => ({ x: Number(x), y: Number(y), size: Number(size), said: plain(said) }),
  );

/// What a browser draws of a picture, `scale` pixels to one: its size, how many colours, and the pixels' own.
export const drawn = (page, bytes, type, scale = 1) =>
  page.evaluate(
    async ([base64, type, scale]) => {
      const data = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      const image = new Image();
      image.src = URL.createObjectURL(new Blob([data], { type }));
      await image.decode();
      const [w, h] = [image.naturalWidth * scale, image.naturalHeight * scale];
      const c = new OffscreenCanvas(w, h).getContext('2d', { willReadFrequently: true });
      c.drawImage(image, 0, 0, w, h);
      const pixels = c.getImageData(0, 0, w, h).data;
      window.pixelsOf = { w, h, pixels };
      const seen = new Set();
      for (let i = 0; i < pixels.length; i += 4) seen.add((pixels[i] << 16) | (pixels[i + 1] << 8) | pixels[i + 2]);
      return { width: w, height: h, colours: seen.size };
    },
    [bytes.toString('base64'), type, scale],
  );

/// How many of the pixels of a box of the picture last drawn are of a colour (that of the top left pixel: its ground),
/// and of the orange and purple of differences.
export const inBox = (page, box) =>
  page.evaluate(([x0, y0, x1, y1, lower]) => {
    const { w, pixels } = window.pixelsOf;
    const at = (x, y) => [...pixels.slice(4 * (y * w + x), 4 * (y * w + x) + 3)];
    const ground = at(1, 1).join();
    const out = { ground: 0, orange: 0, purple: 0, all: 0 };
    for (let y = Math.ceil(y0); y < Math.floor(y1); ++y) {
      for (let x = Math.ceil(x0); x < Math.floor(x1); ++x) {
        if (lower && (x - x0) / (x1 - x0) > (y - y0) / (y1 - y0) - 0.02) continue;
        const [r, g, b] = at(x, y);
        ++out.all;
        if (`${r},${g},${b}` === ground) ++out.ground;
        if (r > b + 60) ++out.orange;
        if (b > g + 20) ++out.purple;
      }
    }
    return out;
  }, box);
