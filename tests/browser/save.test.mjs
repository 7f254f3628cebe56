// What is saved is what is shown: the right names, a PNG that is a picture, an SVG that is one and holds no script, a row
// whose weights are the engine's, and cells that no spreadsheet runs as formulas. Nothing is asked of a network.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { closeAll, expected, open, page, settled } from './open.mjs';

after(closeAll);

async function save(o, name) {
  const [download] = await Promise.all([
    o.page.waitForEvent('download'),
    o.page.getByRole('button', { name, exact: false }).click(),
  ]);
  return { name: download.suggestedFilename(), bytes: readFileSync(await download.path()) };
}
const csv = (text) => {
  const rows = [[]];
  for (const m of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|$)/g)) {
    rows.at(-1).push(m[1] === undefined ? m[2] : m[1].replace(/""/g, '"'));
    if (m[3] === '\r\n') rows.push([]);
    if (m[3] === '') break;
  }
  return rows.filter((r) => r.length > 1);
};
const finish = async (o) => {
  assert.deepEqual(await o.page.evaluate(() => window.violations), []);
  // A download is announced as a request for a blob of the page's own: it is none to a network.
  assert.deepEqual(
    o.wrong.filter((w) => !/^request: blob:/.test(w)),
    [],
  );
  await o.close();
};

test('PNG and SVG of the map', async () => {
  for (const draw of ['', '&draw=webgl']) {
    const o = await open(page('hostile.html'), { hash: `#head=0.1&at=60,60,20${draw}` });
    await settled(o.page);
    const png = await save(o, 'as PNG');
    assert.equal(png.name, 'bareattn-title-script-alert-1-script-title-0-1.png');
    assert.equal(png.bytes.subarray(1, 4).toString(), 'PNG');
    const colours = await o.page.evaluate(async (base64) => {
      const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      const image = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
      const c = new OffscreenCanvas(image.width, image.height).getContext('2d');
      c.drawImage(image, 0, 0);
      const { data } = c.getImageData(0, 0, image.width, image.height);
      const seen = new Set();
      for (let i = 0; i < data.length; i += 4 * 97) seen.add(`${data[i]},${data[i + 1]},${data[i + 2]}`);
      return seen.size;
    }, png.bytes.toString('base64'));
    assert.ok(colours > 40, `${colours} colours: the map is missing`);
    await finish(o);
  }
  const o = await open(page('hostile.html'), { hash: '#head=0.1&at=8,8,20' });
  await settled(o.page);
  const svg = (await save(o, 'as SVG')).bytes.toString();
  const parsed = await o.page.evaluate((text) => {
    // As an image: what a browser draws of it, scripts and all else off.
    const image = new Image();
    image.src = URL.createObjectURL(new Blob([text], { type: 'image/svg+xml' }));
    return image.decode().then(
      () => image.naturalWidth,
      () => 0,
    );
  }, svg);
  assert.ok(parsed > 300, 'the SVG is not well-formed');
  assert.ok((svg.match(/<rect /g) ?? []).length > 50);
  assert.ok(!/<script|<image|href|on\w+=/i.test(svg), 'the SVG holds more than shapes and text');
  assert.match(svg, /<title>&lt;\/title&gt;&lt;script&gt;/);
  await finish(o);
});

test('CSV and JSON of a row are the engine\u2019s weights, and no cell is a formula', async () => {
  const truth = expected().hostile;
  const o = await open(page('hostile.html'), { hash: '#head=0.1&row=119&with=0.2' });
  await settled(o.page);
  await o.page.waitForSelector('#agreement');
  const file = await save(o, 'as CSV');
  assert.equal(file.name, 'bareattn-title-script-alert-1-script-title-0-1-vs-0-2.csv');
  const [head, ...rows] = csv(file.bytes.toString().replace(/^\uFEFF/, ''));
  assert.deepEqual(head, ['key', 'token', 'weight', 'weight_0.2', 'difference']);
  assert.equal(rows.length, 120);
  const { weights, slack } = truth.rows[119];
  for (const [key, token, w, other, difference] of rows) {
    assert.ok(Math.abs(Math.log(w / weights[key])) <= slack[key], `key ${key}: ${w}, not ${weights[key]}`);
    assert.ok(Math.abs(w - other - difference) < 1e-7);
    assert.ok(!/^[\s]*[=+\-@\t\r]/.test(token), `a formula: ${JSON.stringify(token)}`);
    const plain = truth.tokens[key].replace(/\0/g, '\uFFFD');
    assert.ok(token === plain || token === `'${plain}`, `${JSON.stringify(token)} is not ${JSON.stringify(plain)}`);
  }
  assert.ok(rows.some(([, token]) => token.startsWith("'=")), 'no token of the fixture was a formula');
  const json = JSON.parse((await save(o, 'as JSON')).bytes);
  assert.equal(json.row, 119);
  assert.deepEqual(json.tokens, truth.tokens);
  assert.ok(json.weights.every((w, j) => Math.abs(Math.log(w / weights[j])) <= slack[j]));
  await finish(o);
});

test('the measures of all heads', async () => {
  const o = await open(page('hostile.html'));
  const file = await save(o, 'all heads as CSV');
  assert.match(file.name, /-heads\.csv$/);
  const [head, ...rows] = csv(file.bytes.toString().replace(/^\uFEFF/, ''));
  assert.deepEqual(head.slice(0, 4), ['layer', 'head', 'role', 'evidence']);
  assert.equal(rows.length, 12);
  const json = JSON.parse((await save(o, 'all heads as JSON')).bytes);
  assert.equal(json.heads.length, 12);
  const entropy = head.indexOf('entropy');
  json.heads.forEach((h, i) => {
    if (h.means.entropy === null) assert.equal(rows[i][entropy], '');
    else assert.equal(Number(rows[i][entropy]), h.means.entropy);
  });
  await finish(o);
});
