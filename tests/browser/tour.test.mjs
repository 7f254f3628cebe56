// The tour teaches with the model's own numbers: its weights are the engine's in every row, what it works out adds up, its
// knobs keep the whole field until it is masked, and it can be walked by keyboard, without motion, by screen reader and on
// a phone. It is wherever a model is at hand: tour_places.test.mjs.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { closeAll, expected, open, page } from './open.mjs';
import { bin, model } from './serving.mjs';
import { soon, test } from './testing.mjs';

after(closeAll);
const skip = expected().real ? false : 'NO PAGE OF A REAL MODEL: ./x model fetches it';
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const lessonOf = (p) => p.evaluate(() => JSON.parse(document.getElementById('page-data').textContent).lesson);
const clean = async (o) => {
  assert.deepEqual(await o.page.evaluate(() => window.violations), []);
  assert.deepEqual(o.wrong, []);
  await o.close();
};

const valuesOf = (p, column) => p.locator(`.stage tbody .${column} data`).evaluateAll((all) => all.map((d) => Number(d.value)));
const textsOf = (p, column) => p.locator(`.stage tbody .${column} data`).allTextContents();
const sum = (xs) => xs.reduce((a, b) => a + b, 0);
/// Half a unit of the last digit that a text shows: what a number shown as it may be off by.
const number = (text) => Number(text.replace('\u2212', '-').replace(/[^-\d.]/g, ''));
const halfDigit = (text) => 0.5 * 10 ** -(text.match(/\.(\d+)/)?.[1].length ?? 0) * (1 + 1e-6);
const shows = (text, value) =>
  assert.ok(Math.abs(number(text) - value) <= halfDigit(text), `${text} is shown for ${value}`);

