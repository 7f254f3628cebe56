// What is said of one head, two heads or two runs is what their maps show, in the readout, in words, under the maps, in
// pictures and in files: by what keys receive, times what they carry, without the first token, of muted keys; B with
// B's own facts; and what could not be read is named.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { inflateSync } from 'node:zlib';
import { closeAll, open, page, settled } from './open.mjs';
import { csv, finish, save, texts } from './saving.mjs';
import { bin, model } from './serving.mjs';
import { soon, test } from './testing.mjs';

const folder = mkdtempSync(join(tmpdir(), 'bareattn-shown-'));
const text = 'The cat sat on the mat because it was tired, and the dog that had come with it lay down beside the cat.';
const at = (name) => join(folder, name);
const call = (...args) => execFileSync(bin, args, { maxBuffer: 1 << 28 });
const DATA = /(id="page-data">)(.*?)(<\/script>)/s;
const dataOf = (file) => JSON.parse(readFileSync(file, 'utf8').match(DATA)[2]);
const nameOf = ({ model: { heads } }, h) => `${Math.floor(h / heads)}.${h % heads}`;
let n = 0;

before(() => {
  const make = (name, interventions) => {
    writeFileSync(at('table.json'), JSON.stringify({ format: 'bareattn-steering', version: 1, interventions }));
    const table = interventions.length ? ['--table', at('table.json')] : [];
    call('trace', '-m', model, '--text', text, '-o', at(name), '--title', name, ...table);
  };
  make('plain', []);
  make('muted', [
    { kind: 'temperature', heads: ['3.*'], value: 2.5 },
    { kind: 'knockout', heads: ['7.1'], keys: [[3, 5]] },
  ]);
  call('page', at('plain'), '--against', at('muted'), '-o', at('two.html'));
  call('page', at('muted'), '-o', at('muted.html'));
  n = dataOf(at('two.html')).run.tokens;
});
after(async () => {
  await closeAll();
  rmSync(folder, { recursive: true });
});

const near = (a, b, within, what) => assert.ok(Math.abs(a - b) <= within, `${what}: ${a}, not ${b} within ${within}`);
const said = async (o, id) => Number(await o.page.locator(`#${id}`).getAttribute('value'));
/// Another view of the page, once the readout is of this row and key.
const go = async (o, hash, row, key) => {
  await o.page.evaluate((h) => (location.hash = h), hash);
  await o.page.waitForFunction(
    ([r, k]) => new RegExp(`^${r} .*\u2192 ${k} .*[%\\d]`).test(document.querySelector('#readout')?.textContent),
    [row, key],
  );
};
const spoken = (o, pattern) =>
  o.page.waitForFunction(
    ([source]) => new RegExp(source).test(document.querySelector('#live-cell').textContent),
    [pattern.source],
  );
/// Parts of what each key receives, [row][key], by the engine's weights.
function parts(name, head) {
  const { weights } = JSON.parse(call('tile', at(name), head, `0:${n}`, `0:${n}`, '--json'));
  const received = weights[0].map((_, j) => weights.reduce((sum, row) => sum + row[j], 0));
  return weights.map((row) => row.map((w, j) => (received[j] ? w / received[j] : 0)));
}

