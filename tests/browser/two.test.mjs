// Two runs in one page: the grid of differences, the map of a head's difference with each cell's two values, the row and
// the text coloured by what changed; and in live mode sliders that steer. What is shown is what the engine says of both.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { closeAll, open, settled } from './open.mjs';
import { csv, drawn, finish, inBox, save, texts } from './saving.mjs';
import { bin, model, serve, visit } from './serving.mjs';
import { soon, test } from './testing.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'bareattn-two-'));
const text = 'The cat sat on the mat because it was tired, and the dog that had come with it lay down beside the cat.';
const at = (name) => join(folder, name);
const weights = {}; // of head 7.1, [row][key]
let n = 0;

before(() => {
  const interventions = [
    { kind: 'temperature', heads: ['3.*'], value: 2.5 },
    { kind: 'knockout', heads: ['7.1'], keys: [[0, 2]], rows: [[8, -1]] },
  ];
  writeFileSync(at('s.json'), JSON.stringify({ format: 'bareattn-steering', version: 1, interventions }));
  const make = (name, ...more) =>
    execFileSync(bin, ['trace', '-m', model, '--text', text, '-o', at(name), '--title', name, ...more]);
  make('plain.safetensors');
  make('steered.safetensors', '--table', at('s.json'));
  execFileSync(bin, ['page', at('plain.safetensors'), '--against', at('steered.safetensors'), '-o', at('two.html')]);
  for (const name of ['plain', 'steered']) {
    const rows = [];
    for (const row of [12, 20]) {
      const out = execFileSync(bin, ['row', at(`${name}.safetensors`), '7.1', String(row), '--top', '1000', '--json']);
      rows[row] = new Map(JSON.parse(out).keys.map(({ key, weight }) => [key, weight]));
    }
    weights[name] = rows;
  }
  n = JSON.parse(readFileSync(at('two.html'), 'utf8').match(/id="page-data">(.*?)<\/script>/s)[1]).run.tokens;
});
after(async () => {
  await closeAll();
  rmSync(folder, { recursive: true });
});

const clean = async (o) => {
  assert.deepEqual(await o.page.evaluate(() => window.violations), []);
  assert.deepEqual(o.wrong, []);
  await o.close();
};
const change = (row, key) => (weights.steered[row].get(key) ?? 0) - (weights.plain[row].get(key) ?? 0);
const signed = (said) => {
  const [, sign, digits] = said.match(/(\u2212?)(?:< )?([\d.]+) %/);
  return (sign ? -1 : 1) * (Number(digits) / 100);
};
const noFindings = async (page, where) => {
  await page.evaluate(axe);
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  assert.deepEqual(
    found.violations.map((v) => `${where}: ${v.id}: ${v.nodes[0]?.html}`),
    [],
  );
};

