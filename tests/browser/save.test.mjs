// What is saved is what is shown: names that say what is in the file, a PNG that is a picture, an SVG of shapes and text
// alone with both maps, labels, figures and colour bars, all heads as a picture, and rows whose numbers are the engine's
// under headers that name them. No cell is run as a formula, and nothing is asked of a network.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { closeAll, expected, open, page, settled } from './open.mjs';
import { csv, drawn, finish, inBox, save, texts } from './saving.mjs';
import { test } from './testing.mjs';

after(closeAll);

const NAME = 'bareattn-title-script-alert-1-script-title';
const said = (svg) => texts(svg).map((t) => t.said);
const plainSvg = (svg) => {
  assert.ok(!/<script|<image|href|\bon\w+=/i.test(svg), 'the SVG holds more than shapes and text');
  assert.match(svg, /<title>&lt;\/title&gt;&lt;script&gt;/);
};
/// SVG and PNG of one view: the same size (PNG two pixels to one), both with a picture in them.
async function both(o, what, name) {
  const svg = (await save(o, `${what} as SVG`)).bytes;
  const png = await save(o, `${what} as PNG`);
  assert.equal(png.name, name);
  plainSvg(svg.toString());
  const [a, b] = [await drawn(o.page, svg, 'image/svg+xml', 2), await drawn(o.page, png.bytes, 'image/png')];
  assert.deepEqual([a.width, a.height], [b.width, b.height]);
  for (const { colours } of [a, b]) assert.ok(colours > 40, `${colours} colours: the picture is missing`);
  return svg.toString();
}

test('PNG and SVG of the map: title, head, scale, tokens and the engine\u2019s figures', async () => {
  const truth = expected().hostile;
  for (const draw of ['', '&draw=webgl']) {
    const o = await open(page('hostile.html'), { hash: `#head=0.1&row=119&at=114,116,12${draw}` });
    await settled(o.page);
    const svg = await both(o, 'the map', `${NAME}-0-1.png`);
    const there = said(svg);
    // What turns letters around is named.
    assert.equal(there[0], '</title><script>alert(1)</script> \u2039U+202E\u203A title');
    assert.ok(
      there.some((t) => /^Layer 0, head 1.*: share of the row\u2019s weight$/.test(t)),
      there.join('\n'),
    );
    assert.ok(there.some((t) => /^Rows 11\d\u2013119, keys 10\d\u2013119 of 120 tokens/.test(t)));
    for (const tick of ['0.01 %', '1 %', '100 %']) assert.ok(there.includes(tick), `no tick ${tick}`);
    // The last row of figures: keys up to 119, or 118 where the last is cut, each the engine's weight in percent.
    const figures = texts(svg).filter((t) => /^([\d.]+|\u00B7)$/.test(t.said) && t.size === 13);
    const lowest = Math.max(...figures.map((t) => t.y));
    const row = figures.filter((t) => t.y === lowest).sort((a, b) => a.x - b.x);
    assert.ok(row.length >= 10, `${row.length} figures in the row`);
    const fits = (last) =>
      row.every((t, i) => {
        const w = 100 * truth.rows[119].weights[last + 1 - row.length + i];
        const seen = t.said === '\u00B7' ? 0.05 : Number(t.said);
        return Math.abs(seen - w) <= (w >= 9.9 ? 0.6 : 0.06);
      });
    assert.ok(fits(119) || fits(118), row.map((t) => t.said).join(' '));
    await finish(o);
  }
});

test('two heads: both maps with their names, or what lies between', async () => {
  const o = await open(page('hostile.html'), { hash: '#head=0.1&with=0.2', colorScheme: 'dark' });
  await settled(o.page);
  await o.page.waitForSelector('#agreement');
  const svg = await both(o, 'the map', `${NAME}-0-1-vs-0-2.png`);
  for (const name of ['Layer 0, head 1', 'Layer 0, head 2']) assert.ok(said(svg).includes(name), `no map of ${name}`);
  assert.equal(svg.match(/shape-rendering="crispEdges"/g).length, 2, 'both maps are drawn');
  await o.page.getByLabel('Difference', { exact: true }).click();
  await settled(o.page);
  const minus = await both(o, 'the map', `${NAME}-0-1-minus-0-2.png`);
  const there = said(minus).join('\n');
  assert.match(there, /Layer 0, head 1 \u2212 layer 0, head 2: difference of shares/);
  assert.match(there, /\u2212100 %/);
  const { width, height } = await drawn(o.page, Buffer.from(minus), 'image/svg+xml');
  const seen = await inBox(o.page, [120, 120, width, height - 200]);
  assert.ok(seen.orange > 50 && seen.purple > 50, JSON.stringify(seen));
  await finish(o);
});

