// The tour teaches with the model's own numbers: its weights are the engine's in every row, its knobs keep the whole field
// until it is masked, and it can be walked by keyboard, without motion, and by screen reader.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, test } from 'node:test';
import { closeAll, expected, open, page } from './open.mjs';

after(closeAll);
const skip = expected().real ? false : 'NO PAGE OF A REAL MODEL: ./x model fetches it';
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const lessonOf = (p) => p.evaluate(() => JSON.parse(document.getElementById('page-data').textContent).lesson);
const weightsOf = (p) => p.locator('.stage .weight data').evaluateAll((all) => all.map((d) => Number(d.value)));
const clean = async (o) => {
  assert.deepEqual(await o.page.evaluate(() => window.violations), []);
  assert.deepEqual(o.wrong, []);
  await o.close();
};

test('the tour\u2019s weights are the engine\u2019s, row by row', { skip }, async () => {
  const o = await open(page('real.html'), { hash: '#tour=5' });
  const lesson = await lessonOf(o.page);
  assert.equal(lesson.tokens[lesson.row].trim(), 'it');
  assert.equal(lesson.tokens[lesson.key].trim(), 'cat');
  for (let row = 1; row < lesson.tokens.length; ++row) {
    await o.page.getByLabel('Who asks').selectOption({ index: row - 1 });
    const weights = await weightsOf(o.page);
    assert.equal(weights.length, row + 1);
    const truth = lesson.weights[row];
    // Q and K stand with five digits of binary16: a logit is off by at most scale * sum |q k| * 2^-10.
    for (let j = 0; j <= row; ++j) {
      let size = 0;
      for (let d = 0; d < lesson.q[row].length; ++d) size += Math.abs(lesson.q[row][d] * lesson.k[j][d]);
      const slack = (size / Math.sqrt(lesson.q[row].length)) * 2 ** -9.9 + 1e-4;
      assert.ok(Math.abs(Math.log(weights[j] / truth[j])) <= slack, `row ${row}, key ${j}: ${weights[j]}, not ${truth[j]}`);
    }
  }
  await clean(o);
});

test('the score is the product that the step spells out', { skip }, async () => {
  const o = await open(page('real.html'), { hash: '#tour=4' });
  const lesson = await lessonOf(o.page);
  for (const key of [0, lesson.key]) {
    await o.page.locator('.stage tbody button').nth(key).click();
    let dot = 0;
    lesson.q[lesson.row].forEach((q, d) => (dot += q * lesson.k[key][d]));
    const shown = Number(await o.page.locator('#tour-score').textContent());
    assert.ok(Math.abs(shown - dot / Math.sqrt(lesson.q[0].length)) < 1e-3, `${shown}`);
  }
  await clean(o);
});

test('everything stays in the field until it is masked', { skip }, async () => {
  const o = await open(page('real.html'), { hash: '#tour=7' });
  const p = o.page;
  const lesson = await lessonOf(p);
  const before = await weightsOf(p);
  const entropy = (ws) => -ws.reduce((s, w) => s + w * Math.log(w), 0);
  const sum = (ws) => ws.reduce((a, b) => a + b, 0);
  const temperature = p.getByLabel('Temperature');
  await temperature.focus();
  for (let i = 0; i < 10; ++i) await p.keyboard.press('ArrowRight');
  const warm = await weightsOf(p);
  assert.ok(entropy(warm) > entropy(before) + 0.05, 'warmer is more even');
  for (let i = 0; i < 20; ++i) await p.keyboard.press('ArrowLeft');
  const cold = await weightsOf(p);
  assert.ok(entropy(cold) < entropy(before) - 0.05, 'colder is sharper');
  assert.ok([...warm, ...cold].every((w) => w > 0));
  await p.getByRole('button', { name: 'As the model has it' }).click();
  assert.deepEqual(await weightsOf(p), before);

  await p.getByLabel('Mute from').selectOption({ index: lesson.key + 1 });
  await p.getByLabel('By how much').focus();
  await p.keyboard.press('End');
  const muted = await weightsOf(p);
  assert.ok(muted[lesson.key] > 0 && muted[lesson.key] < before[lesson.key] / 100, `${muted[lesson.key]}`);
  assert.match(await p.locator('#tour-left').textContent(), /still in the field/);
  await p.getByLabel('Mask it').check();
  const masked = await weightsOf(p);
  assert.equal(masked[lesson.key], 0);
  assert.ok(Math.abs(sum(masked) - 1) < 1e-9 && masked.every((w, j) => j === lesson.key || w > before[j]));
  assert.match(await p.locator('#tour-left').textContent(), /exactly 0 %/);
  await clean(o);
});

test('by keyboard alone, and each step is told', { skip }, async () => {
  const o = await open(page('real.html'));
  const p = o.page;
  await p.getByRole('button', { name: 'How it works' }).focus();
  await p.keyboard.press('Enter');
  const titles = [];
  for (let i = 0; i < 7; ++i) {
    await p.waitForFunction((n) => document.querySelector('[aria-current=step]')?.textContent.startsWith(n), String(i + 1));
    // The title of the step has the focus, so that it is read.
    titles.push(await p.evaluate(() => document.activeElement.textContent));
    await p.keyboard.press('ArrowRight');
  }
  assert.equal(new Set(titles).size, 7);
  assert.match(titles[4], /softmax/);
  assert.equal(await p.getByRole('button', { name: 'Play', exact: true }).count(), 0, 'motion was not wanted');
  assert.equal(await p.evaluate(() => document.getAnimations().length), 0);
  await p.waitForFunction(() => /tour=7/.test(location.hash));
  await p.keyboard.press('Escape');
  await p.waitForSelector('[role=grid]');
  await p.goBack();
  await p.waitForSelector('.tour');
  await clean(o);
});

test('where motion is welcome the tour plays itself', { skip }, async () => {
  const o = await open(page('real.html'), { hash: '#tour=1', reducedMotion: 'no-preference' });
  await o.page.getByRole('button', { name: 'Play', exact: true }).click();
  await o.page.waitForFunction(() => document.querySelector('[aria-current=step]').textContent.startsWith('3'), null, {
    timeout: 20000,
  });
  assert.ok((await o.page.locator('.stage .reveal').count()) > 5);
  await clean(o);
});

for (const colorScheme of ['light', 'dark']) {
  for (const width of [1400, 390]) {
    test(`axe finds nothing in the tour: ${width} px, ${colorScheme}`, { skip }, async () => {
      const o = await open(page('real.html'), { width, hash: '#tour=1', colorScheme, bypassCSP: true });
      await o.page.evaluate(axe);
      for (let step = 1; step <= 7; ++step) {
        await o.page.locator('.tour-steps li button').nth(step - 1).click();
        if (step === 7) await o.page.getByLabel('Mute from').selectOption({ index: 2 });
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

test('a page without a lesson has no tour, and a link to one opens the grid', async () => {
  const o = await open(page('hostile.html'), { hash: '#tour=3' });
  await o.page.waitForSelector('[role=grid]');
  assert.equal(await o.page.getByRole('button', { name: 'How it works' }).count(), 0);
  await clean(o);
});