test('the grid opens on the difference, and shows either run', async () => {
  const o = await open(at('two.html'), { bypassCSP: true });
  const label = () => o.page.locator('[data-head="7.1"]').getAttribute('aria-label');
  await soon(async () => assert.match(await label(), /Change between the runs 0\.\d+ nats/));
  await soon(async () => assert.match(await o.page.locator('[data-head="0.4"]').getAttribute('aria-label'), /Change between the runs 0\.00 nats/));
  await soon(async () => assert.match(await o.page.locator('#telling-title').textContent(), /changed most/));
  // A head that did not change has a thumbnail without colour, one that did has some: orange or purple.
  const colours = async (head) =>
    o.page.evaluate((name) => {
      const canvas = document.querySelector('.grid-canvas');
      const button = document.querySelector(`[data-head="${name}"]`).getBoundingClientRect();
      const box = canvas.getBoundingClientRect();
      const k = canvas.width / box.width;
      const { data } = canvas
        .getContext('2d')
        .getImageData((button.x - box.x) * k, (button.y - box.y) * k, button.width * k, button.height * k);
      let orange = 0;
      let purple = 0;
      // The lower left is the map.
      const size = Math.round(button.width * k);
      for (let y = 0; y < size; ++y) {
        for (let x = 0; x < y * 0.9; ++x) {
          const [r, g, b] = data.slice(4 * (y * size + x), 4 * (y * size + x) + 3);
          if (r > b + 60) ++orange;
          if (b > g + 20) ++purple;
        }
      }
      return { orange, purple };
    }, head);
  await o.page.waitForFunction(() => performance.getEntriesByName('bareattn-grid-painted').length > 0);
  await soon(async () => assert.deepEqual(await colours('0.4'), { orange: 0, purple: 0 }));
  const changed = await colours('7.1');
  o.wrong = o.wrong.filter((w) => !/Multiple readback/.test(w)); // of this test's own looking
  assert.ok(changed.orange + changed.purple > 5, JSON.stringify(changed));
  await noFindings(o.page, 'grid of differences');
  // Of a measure its change; of one run the measure itself.
  await o.page.getByLabel('Colour by').selectOption({ label: 'Entropy' });
  await soon(async () => assert.match(await label(), /change of Entropy/));
  await o.page.locator('.runs input[value=second]').check();
  await o.page.waitForFunction(() => !/change of/.test(document.querySelector('[data-head="7.1"]').ariaLabel));
  await o.page.waitForFunction(() => /runs=second/.test(location.hash)); // a link holds it
  await clean(o);
});

test('a page made value-weighted opens so, and a link to the plain weights holds them', async () => {
  execFileSync(bin, ['page', at('plain.safetensors'), '--value-weighted', '-o', at('valued.html')]);
  const server = await serve(at('plain.safetensors'), '--value-weighted');
  const shown = [await open(at('valued.html'), { hash: '#head=7.1', bypassCSP: true }), await visit(server, { hash: 'head=7.1' })];
  for (const o of shown) {
    const plain = o.page.getByRole('radio', { name: 'Row', exact: true });
    await o.page.getByRole('radio', { name: '\u00D7 value' }).waitFor();
    await soon(async () => assert.ok(await o.page.getByRole('radio', { name: '\u00D7 value' }).isChecked()));
    await soon(async () => assert.ok(!/value=/.test(await o.page.evaluate(() => location.hash)), 'what it opens with is not in the link'));
    await plain.check();
    await o.page.waitForFunction(() => /value=raw/.test(location.hash));
    const checked = (value) => o.page.waitForFunction((v) => document.querySelector(`input[value=${v}]`).checked, value);
    await o.page.evaluate(() => (location.hash = '#head=7.1'));
    await checked('carried');
    await o.page.evaluate(() => (location.hash = '#head=7.1&value=raw'));
    await checked('row');
    await (o.clean ? o.clean() : clean(o)); // of a server it brings its own
  }
});