test('all heads as PNG and SVG: every head, its role, both colour bars', async () => {
  const o = await open(page('hostile.html'));
  await o.page.waitForSelector('.telling canvas');
  const svg = await both(o, 'the grid', `${NAME}-heads.png`);
  assert.equal(svg.match(/shape-rendering="crispEdges"/g).length, 12);
  const there = said(svg);
  assert.ok(there.some((t) => /^All 12 heads, coloured by first-token weight$/.test(t)));
  for (const name of ['0', '1', '2', '3', '100 %']) assert.ok(there.includes(name), `no ${name}`);
  assert.ok(there.some((t) => /^Letters: roles on this text: /.test(t)));
  // Tiles stand 26 behind the left edge, where the names of the heads are, and 3 apart.
  await drawn(o.page, Buffer.from(svg), 'image/svg+xml');
  const [first, second] = texts(svg).filter((t) => /^[01]$/.test(t.said));
  const step = second.y - first.y;
  const top = Math.min(...[...svg.matchAll(/translate\(24 ([\d.]+)\)/g)].map((m) => Number(m[1])));
  for (let l = 0; l < 4; ++l) {
    for (let h = 0; h < 3; ++h) {
      const [x, y] = [50 + l * step, top + h * step];
      const { ground, all } = await inBox(o.page, [x + 2, y + 2, x + step - 5, y + step - 5, true]);
      assert.ok(ground < all / 3, `the map of head ${l}.${h} is not there: ${ground} of ${all} pixels are paper`);
    }
  }
  await finish(o);
});

test('CSV and JSON of a row are the engine\u2019s weights, and no cell is a formula', async () => {
  const truth = expected().hostile;
  const o = await open(page('hostile.html'), { hash: '#head=0.1&row=119&with=0.2' });
  await settled(o.page);
  await o.page.waitForSelector('#agreement');
  const file = await save(o, 'as CSV');
  assert.equal(file.name, `${NAME}-0-1-vs-0-2-row-119.csv`);
  const [head, ...rows] = csv(file.bytes.toString());
  assert.deepEqual(head, ['key', 'token', 'weight_0.1', 'weight_0.2', 'difference_0.1-0.2']);
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
  assert.deepEqual([json.kind, json.layer, json.head, json.other.head, json.row], ['bareattn.row', 0, 1, 2, 119]);
  assert.deepEqual(json.tokens, truth.tokens);
  assert.deepEqual(Object.keys(json.numbers), ['weight_0.1', 'weight_0.2', 'difference_0.1-0.2']);
  assert.ok(json['weight_0.1'].every((w, j) => Math.abs(Math.log(w / weights[j])) <= slack[j]));
  await finish(o);
});

test('a row by what keys receive and by what they carry says so, and is that', async () => {
  const o = await open(page('hostile.html'), { hash: '#head=0.1&row=119&norm=key' });
  await settled(o.page);
  const file = await save(o, 'as CSV');
  assert.equal(file.name, `${NAME}-0-1-row-119.csv`);
  const [head, ...rows] = csv(file.bytes.toString());
  assert.deepEqual(head, ['key', 'token', 'weight', 'part_of_received']);
  // The last key is received by the last row alone: all of it.
  assert.ok(Math.abs(rows[119][3] - 1) < 2e-3, `${rows[119][3]} is not all`);
  const shown = await o.page.locator('#cell-weight').getAttribute('value');
  const focused = rows.reduce((best, r) => (Number(r[2]) > Number(best[2]) ? r : best));
  assert.ok(Math.abs(focused[3] / shown - 1) < 1e-6, `${focused[3]} is saved, ${shown} shown`);
  await finish(o);

  const truth = expected().real;
  assert.ok(truth, 'no page of a real model');
  const real = await open(page('real.html'), { hash: '#head=11.2&row=200&value=weighted' });
  await settled(real.page);
  const [names, ...sizes] = csv((await save(real, 'as CSV')).bytes.toString());
  assert.deepEqual(names, ['key', 'token', 'weight', 'weight_times_size']);
  assert.ok(sizes.every((r) => Math.abs(r[3] / (r[2] * truth.sizes[r[0]]) - 1) < 0.01));
  const json = JSON.parse((await save(real, 'as JSON')).bytes);
  assert.match(json.numbers.weight_times_size, /\|v W_O\|/);
  await finish(real);
});

test('the measures of all heads', async () => {
  const o = await open(page('hostile.html'));
  const file = await save(o, 'all heads as CSV');
  assert.equal(file.name, `${NAME}-heads.csv`);
  const [head, ...rows] = csv(file.bytes.toString());
  assert.deepEqual(head.slice(0, 4), ['layer', 'head', 'role', 'evidence']);
  assert.equal(rows.length, 12);
  const json = JSON.parse((await save(o, 'all heads as JSON')).bytes);
  assert.equal(json.kind, 'bareattn.heads');
  assert.equal(json.heads.length, 12);
  const entropy = head.indexOf('entropy');
  json.heads.forEach((h, i) => {
    if (h.means.entropy === null) assert.equal(rows[i][entropy], '');
    else assert.equal(Number(rows[i][entropy]), h.means.entropy);
  });
  await finish(o);
});
