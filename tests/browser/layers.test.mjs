// Two layers beside each other: the numbers are those of `bareattn agree` and of the engine's own weights, pooled maps
// are said to be bounds and are, the engine's figures come first where the page has them; keys reach every pair, and a
// pair opens as two maps.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { closeAll, open, page, settled } from './open.mjs';
import { csv, finish, save, texts } from './saving.mjs';
import { bin, model, serve, visit } from './serving.mjs';
import { soon, test } from './testing.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'bareattn-layers-'));
const text =
  'The cat sat on the mat because it was tired, and the dog that had come with it lay down beside the cat. ' +
  'The cat sat on the mat because it was tired, and then the dog sat down.';
const at = (name) => join(folder, name);
const call = (...args) => execFileSync(bin, args, { maxBuffer: 1 << 28 });
let agreed; // of layer 7, "0,1" -> js, output_cosine
before(() => {
  call('trace', '-m', model, '--text', text, '-o', at('plain.safetensors'));
  call('trace', '-m', model, '--text', text, '-o', at('all.safetensors'), '--measures', 'all');
  call('page', at('plain.safetensors'), '-o', at('plain.html'));
  call('page', at('all.safetensors'), '-o', at('all.html'));
  call('look', '-m', model, '--text', text, '--exact', 'none', '-o', at('pooled.html'));
  const { pairs } = JSON.parse(call('agree', at('all.safetensors'), '--json')).agreement;
  const head = (name) => name.split('.')[1];
  agreed = new Map(pairs.filter((p) => p.a.startsWith('7.')).map((p) => [`${head(p.a)},${head(p.b)}`, p]));
  assert.equal(agreed.size, 36);
});
after(async () => {
  await closeAll();
  rmSync(folder, { recursive: true });
});

const there = (o) => o.page.waitForSelector('.likeness button');
/// Every pair that the matrix says, "0,1" -> the number.
async function matrix(o) {
  await there(o);
  const cells = await o.page
    .locator('.likeness td button')
    .evaluateAll((all) => all.map((b) => [b.dataset.at, b.getAttribute('aria-label')]));
  return new Map(
    cells.map(([place, said]) => {
      const [, sign, digits, part] = said.match(/: (?:cosine )?(\u2212?)([\d.]+)( %)?/);
      return [place, ((sign ? -1 : 1) * Number(digits)) / (part ? 100 : 1)];
    }),
  );
}
/// What is said has two digits or three.
const near = (said, want, slack = 0) =>
  Math.abs(said - want) <= slack + (Math.abs(want) < 0.099 ? 0.00051 : 0.0051) ? '' : `${said}, not ${want}`;
const how = (o) => o.page.locator('#likeness-how').textContent();
const visitFile = (name, hash, options) => open(at(name), { hash, ...options });

test('within a layer: the divergence that agree finds, made here from every weight', async () => {
  const o = await visitFile('plain.html', '#layers=7,7&like=js');
  const found = await matrix(o);
  assert.equal(found.size, 72); // each pair twice, no head with itself
  for (const [place, { js }] of agreed) {
    assert.equal(near(found.get(place), js, 1e-3), '', place);
    assert.equal(found.get(place), found.get(place.split(',').reverse().join()));
  }
  await soon(async () => assert.match(await how(o), /^Exact: made here from every weight/));
  await soon(async () => assert.ok(await o.page.getByRole('radio', { name: 'Outputs' }).isDisabled()));
  await finish(o);
});

test('the engine\u2019s own figures where the page has them, what the heads write too', async () => {
  const o = await visitFile('all.html', '#layers=7,7&like=outputs');
  for (const [place, v] of await matrix(o)) {
    const { output_cosine } = agreed.get(place.split(',').sort().join());
    assert.equal(near(v, output_cosine), '', place);
  }
  await soon(async () => assert.match(await how(o), /^Exact, by the engine: of all rows/));
  await o.page.getByRole('radio', { name: 'Divergence' }).check();
  await soon(async () => assert.match(await how(o), /^Exact, by the engine: every weight of \d+ rows/));
  for (const [place, v] of await matrix(o)) {
    const { js } = agreed.get(place.split(',').sort().join());
    assert.equal(near(v, js), '', place);
  }
  // The least alike are listed by what they write: the contrary ones first.
  await o.page.getByRole('radio', { name: 'Outputs' }).check();
  const least = Math.min(...[...agreed.values()].map((p) => p.output_cosine));
  await soon(async () => {
    const listed = await o.page.locator('.pairs').nth(1).locator('li b').first().textContent();
    assert.equal(near(Number(listed.match(/[\d.]+$/)[0]), Math.abs(least)), '', listed);
  });
  await finish(o);
  // Made up for the page, so that nothing but the page's section can be the source.
  const made = await open(page('hostile.html'), { hash: '#layers=2,2&like=js' });
  const found = await matrix(made);
  assert.equal(found.get('0,2'), 0.22);
  assert.equal(found.get('2,1'), 0.21);
  await finish(made);
});