test('weights times what keys carry are subtracted in one measure', async () => {
  const carried = (name) => {
    const out = execFileSync(bin, ['tile', at(name), '7.1', '12', '0:13', '--value-weighted', '--json']);
    return JSON.parse(out).weights[0];
  };
  const [plain, steered] = [carried('plain.safetensors'), carried('steered.safetensors')];
  const o = await open(at('two.html'), { hash: '#head=7.1&row=12&key=0&at=6,8,18&value=weighted', bypassCSP: true });
  await settled(o.page);
  await soon(async () => assert.ok(await o.page.getByRole('radio', { name: '\u00D7 value' }).isChecked()));
  const said = async (id) => Number(await o.page.locator(`#${id}`).getAttribute('value'));
  for (const key of [0, 8, 12]) {
    await o.page.evaluate((k) => (location.hash = `#head=7.1&row=12&key=${k}&at=6,8,18&value=weighted`), key);
    await o.page.waitForFunction((k) => document.querySelector('#readout').textContent.includes(`\u2192 ${k} `), key);
    const near = (a, b) => assert.ok(Math.abs(a - b) < 2e-3 * Math.max(...plain), `key ${key}: ${a}, not ${b}`);
    near(await said('cell-weight'), plain[key]);
    near(await said('cell-other'), steered[key]);
    near(await said('cell-difference'), steered[key] - plain[key]);
  }
  // The cells of the map are parts of the largest size of the two heads, whichever has it.
  const rows = await o.page
    .locator('.map-panel details table tbody tr')
    .evaluateAll((all) => all.map((tr) => [...tr.children].map((c) => c.textContent)));
  const of = [];
  for (const [row, key, value] of rows) {
    const [i, j] = [row, key].map((t) => Number(t.match(/^[\d,]+/)[0]));
    if (i === 12 && Math.abs(signed(value)) > 5e-3) of.push((steered[j] - plain[j]) / signed(value));
  }
  assert.ok(of.length >= 2, `${of.length} cells of the row changed`);
  for (const top of of) assert.ok(Math.abs(top / of[0] - 1) < 0.05, `one measure: ${of}`);
  await soon(async () => assert.match(await o.page.locator('.map-panel').textContent(), /difference of weight \u00D7 size carried, of the largest/));
  await noFindings(o.page, 'difference of what is carried');
  await clean(o);
});

test('each cell of the difference is B less A, as the engine has them', async () => {
  const o = await open(at('two.html'), { hash: '#head=7.1&row=12&key=0&at=6,8,18', bypassCSP: true });
  await settled(o.page);
  await soon(async () => assert.match(await o.page.locator('.map-caption').textContent(), /^B \u2212 A$/));
  await soon(async () => assert.match(await o.page.locator('.learner').first().textContent(), /Orange: B gives more/));
  // What is of one run alone says of which.
  const roles = await o.page.locator('.head-name p').allTextContents();
  assert.deepEqual(roles.slice(0, 2).map((t) => t.slice(0, 2)), ['A ', 'B ']);
  await o.page.waitForSelector('#row-title-other');
  await soon(async () => assert.deepEqual(await o.page.locator('.row-panel .who').allTextContents(), ['A ', 'B ']));
  const cells = await o.page
    .locator('.map-panel details table tbody tr')
    .evaluateAll((all) => all.map((tr) => [...tr.children].map((c) => c.textContent)));
  let compared = 0;
  for (const [row, key, value] of cells) {
    const [i, j] = [row, key].map((t) => Number(t.match(/^[\d,]+/)[0]));
    if (i !== 12) continue;
    assert.ok(Math.abs(signed(value) - change(12, j)) < 2e-3, `cell ${i},${j}: ${value}, not ${change(12, j)}`);
    ++compared;
  }
  assert.ok(compared >= 3, `${compared} cells of the row are in the table`);
  for (const key of [0, 12]) {
    await o.page.evaluate((k) => (location.hash = `#head=7.1&row=12&key=${k}&at=6,8,18`), key);
    await o.page.waitForFunction((k) => document.querySelector('#readout').textContent.includes(`\u2192 ${k} `), key);
    const said = async (id) => Number(await o.page.locator(`#${id}`).getAttribute('value'));
    await soon(async () => assert.ok(Math.abs((await said('cell-weight')) - weights.plain[12].get(key)) < 2e-3));
    await soon(async () => assert.ok(Math.abs((await said('cell-other')) - (weights.steered[12].get(key) ?? 0)) < 2e-3));
    await soon(async () => assert.ok(Math.abs((await said('cell-difference')) - change(12, key)) < 2e-3));
  }
  // The cut key: nothing of it is left, exactly.
  await o.page.evaluate(() => (location.hash = '#head=7.1&row=12&key=1&at=6,8,18'));
  await o.page.waitForFunction(() => document.querySelector('#cell-other')?.getAttribute('value') === '0');
  // The table of the row, and the text: more is orange, less is purple.
  const rows = await o.page
    .locator('.compare-panel tbody tr')
    .evaluateAll((trs) => trs.map((tr) => [...tr.children].map((c) => c.textContent)));
  for (const [key, a, b, d] of rows) {
    const j = Number(key.match(/^\d+/)[0]);
    assert.ok(Math.abs(signed(b) - signed(a) - signed(d)) < 2e-3 && Math.abs(signed(d) - change(12, j)) < 2e-3, key);
  }
  const ground = (i) => o.page.locator(`.text span[data-i="${i}"]`).evaluate((s) => s.style.backgroundColor);
  const most = [...weights.steered[12].keys()].reduce((x, y) => (change(12, y) > change(12, x) ? y : x));
  const [r, , b] = (await ground(most)).match(/\d+/g).map(Number);
  await soon(async () => assert.ok(r > b + 30, `token ${most} gets more and is ${await ground(most)}`));
  await noFindings(o.page, 'difference of runs');
  await clean(o);
});