/// The sentence's weights by the command: a trace that keeps Q and K as f32, and a tile of it.
function engineWeights(lesson) {
  const folder = mkdtempSync(join(tmpdir(), 'bareattn-tour-'));
  try {
    const run = join(folder, 'run.safetensors');
    const text = 'The cat sat on the mat because it was tired.';
    execFileSync(bin, ['trace', '-m', model, '--text', text, '--store', 'f32', '-o', run]);
    const csv = execFileSync(bin, ['tile', run, `${lesson.layer}.${lesson.head}`, ':', ':', '--csv']);
    return String(csv).trim().split('\n').map((line) => line.split(',').map(Number));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('the tour\u2019s weights are the engine\u2019s, row by row', { skip }, async () => {
  const o = await open(page('real.html'), { hash: '#tour=5' });
  const lesson = await lessonOf(o.page);
  assert.equal(lesson.tokens[lesson.row].trim(), 'it');
  assert.equal(lesson.tokens[lesson.key].trim(), 'cat');
  const engine = engineWeights(lesson);
  assert.equal(engine.length, lesson.tokens.length);
  for (let row = 1; row < lesson.tokens.length; ++row) {
    const truth = engine[row].slice(0, row + 1);
    assert.deepEqual(lesson.weights[row].map(Math.fround), truth.map(Math.fround), `row ${row}`);
    await o.page.getByLabel('Who asks').selectOption({ index: row - 1 });
    const weights = await valuesOf(o.page, 'weight');
    const texts = await textsOf(o.page, 'weight');
    assert.equal(weights.length, row + 1);
    // The page adds in f64, the engine in f32: D products of size s are off by D 2^-24 s at most.
    const { q, k } = lesson;
    const size = (j) => sum(q[row].map((x, d) => Math.abs(x * k[j][d]))) / Math.sqrt(q[row].length);
    const slack = 2 * q[row].length * 2 ** -24 * Math.max(...truth.map((_, j) => size(j))) + 1e-6;
    for (let j = 0; j <= row; ++j) {
      assert.ok(Math.abs(Math.log(weights[j] / truth[j])) <= slack, `row ${row}, key ${j}: ${weights[j]}, not ${truth[j]}`);
      if (!texts[j].startsWith('<')) shows(texts[j], 100 * truth[j]);
    }
  }
  await o.page.locator('.tour-steps li button').nth(6).click();
  const map = await o.page.locator('.whole tbody data').evaluateAll((all) => all.map((d) => Number(d.value)));
  assert.deepEqual(map.map(Math.fround), lesson.weights.flat().map(Math.fround));
  await clean(o);
});

test('what is worked out adds up: products, powers, division, blend', { skip }, async () => {
  const o = await open(page('real.html'), { hash: '#tour=4' });
  const p = o.page;
  const lesson = await lessonOf(p);
  const { row } = lesson;
  const root = Math.sqrt(lesson.q[0].length);
  const button = (j) => p.locator('.stage tbody button').nth(j);
  const step = (n) => p.locator('.tour-steps li button').nth(n - 1).click();
  const dots = lesson.k.slice(0, row + 1).map((k) => sum(k.map((x, d) => x * lesson.q[row][d])));
  for (const key of [0, lesson.key, row]) {
    await button(key).click();
    const cells = p.locator('.worked tbody tr');
    const terms = await cells.locator('data').evaluateAll((all) => all.map((d) => Number(d.value)));
    assert.equal(terms.length, 5, 'four places and the others');
    const places = (await cells.locator('th').allTextContents()).slice(0, 4).map((t) => Number(t) - 1);
    places.forEach((d, i) => assert.equal(terms[i], lesson.q[row][d] * lesson.k[key][d]));
    assert.ok(Math.abs(sum(terms) - dots[key]) < 1e-9 * (1 + Math.abs(dots[key])), 'the parts are the sum');
    shows(await p.locator('#tour-dot').textContent(), dots[key]);
    shows(await p.locator('#tour-score').textContent(), dots[key] / root);
  }
  await step(5);
  await button(lesson.key).click();
  const powers = await valuesOf(p, 'power');
  powers.forEach((power, j) => assert.ok(Math.abs(power / Math.exp(dots[j] / root) - 1) < 1e-9));
  shows(await p.locator('.stage tfoot .power').textContent(), sum(powers));
  const outcome = await p.locator('.tour-work .outcome').textContent();
  shows(outcome, (100 * powers[lesson.key]) / sum(powers));
  const [above, below] = await p.locator('.tour-work .math').last().locator('mfrac mn').allTextContents();
  shows(above, powers[lesson.key]);
  shows(below, sum(powers));
  await step(6);
  const weights = await valuesOf(p, 'weight');
  const blend = lesson.v[0].map((_, d) => sum(weights.map((w, j) => w * lesson.v[j][d])));
  const d = blend.reduce((best, x, i) => (Math.abs(x) > Math.abs(blend[best]) ? i : best), 0);
  const parts = await valuesOf(p, 'part');
  parts.forEach((part, j) => assert.ok(Math.abs(part - weights[j] * lesson.v[j][d]) < 1e-12));
  shows(await p.locator('.tour-work .outcome').textContent(), blend[d]);
  shows(await p.locator('.stage tfoot .part').textContent(), blend[d]);
  await clean(o);
});

test('formulas are typeset: fractions stand above each other', { skip }, async () => {
  const o = await open(page('real.html'), { hash: '#tour=5' });
  const fraction = o.page.locator('.formula mfrac').first();
  await soon(async () => assert.equal(await fraction.evaluate((node) => node.namespaceURI), 'http://www.w3.org/1998/Math/MathML'));
  const [above, below] = await fraction.evaluate((f) => [...f.children].map((c) => c.getBoundingClientRect()));
  assert.ok(above.bottom <= below.top + 4 && above.left < below.right, JSON.stringify([above, below]));
  await clean(o);
});

test('everything stays in the field until it is masked', { skip }, async () => {
  const o = await open(page('real.html'), { hash: '#tour=8' });
  const p = o.page;
  const lesson = await lessonOf(p);
  const before = await valuesOf(p, 'weight');
  const entropy = (ws) => -ws.reduce((s, w) => s + w * Math.log(w), 0);
  const temperature = p.getByLabel('Temperature');
  await temperature.focus();
  for (let i = 0; i < 10; ++i) await p.keyboard.press('ArrowRight');
  const warm = await valuesOf(p, 'weight');
  assert.ok(entropy(warm) > entropy(before) + 0.05, 'warmer is more even');
  for (let i = 0; i < 20; ++i) await p.keyboard.press('ArrowLeft');
  const cold = await valuesOf(p, 'weight');
  assert.ok(entropy(cold) < entropy(before) - 0.05, 'colder is sharper');
  assert.ok([...warm, ...cold].every((w) => w > 0));
  await p.getByRole('button', { name: 'As the model has it' }).click();
  await soon(async () => assert.deepEqual(await valuesOf(p, 'weight'), before));

  await p.getByLabel('Mute from').selectOption({ index: lesson.key + 1 });
  await p.getByLabel('By how much').focus();
  await p.keyboard.press('End');
  const muted = await valuesOf(p, 'weight');
  assert.ok(muted[lesson.key] > 0 && muted[lesson.key] < before[lesson.key] / 100, `${muted[lesson.key]}`);
  await soon(async () => assert.match(await p.locator('#tour-left').textContent(), /still in the field/));
  await p.getByLabel('Mask it').check();
  const masked = await valuesOf(p, 'weight');
  assert.equal(masked[lesson.key], 0);
  assert.ok(Math.abs(sum(masked) - 1) < 1e-9 && masked.every((w, j) => j === lesson.key || w > before[j]));
  await soon(async () => assert.match(await p.locator('#tour-left').textContent(), /exactly 0 %/));
  await clean(o);
});

test('by keyboard alone: the focus stays, and each step is told', { skip }, async () => {
  const o = await open(page('real.html'));
  const p = o.page;
  await p.getByRole('button', { name: 'How it works' }).focus();
  await p.keyboard.press('Enter');
  await p.waitForFunction(() => document.activeElement.id === 'tour-title');
  const at = (n) => p.waitForFunction((k) => document.querySelector('[aria-current=step]')?.textContent.startsWith(k), `${n}`);
  const focused = () => p.evaluate(() => document.activeElement.className);
  const said = [];
  await p.locator('.tour-next .primary').focus();
  for (let i = 1; i <= 8; ++i) {
    await at(i);
    said.push(await p.locator('#tour-said').textContent());
    assert.match(said.at(-1), new RegExp(`^Step ${i} of 8\\.`));
    await soon(async () => assert.equal(await focused(), 'primary', 'the focus stays on Next'));
    if (i < 8) await p.keyboard.press('Enter');
  }
  await soon(async () => assert.equal(await p.locator('#tour-said').getAttribute('role'), 'status'));
  assert.equal(new Set(said).size, 8);
  assert.match(said[4], /a weighting, not a spotlight.*Most, 80\.4 %, for \u2018cat\u2019/);
  await p.waitForFunction(() => /tour=8/.test(location.hash));
  await p.keyboard.press('Enter');
  await at(1);
  const back = p.getByRole('button', { name: 'Back' });
  await back.focus();
  await p.keyboard.press('Enter');
  await soon(async () => assert.equal(await back.evaluate((node) => node === document.activeElement), true, 'nothing is before the first step'));
  await at(1);
  await p.keyboard.press('ArrowRight');
  await at(2);
  await soon(async () => assert.equal(await back.evaluate((node) => node === document.activeElement), true));
  const third = p.locator('.tour-steps li button').nth(2);
  await third.focus();
  await p.keyboard.press('Enter');
  await at(3);
  await soon(async () => assert.equal(await third.evaluate((node) => node === document.activeElement), true));
  await p.evaluate(() => document.activeElement.blur());
  await p.keyboard.press('ArrowLeft'); // from anywhere
  await at(2);
  await p.getByLabel('Who asks').focus();
  await p.keyboard.press('ArrowRight'); // which is the field's own
  await at(2);
  await soon(async () => assert.equal(await p.getByRole('button', { name: 'Play', exact: true }).count(), 0, 'motion was not wanted'));
  await soon(async () => assert.equal(await p.evaluate(() => document.getAnimations().length), 0));
  await third.focus();
  await p.keyboard.press('Escape');
  await p.waitForSelector('[role=grid]');
  await p.goBack();
  await p.waitForSelector('.tour');
  await clean(o);
});

test('the way out of the tour leads where it says', { skip }, async () => {
  const o = await open(page('real.html'));
  const p = o.page;
  const back = p.locator('.tour-steps .back');
  const places = [
    ['#head=3.1&tour=2', 'Head 3.1', /Layer 3, head 1/],
    ['#layers=5,12&tour=2', 'Layers 5 and 12', /Layers 5 and 12/],
    ['#tour=2', 'All heads', /All [\d,]+ heads/],
  ];
  for (const [hash, name, title] of places) {
    await p.evaluate((h) => (location.hash = h), hash);
    await p.waitForSelector('.tour');
    await soon(async () => assert.equal(await back.textContent(), `\u2190 ${name}`));
    await back.click();
    await p.getByRole('heading', { level: 2, name: title }).first().waitFor();
  }
  // From two layers the tour's own head is opened; out of that one comes to all heads.
  await p.evaluate(() => (location.hash = '#layers=5,12&tour=8'));
  await p.getByRole('button', { name: 'This head on the whole text' }).click();
  await p.waitForSelector('#map-how');
  await p.getByRole('button', { name: 'All heads' }).click();
  await p.waitForSelector('[role=grid][aria-label^="All heads"]');
  await clean(o);
});

test('where motion is welcome the tour plays itself, and the focus stays on Play', { skip }, async () => {
  const o = await open(page('real.html'), { hash: '#tour=3', reducedMotion: 'no-preference' });
  const p = o.page;
  const lesson = await lessonOf(p);
  await p.clock.install();
  const here = () => p.locator('[aria-current=step]').textContent();
  await p.getByRole('button', { name: 'Play', exact: true }).click();
  await soon(async () => assert.ok((await p.locator('.stage .reveal').count()) > 5));
  const seen = new Set();
  const steps = [];
  for (let i = 0; i < 200 && steps.at(-1) !== '8 Try it'; ++i) {
    await p.clock.runFor(600);
    const step = await here();
    if (steps.at(-1) !== step) steps.push(step);
    if (step === '4 Scores') seen.add(await p.locator('.stage [aria-pressed=true]').textContent());
  }
  assert.deepEqual(steps, ['3 Keys', '4 Scores', '5 Weights', '6 Blend', '7 All at once', '8 Try it']);
  assert.equal(seen.size, lesson.row + 1, 'the query meets every key');
  await soon(async () => assert.equal(await p.evaluate(() => document.activeElement.textContent), 'Pause'));
  await p.keyboard.press('ArrowLeft'); // who walks does not want to be walked
  await soon(async () => assert.equal(await p.evaluate(() => document.activeElement.textContent), 'Play'));
  await clean(o);
});

test('on a phone words and numbers are on one screen', { skip }, async () => {
  const o = await open(page('real.html'), { width: 390, height: 844, hash: '#tour=1' });
  for (let step = 1; step <= 8; ++step) {
    await o.page.locator('.tour-steps li button').nth(step - 1).click();
    const { title, row, foot, over } = await o.page.evaluate(() => ({
      title: document.querySelector('#tour-title').getBoundingClientRect().top,
      row: document.querySelector('.stage tbody .asking').getBoundingClientRect().bottom,
      foot: document.querySelector('.tour-next').getBoundingClientRect().top,
      over: document.documentElement.scrollWidth - innerWidth,
    }));
    assert.ok(title >= 0 && row <= foot && foot < 844, `step ${step}: row ends at ${row}, the foot begins at ${foot}`);
    assert.ok(over <= 0, `step ${step} is ${over} px wider than the screen`);
  }
  await clean(o);
});

for (const colorScheme of ['light', 'dark']) {
  for (const width of [1400, 390]) {
    test(`axe finds nothing in the tour: ${width} px, ${colorScheme}`, { skip }, async () => {
      const o = await open(page('real.html'), { width, hash: '#tour=1', colorScheme, bypassCSP: true });
      await o.page.evaluate(axe);
      for (let step = 1; step <= 8; ++step) {
        await o.page.locator('.tour-steps li button').nth(step - 1).click();
        if (step === 8) await o.page.getByLabel('Mute from').selectOption({ index: 2 });
        const result = await o.page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
        assert.ok(result.passes.length > 10);
        const found = result.violations.map((v) => `${v.id}: ${v.nodes[0].html.slice(0, 160)}`);
        assert.deepEqual(found, [], `step ${step}`);
        const over = await o.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(over <= 0, `step ${step} is ${over} px wider than the screen`);
      }
      await o.close();
    });
  }
}

test('a page without a lesson has no tour, says how to get one, and a link to one opens the grid', async () => {
  const o = await open(page('hostile.html'), { hash: '#tour=3' });
  await o.page.waitForSelector('[role=grid]');
  await soon(async () => assert.equal(await o.page.getByRole('button', { name: 'How it works' }).count(), 0));
  await soon(async () => assert.match(await o.page.locator('.no-tour').textContent(), /guided tour.*bareattn page RUN -m MODEL\.gguf/));
  await clean(o);
});