test('by keyboard from the grid into two layers, and by Escape back', async () => {
  const o = await visitFile('plain.html');
  await o.page.getByRole('button', { name: 'Compare layers' }).focus();
  await o.page.keyboard.press('Enter');
  await there(o);
  await soon(async () => assert.ok(await o.page.evaluate(() => document.activeElement.matches('.layers')), 'the focus is in the view'));
  await o.page.keyboard.press('Escape');
  await o.page.waitForSelector('[role=grid][aria-label^="All heads"]');
  await finish(o);
});

test('of two layers: what both have in common, of all and without the first token', async () => {
  const weights = (head) =>
    JSON.parse(call('tile', at('plain.safetensors'), head, `0:${n}`, `0:${n}`, '--json')).weights.slice(1);
  const n = JSON.parse(call('agree', at('plain.safetensors'), '--json')).tokens;
  const pairs = [
    [0, 3],
    [8, 1],
    [4, 4],
  ].map(([a, b]) => [`${a},${b}`, weights(`5.${a}`), weights(`12.${b}`)]);
  for (const hidden of [false, true]) {
    const o = await visitFile('plain.html', `#layers=5,12${hidden ? '&first=hidden' : ''}`);
    const found = await matrix(o);
    assert.equal(found.size, 81);
    for (const [place, p, q] of pairs) {
      let [lesser, all] = [0, 0];
      p.forEach((row, i) =>
        row.forEach((w, j) => {
          if (hidden && j === 0) return;
          lesser += Math.min(w, q[i][j]);
          all += w + q[i][j];
        }),
      );
      const want = (2 * lesser) / all;
      assert.equal(near(found.get(place), want, 1e-3), '', place);
    }
    await soon(async () => assert.equal(/does not go to the first token/.test(await how(o)), hidden));
    await finish(o);
  }
});

test('pooled maps give bounds, and say so', async () => {
  const exact = await visitFile('plain.html', '#layers=5,12');
  const pooled = await visitFile('pooled.html', '#layers=5,12');
  const [a, b] = [await matrix(exact), await matrix(pooled)];
  await soon(async () => assert.match(await how(pooled), /^From pooled maps, 2 \u00D7 2 tokens a block: at most this much/));
  // A block's share is known to within 2.78 %, and the first row counts here.
  for (const [place, v] of b) assert.ok(v >= a.get(place) - 0.04, `${place}: ${v}, less than ${a.get(place)}`);
  for (const o of [exact, pooled]) await o.page.getByRole('radio', { name: 'Divergence' }).check();
  await pooled.page.waitForFunction(() => /at least/.test(document.querySelector('#likeness-how').textContent));
  await soon(async () => {
    const [x, y] = [await matrix(exact), await matrix(pooled)];
    for (const [place, v] of y) assert.ok(v <= x.get(place) + 0.015, `${place}: ${v}, more than ${x.get(place)}`);
  });
  await finish(exact);
  await finish(pooled);
});

test('from the grid and back by keys alone; a pair opens as two maps', async () => {
  const o = await visitFile('plain.html', '');
  await o.page.getByRole('button', { name: 'Compare layers' }).focus();
  await o.page.keyboard.press('Enter');
  await there(o);
  await o.page.getByLabel('Layer', { exact: true }).selectOption('7');
  await o.page.getByLabel('with layer').selectOption('7');
  await o.page.waitForFunction(() => /layers=7%2C7|layers=7,7/.test(location.hash));
  const focused = () => o.page.evaluate(() => document.activeElement.getAttribute('aria-label'));
  await o.page.locator('.likeness button[tabindex="0"]').focus();
  await soon(async () => assert.match(await focused(), /^7\.0 and 7\.1: [\d.]+ % in common$/));
  await o.page.keyboard.press('ArrowDown'); // over the head with itself
  await soon(async () => assert.match(await focused(), /^7\.2 and 7\.1: /));
  await o.page.keyboard.press('ArrowRight');
  await soon(async () => assert.match(await focused(), /^7\.2 and 7\.3: /));
  await soon(async () => assert.match(await o.page.locator('.pair-shown p').textContent(), /^7\.2 and 7\.3: /));
  await soon(async () => assert.equal(await o.page.locator('.likeness button[tabindex="0"]').count(), 1));
  await o.page.keyboard.press('Enter');
  await settled(o.page);
  await soon(async () => assert.match(await o.page.evaluate(() => location.hash), /head=7\.2&.*with=7\.3/));
  await soon(async () => assert.equal(await o.page.locator('.map-over').count(), 2));
  await o.page.goBack();
  await there(o);
  await o.page.locator('.likeness button').first().focus();
  await o.page.keyboard.press('Escape');
  await o.page.waitForSelector('[role=gridcell]');
  await soon(async () => assert.ok(!/layers/.test(await o.page.evaluate(() => location.hash))));
  await finish(o);
});