test('what is saved of two runs names them, and holds what changed', async () => {
  const o = await open(at('two.html'), { hash: '#head=7.1&row=12' });
  await settled(o.page);
  await o.page.waitForSelector('#cell-difference');
  const file = await save(o, 'as CSV');
  assert.match(file.name, /-7-1-b-minus-a-row-12\.csv$/);
  const [head, ...rows] = csv(file.bytes.toString());
  assert.deepEqual(head, ['key', 'token', 'weight_A', 'weight_B', 'difference_B-A']);
  for (const [key, , , , d] of rows) assert.ok(Math.abs(d - change(12, Number(key))) < 2e-3, `key ${key}: ${d}`);
  const said = texts((await save(o, 'the map as SVG')).bytes.toString()).map((t) => t.said);
  assert.equal(said[0], 'A: plain.safetensors. B: steered.safetensors');
  assert.ok(said.some((t) => /^Layer 7, head 1: B \u2212 A: difference of shares/.test(t)));
  await finish(o);

  const grid = await open(at('two.html'));
  const svg = await save(grid, 'the grid as SVG');
  assert.match(svg.name, /-heads-b-minus-a\.svg$/);
  await drawn(grid.page, svg.bytes, 'image/svg+xml');
  const words = texts(svg.bytes.toString());
  const [zero, one] = words.filter((t) => /^[01]$/.test(t.said)); // the names of the first two heads of a layer
  const step = one.y - zero.y;
  const top = Math.min(...[...svg.bytes.toString().matchAll(/translate\(24 ([\d.]+)\)/g)].map((m) => Number(m[1])));
  const tile = ([l, h]) => [50 + l * step, top + h * step, 50 + (l + 1) * step - 3, top + (h + 1) * step - 3, true];
  const [same, changed] = [await inBox(grid.page, tile([0, 4])), await inBox(grid.page, tile([7, 1]))];
  assert.equal(same.orange + same.purple, 0);
  assert.ok(changed.orange + changed.purple > 5, JSON.stringify(changed));
  const heads = csv((await save(grid, 'all heads as CSV')).bytes.toString());
  const column = (name) => heads[0].indexOf(name);
  assert.ok(column('entropy_A') > 0 && column('changed_nats') > 0);
  for (const r of heads.slice(1))
    assert.ok(Math.abs(r[column('entropy_B')] - r[column('entropy_A')] - r[column('entropy_B-A')]) < 1e-9);
  await finish(grid);
});

test('A and B side by side move together, by keyboard alone', async () => {
  const o = await open(at('two.html'), { hash: '#head=7.1&row=12' });
  await settled(o.page);
  await o.page.locator('.runs input[value=difference]').focus();
  await o.page.keyboard.press('ArrowLeft'); // side by side
  await o.page.waitForFunction(() => document.querySelectorAll('.map-over').length === 2);
  await soon(async () => assert.deepEqual(await o.page.locator('.map-caption').allTextContents(), ['A', 'B']));
  await o.page.locator('.map-over').nth(1).focus();
  await o.page.keyboard.press('Enter');
  await o.page.waitForFunction(() => /at=/.test(location.hash) && /runs=side/.test(location.hash));
  await o.page.locator('.runs input[value=first]').check();
  await o.page.waitForFunction(() => document.querySelectorAll('.map-over').length === 1);
  await soon(async () => assert.equal(await o.page.locator('.compare-panel').count(), 0));
  await soon(async () => assert.ok(await o.page.getByLabel('Compare with').isVisible())); // other heads, of the run that is shown
  await clean(o);
});