test('of a file that was cut short it is said which run is not shown, and the other is not named after both', async () => {
  const html = readFileSync(at('two.html'), 'utf8');
  const cut = html.indexOf('data-section="against/pool/7.1"');
  assert.ok(cut > 0);
  writeFileSync(at('cut.html'), html.slice(0, cut - 1));
  for (const runs of ['difference', 'side']) {
    const o = await open(at('cut.html'), { hash: `#head=7.1&row=12&runs=${runs}` });
    await settled(o.page);
    await o.page.waitForSelector('.failure');
    await soon(async () => assert.match(await o.page.locator('.failure').textContent(), /^Not shown: B \(.*"pool\/7\.1".*cut short/));
    assert.match((await save(o, 'the map as SVG')).name, /-7-1-a\.svg$/);
    await finish(o);
  }
});

test('by what keys receive, the readout of two runs is of that', async () => {
  const [a, b] = [parts('plain', '7.1'), parts('muted', '7.1')];
  const hash = (key) => `#head=7.1&row=12&key=${key}&norm=key&at=6,8,18`;
  const o = await open(at('two.html'), { hash: hash(6) });
  await settled(o.page);
  for (const key of [3, 6, 12]) {
    await go(o, hash(key), 12, key);
    near(await said(o, 'cell-weight'), a[12][key], 2e-3, `A, key ${key}`);
    near(await said(o, 'cell-other'), b[12][key], 2e-3, `B, key ${key}`);
    near(await said(o, 'cell-difference'), b[12][key] - a[12][key], 3e-3, `key ${key}`);
  }
  await soon(async () => assert.match(await o.page.locator('#readout').textContent(), /\(of what the key receives\)$/));
  // Side by side too.
  await o.page.locator('.runs input[value=side]').check();
  await o.page.waitForFunction(() => document.querySelectorAll('.map-over').length === 2);
  near(await said(o, 'cell-other'), b[12][12], 2e-3, 'B beside A');
  await finish(o);
});

test('by what keys receive, the difference of two runs is called so under the map, in its table and picture', async () => {
  const o = await open(at('two.html'), { hash: '#head=7.1&row=12&key=6&norm=key&at=6,8,18' });
  await settled(o.page);
  await o.page.waitForFunction(() => /^difference/.test(document.querySelector('.scale .what').textContent));
  const what = 'difference of parts of what the key receives';
  await soon(async () => assert.equal(await o.page.locator('.scale .what').textContent(), what));
  await soon(async () => assert.equal(await o.page.locator('.map-panel details table th').nth(2).textContent(), what));
  const picture = texts((await save(o, 'the map as SVG')).bytes.toString()).map((t) => t.said);
  assert.ok(picture.includes(`Layer 7, head 1: B \u2212 A: ${what}`), picture.join('\n'));
  await finish(o);
});

test('by what keys receive, the difference is spoken as that', async () => {
  const o = await open(at('two.html'), { hash: '#head=7.1&row=12&key=6&norm=key' });
  await settled(o.page);
  await spoken(o, /B \u2212 A .* % \(of what the key receives\); A [\d.]+ % of what the key receives; B /);
  await finish(o);
});

test('times what keys carry, the spoken difference is that of the map', async () => {
  const o = await open(at('two.html'), { hash: '#head=7.1&row=12&key=6&value=weighted' });
  await settled(o.page);
  await o.page.waitForSelector('#cell-difference');
  const shown = await o.page.locator('#cell-difference').textContent();
  await o.page.waitForFunction(
    (d) => document.querySelector('#live-cell').textContent.includes(`B \u2212 A ${d} (weight \u00D7 size carried); A weight`),
    shown,
  );
  await finish(o);
});

test('of a muted key no row has a part, and no number is none', async () => {
  const hash = '#head=7.1&row=12&key=3&norm=key&at=6,8,18';
  const o = await open(at('muted.html'), { hash });
  await settled(o.page);
  await go(o, hash, 12, 3);
  await soon(async () => assert.equal(await o.page.locator('#cell-weight').textContent(), '0 % of what the key receives'));
  const all = await o.page.locator('.map-panel details table td.number').allTextContents();
  assert.ok(all.length > 5 && all.every((v) => /%/.test(v)), all.join(' '));
  const [head, ...rows] = csv((await save(o, 'as CSV')).bytes.toString());
  assert.equal(head[3], 'part_of_received');
  assert.deepEqual([rows[3][3], rows[4][3]], ['0', '0']);
  await finish(o);
});

/// Two heads side by side, the first exact and the second pooled, by what keys receive.
async function mixed() {
  const data = dataOf(page('long.html'));
  assert.ok(data.exact.includes(data.model.heads + 1));
  const other = nameOf(data, data.means.findIndex((_, h) => !data.exact.includes(h)));
  const o = await open(page('long.html'), { hash: `#head=1.1&with=${other}&norm=key&row=640&pool=max` });
  await settled(o.page);
  await o.page.waitForSelector('#agreement');
  return { other, o };
}

test('a difference that is saved is of one measure', async () => {
  const { other, o } = await mixed();
  const [head, ...rows] = csv((await save(o, 'as CSV')).bytes.toString());
  const of = (id) => head.indexOf(id);
  assert.deepEqual(head.slice(2), [
    'weight_1.1',
    'part_of_received_1.1',
    `block_share_per_key_${other}`,
    `difference_1.1-${other}`,
  ]);
  for (const r of rows)
    near(r.at(-1), r[of('weight_1.1')] - r[of(`block_share_per_key_${other}`)], 1e-7, `key ${r[0]}`);
  const json = JSON.parse((await save(o, 'as JSON')).bytes);
  assert.match(json.numbers[`difference_1.1-${other}`], / of weight and block_share_per_key$/);
  await finish(o);
});

test('of two maps that are not of one thing each says its own, in tables and pictures', async () => {
  const { other, o } = await mixed();
  const [ours, theirs] = ['largest part of what a key receives', 'part of what the key receives'];
  const heads = await o.page.locator('.map-panel details table').evaluateAll((all) => all.map((t) => t.querySelectorAll('th')[2].textContent));
  assert.deepEqual(heads, [ours, theirs]);
  for (const scale of ['log', 'rank']) {
    await o.page.locator(`.toolbar input[value=${scale}]`).check();
    await settled(o.page);
    const picture = texts((await save(o, 'the map as SVG')).bytes.toString()).map((t) => t.said);
    const more = scale === 'rank' ? ', by rank among the cells in view' : '';
    for (const what of [`1.1: ${ours}${more}`, `${other}: ${theirs}${more}`])
      assert.ok(picture.includes(what), `${scale}: no "${what}" in\n${picture.join('\n')}`);
  }
  await finish(o);
});

test('a difference is never by rank, and its picture does not say so', async () => {
  const o = await open(at('two.html'), { hash: '#head=7.1&row=12&scale=rank' });
  await settled(o.page);
  await o.page.waitForSelector('#cell-difference');
  const picture = texts((await save(o, 'the map as SVG')).bytes.toString()).map((t) => t.said);
  assert.ok(picture.includes('Difference of shares of the row\u2019s weight'), picture.join('\n'));
  await finish(o);
});

/// A pooled head, its block's numbers as the page holds them.
function pooledHead() {
  const html = readFileSync(page('long.html'), 'utf8');
  const data = dataOf(page('long.html'));
  const h = data.means.findIndex((_, i) => !data.exact.includes(i));
  const name = nameOf(data, h);
  const codes = inflateSync(Buffer.from(html.match(new RegExp(`data-section="pool/${name}">([^<]*)<`))[1], 'base64'));
  const { block, blocks } = data.pool;
  const cells = (blocks * (blocks + 1)) / 2;
  const decode = (i) => (codes[i] ? 2 ** (-20 + ((codes[i] - 1) * 20) / 253) : 0);
  const rows = (r) => Math.min(block, data.run.tokens - r * block);
  const sum = (r, c) => decode((r * (r + 1)) / 2 + c) * rows(r);
  const part = (r, c) => {
    let all = 0;
    for (let i = c; i < blocks; ++i) all += sum(i, c);
    return sum(r, c) / all;
  };
  return { name, block, part, rest: (r) => decode(2 * cells + r) };
}
const readout = (o) => o.page.locator('#readout').textContent();

test('by what keys receive, the readout of a pooled head is of the block that the map draws', async () => {
  const { name, block, part } = pooledHead();
  const [r, c] = [20, 7];
  const o = await open(page('long.html'), { hash: `#head=${name}&row=${r * block + 1}&key=${c * block}&norm=key` });
  await settled(o.page);
  near((await said(o, 'cell-weight')) / part(r, c), 1, 1e-4, await readout(o));
  await soon(async () => assert.match(await readout(o), / % of what the keys receive$/));
  await spoken(o, /: [\d.< ]+ % of what the keys receive$/);
  // The cells of the table are those of the map: one of them, focused, reads the same.
  const row = o.page.locator('.map-panel details table tbody tr').first();
  const figure = await row.locator('td.number').textContent();
  await o.page.locator('.map-panel details summary', { hasText: 'table' }).click();
  await row.locator('button').click();
  await o.page.waitForFunction((f) => document.querySelector('#cell-weight').textContent.startsWith(`${f} of`), figure);
  await finish(o);
});

test('without the first token, the readout of its block is what the others of it get', async () => {
  const { name, block, rest } = pooledHead();
  const view = `#head=${name}&row=${20 * block + 1}`;
  const o = await open(page('long.html'), { hash: `${view}&key=0&first=hidden` });
  await settled(o.page);
  near((await said(o, 'cell-weight')) / rest(20), 1, 1e-4, await readout(o));
  await soon(async () => assert.match(await readout(o), / without the first token$/));
  await o.page.evaluate((v) => (location.hash = v), `${view}&key=0&pool=max`);
  await o.page.waitForFunction(() => /share .* %, at most .* % in one cell$/.test(document.querySelector('#readout').textContent));
  await finish(o);
});

/// The page of two runs as if B were of another model, which knows no recipes, with roles of its own.
function anothers() {
  const escaped = (data) =>
    JSON.stringify(data).replace(/[<>&\u0080-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
  const html = readFileSync(at('two.html'), 'utf8').replace(DATA, (_, open, json, close) => {
    const data = JSON.parse(json);
    data.recipe_roles = data.means.map(() => ({ name: 'made up', sure: true, evidence: 'of A' }));
    data.against.model = { ...data.against.model, file_type: 'another' };
    data.against.roles = data.against.roles.map((r) => ({ ...r, name: 'of B' }));
    return open + escaped(data) + close;
  });
  writeFileSync(at('anothers.html'), html);
  return at('anothers.html');
}

test('the heads like it are those of the run that is shown', async () => {
  const alike = (o) => o.page.locator('.alike').textContent();
  const alone = await open(at('muted.html'), { hash: '#head=7.1' });
  await alone.page.waitForSelector('.alike span button');
  const truth = await alike(alone);
  await finish(alone);
  const o = await open(at('two.html'), { hash: '#head=7.1&runs=first' });
  await o.page.waitForSelector('.alike span button');
  await soon(async () => assert.notEqual(await alike(o), truth, 'the two runs must differ, or this shows nothing'));
  await o.page.locator('.runs input[value=second]').check();
  await o.page.waitForFunction((t) => document.querySelector('.alike')?.textContent === t, truth);
  await finish(o);
});

test('to be compared with are heads with the roles of the run that is shown', async () => {
  const o = await open(anothers(), { hash: '#head=7.1&runs=second' });
  const options = await o.page.locator('#compare-with option').allTextContents();
  assert.ok(options.slice(1).every((t) => / of B$/.test(t)), options[1]);
  await finish(o);
});

test('what recipes say of A\u2019s model does not stand on another model', async () => {
  const o = await open(anothers(), { hash: '#head=7.1&runs=first' });
  await soon(async () => assert.match(await o.page.locator('.recipe-role').textContent(), /^Tested by recipes: made up of A/));
  await o.page.locator('.runs input[value=second]').check();
  await o.page.waitForFunction(() => !document.querySelector('.recipe-role'));
  await o.page.locator('.runs input[value=difference]').check();
  await soon(async () => assert.match(await o.page.locator('.recipe-role').textContent(), /^A Tested by recipes: made up/));
  await finish(o);
});

test('pairs of B\u2019s layers have B\u2019s roles', async () => {
  const layers = await open(anothers(), { hash: '#layers=7,7&runs=second' });
  await layers.page.waitForSelector('.pairs li');
  const roles = await layers.page.locator('.pairs li span').allTextContents();
  assert.ok(roles.length > 5 && roles.every((t) => t === 'of B, of B'), roles.join('; '));
  await finish(layers);
});