test('an address that fits no layer is the grid; the head\u2019s page leads here', async () => {
  for (const hash of ['#layers=30,1', '#layers=1', '#layers=a,b', '#layers=1.5,2', '#layers=-1,2']) {
    const o = await visitFile('plain.html', hash);
    await soon(async () => assert.ok(await o.page.getByRole('heading', { name: 'All 270 heads' }).isVisible(), hash));
    await finish(o);
  }
  const o = await visitFile('plain.html', '#head=7.1');
  await o.page.getByRole('button', { name: 'all of them' }).click();
  await there(o);
  await soon(async () => assert.match(await o.page.locator('h2').first().textContent(), /layer 7/));
  await finish(o);
});

test('nothing to object to in both themes, and it fits a phone', async () => {
  for (const options of [{ colorScheme: 'light' }, { colorScheme: 'dark', width: 390, height: 844 }]) {
    for (const hash of ['#layers=7,7&like=outputs', '#layers=5,12']) {
      const o = await visitFile('all.html', hash, { ...options, bypassCSP: true });
      await there(o);
      const wide = await o.page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= (options.width ?? 1400), `${wide} pixels wide`);
      await o.page.evaluate(axe);
      const found = await o.page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
      assert.deepEqual(
        found.violations.map((v) => `${hash}: ${v.id}: ${v.nodes[0]?.html}`),
        [],
      );
      await finish(o);
    }
  }
});

test('what is saved says which layers, what the numbers are, and how sure', async () => {
  const o = await visitFile('all.html', '#layers=7,7&like=js');
  await there(o);
  const svg = await save(o, 'the matrix as SVG');
  assert.match(svg.name, /-layers-7-7\.svg$/);
  const said = texts(svg.bytes.toString()).map((t) => t.said);
  assert.ok(said.includes('The heads of layer 7: Jensen-Shannon divergence, nats'), said.join('\n'));
  assert.equal(said.filter((t) => /^7\.\d$/.test(t)).length, 18);
  assert.equal(svg.bytes.toString().match(/shape-rendering="crispEdges"/g).length, 18);
  const [head, ...rows] = csv((await save(o, 'the likenesses as CSV')).bytes.toString());
  assert.deepEqual(head, ['head_a', 'head_b', 'role_a', 'role_b', 'in_common', 'js_nats', 'output_cosine']);
  assert.equal(rows.length, 36);
  for (const [a, b, , , , js, cosine] of rows) {
    const truth = agreed.get(`${a.slice(-1)},${b.slice(-1)}`);
    assert.ok(Math.abs(js - truth.js) < 1e-6 && Math.abs(cosine - truth.output_cosine) < 1e-6, `${a} and ${b}`);
  }
  const json = JSON.parse((await save(o, 'the likenesses as JSON')).bytes);
  assert.deepEqual([json.kind, json.layers, json.exact, json.pairs.length], ['bareattn.layers', [7, 7], true, 36]);
  await finish(o);
  const pooled = await visitFile('pooled.html', '#layers=5,12');
  await there(pooled);
  const [names] = csv((await save(pooled, 'the likenesses as CSV')).bytes.toString());
  assert.deepEqual(names.slice(4), ['in_common_at_most', 'js_nats_at_least']);
  await finish(pooled);
});

test('served, the engine compares when asked', async () => {
  const server = await serve(at('plain.safetensors'));
  const o = await visit(server, { hash: 'head=7.1' });
  await settled(o.page);
  await o.page.getByRole('button', { name: 'all of them' }).click();
  await there(o);
  await o.page.getByRole('radio', { name: 'Divergence' }).check();
  await soon(async () => assert.match(await how(o), /^Exact, by the engine/));
  for (const [place, v] of await matrix(o)) {
    const { js } = agreed.get(place.split(',').sort().join());
    assert.equal(near(v, js), '', place);
  }
  await o.clean();
});