test('exact cells of a steered run are recomputed as it was steered', async () => {
  const o = await open(at('two.html'), { hash: '#head=7.1&row=20&runs=second' });
  await settled(o.page);
  await soon(async () => assert.match(await o.page.locator('#map-how').textContent(), /exact, recomputed/));
  const shown = await o.page
    .locator('.keys li')
    .evaluateAll((all) => all.map((li) => [li.querySelector('.at').textContent, li.querySelector('data').value]));
  for (const [key, w] of shown) {
    const truth = weights.steered[20].get(Number(key));
    assert.ok(Math.abs(w - truth) < 4e-3 * truth + 1e-6, `${key}: ${w}, not ${truth}`);
  }
  await clean(o);
});

test('on a phone the two runs fit, in the dark', async () => {
  const o = await open(at('two.html'), { hash: '#head=7.1&row=12', width: 390, height: 800, colorScheme: 'dark' });
  await settled(o.page);
  const wide = await o.page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 390, `${wide} pixels wide`);
  await clean(o);
});

test('served, the two runs are what the file shows', async () => {
  const server = await serve(at('plain.safetensors'), '--against', at('steered.safetensors'), '-m', model);
  const o = await visit(server, { hash: 'head=7.1&row=12&key=0&at=6,8,18' });
  await settled(o.page);
  await soon(async () => assert.ok(await o.page.getByText('Run another text').count(), 'no text can be typed'));
  await soon(async () => assert.equal(await o.page.locator('.steer').count(), 0, 'B is the run that was given'));
  await o.page.waitForSelector('#cell-difference');
  await soon(async () => assert.match(await o.page.locator('#map-how').textContent(), /exact, computed by the server/));
  await soon(async () => assert.ok(Math.abs(Number(await o.page.locator('#cell-difference').getAttribute('value')) - change(12, 0)) < 2e-3));
  await o.clean();
});

test('sliders steer a live run, and what changed is shown', async () => {
  const server = await serve('-m', model, '--text', text);
  const o = await visit(server, { hash: 'head=7.1&row=12&key=1', bypassCSP: true });
  await settled(o.page);
  await o.page.getByText('Steer: change the weighting').click();
  await noFindings(o.page, 'steering');
  await o.page.getByLabel('Span', { exact: true }).fill('The cat');
  await o.page.getByText('tokens 0\u20131').waitFor();
  await o.page.getByRole('radio', { name: 'Head 7.1' }).check();
  // To the left end: muted. Moving a slider is enough.
  await o.page.getByLabel('Weights on the span').focus();
  await o.page.keyboard.press('Home');
  await o.page.waitForSelector('#cell-other');
  await soon(async () => assert.equal(await o.page.locator('.steer output[for=steer-factor]').textContent(), 'muted'));
  await o.page.waitForFunction(() => document.querySelector('#cell-other')?.getAttribute('value') === '0');
  await soon(async () => assert.ok(Number(await o.page.locator('#cell-weight').getAttribute('value')) > 0));
  await soon(async () => assert.match(await o.page.locator('.map-caption').textContent(), /B \u2212 A/));
  await noFindings(o.page, 'steered');
  // Once more, hotter: B is another run by now.
  const before = (await server.status()).against;
  await o.page.getByLabel('Temperature').focus();
  for (let i = 0; i < 4; ++i) await o.page.keyboard.press('ArrowRight');
  await o.page.getByText('Steered: 2 changes.').waitFor();
  await soon(async () => assert.notEqual((await server.status()).against, before));
  const [download] = await Promise.all([
    o.page.waitForEvent('download'),
    o.page.getByRole('button', { name: 'Save as a steering file' }).click(),
  ]);
  const saved = JSON.parse(readFileSync(await download.path(), 'utf8'));
  assert.deepEqual(
    saved.interventions.map(({ kind, heads }) => [kind, heads]),
    [
      ['temperature', ['7.1']],
      ['knockout', ['7.1']],
    ],
  );
  await o.page.getByRole('button', { name: 'As it was' }).click();
  await o.page.waitForFunction(() => !document.querySelector('.runs') && !document.querySelector('#cell-other'));
  await o.clean();
});

test('the span is the key that is in focus, or asked for; never a token that nobody chose', async () => {
  const out = execFileSync(bin, ['row', at('plain.safetensors'), '16.0', '12', '--top', '1', '--json']);
  const { key } = JSON.parse(out).keys[0];
  assert.notEqual(key, 0, 'the strongest key must not be the first, or this shows nothing');
  const server = await serve('-m', model, '--text', text);
  const o = await visit(server);
  await o.page.getByText('Steer: change the weighting').click();
  const span = o.page.locator('output[for=steer-words]');
  const slider = o.page.getByLabel('Weights on the span');
  await soon(async () => assert.equal(await span.textContent(), 'type words, or open a head'));
  await soon(async () => assert.ok(await slider.isDisabled()));
  await o.page.getByLabel('Span', { exact: true }).fill('The cat');
  await soon(async () => assert.ok(await slider.isEnabled()));
  await o.page.getByLabel('Span', { exact: true }).fill('');
  // In a head, with no key chosen: the strongest of the row, which is the one that the page shows.
  await o.page.evaluate(() => (location.hash = '#head=16.0&row=12'));
  await settled(o.page);
  await o.page.waitForFunction((k) => document.querySelector('#readout').textContent.includes(`\u2192 ${k} `), key);
  await soon(async () => assert.equal(await span.textContent(), `token ${key}`));
  await slider.focus();
  await o.page.keyboard.press('Home');
  await o.page.waitForFunction(() => document.querySelector('#cell-other')?.getAttribute('value') === '0');
  // The focus goes elsewhere; what was muted stays what is said and saved.
  await o.page.evaluate(() => (location.hash = '#head=16.0&row=12&key=3'));
  await o.page.waitForFunction(() => document.querySelector('#readout').textContent.includes('\u2192 3 '));
  await soon(async () => assert.equal(await span.textContent(), `token ${key}`));
  const [download] = await Promise.all([
    o.page.waitForEvent('download'),
    o.page.getByRole('button', { name: 'Save as a steering file' }).click(),
  ]);
  const saved = JSON.parse(readFileSync(await download.path(), 'utf8'));
  assert.deepEqual(saved.interventions, [{ kind: 'knockout', heads: ['*'], keys: [[key, key + 1]] }]);
  await o.page.getByRole('button', { name: 'As it was' }).click();
  await o.page.waitForFunction(() => document.querySelector('output[for=steer-words]').textContent === 'token 3');
  await o.clean();
});

test('what was steered goes with the page', async () => {
  const server = await serve('-m', model, '--text', text);
  const o = await visit(server);
  await o.page.getByText('Steer: change the weighting').click();
  await o.page.getByLabel('Temperature').focus();
  await o.page.keyboard.press('End');
  await o.page.waitForSelector('.runs');
  await soon(async () => assert.match(await o.page.locator('[data-head="7.1"]').getAttribute('aria-label'), /change of|Change between/));
  await soon(async () => assert.notEqual((await server.status()).against, null));
  await o.page.goto('about:blank');
  await soon(async () => assert.equal((await server.status()).against, null));
  await o.page.context().close();
});
