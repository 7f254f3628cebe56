// Steering in live mode, in every order of hands and answers: what is chosen is what runs and what is saved, the last
// movement counts, and what is no longer wanted is not shown. Where a run must be on its way, the page is kept from hearing
// of its end. That B is what the engine makes of it: two.test.mjs.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { closeAll, settled } from './open.mjs';
import { save, texts } from './saving.mjs';
import { model, serve, visit } from './serving.mjs';
import { soon, test } from './testing.mjs';

const text = 'The cat sat on the mat because it was tired, and the dog that had come with it lay down beside the cat.';
after(closeAll);

const until = (what, said) => soon(async () => assert.ok(await what(), said));

/// A page with its sliders open; `asked` is what it has had run, `stopped` how often it stopped that.
async function steering(hash = '') {
  const server = await serve('-m', model, '--text', text);
  const o = await visit(server, { hash });
  if (hash) await settled(o.page);
  o.server = server;
  o.asked = [];
  o.stopped = 0;
  o.page.on('request', (r) => {
    if (!r.url().endsWith('/api/run')) return;
    if (r.method() === 'POST') o.asked.push(r.postDataJSON().steering.interventions);
    if (r.method() === 'DELETE') ++o.stopped;
  });
  await o.page.getByText('Steer: change the weighting').click();
  o.slide = (name, value) => o.page.getByLabel(name).fill(String(value));
  o.said = (what) => o.page.locator('.steer').getByText(what, { exact: true }).waitFor();
  o.ran = (n) => until(() => o.asked.length >= n, `${o.asked.length} runs were asked for, not ${n}`);
  o.saved = async () => JSON.parse((await save(o, 'Save as a steering file')).bytes).interventions;
  return o;
}

/// From now on the page waits for what its run is doing, until it is let go.
async function hold(o) {
  let letGo;
  const gate = new Promise((done) => (letGo = done));
  await o.page.route('**/api/run', async (route) => {
    if (route.request().method() === 'GET') await gate;
    await route.continue();
  });
  return letGo;
}
/// A run that the server has ended, and the page does not know it.
async function ended(o, act) {
  const begun = o.page.waitForResponse((r) => r.url().endsWith('/api/run') && r.request().method() === 'POST');
  await act();
  await begun;
  await until(async () => !(await o.server.status()).running, 'the run does not end');
  await soon(async () => assert.notEqual((await o.server.status()).against, null));
}
const idle = (o) => o.page.locator('.steer').getByRole('button', { name: 'Stop' }).waitFor({ state: 'hidden' });
const ONE = 'Steered: 1 change.';

const hotter = (heads) => [{ kind: 'temperature', heads: [heads], value: 8 }];

test('heads that are chosen are those that run', async () => {
  const o = await steering('head=7.1&row=12&key=1');
  await o.slide('Temperature', 3);
  await o.said(ONE);
  await o.page.getByRole('radio', { name: 'Layer 7' }).check();
  await o.ran(2);
  await o.said(ONE);
  await o.page.getByRole('radio', { name: 'All', exact: true }).check();
  await o.ran(3);
  assert.deepEqual(o.asked, ['*', '7.*', '*'].map(hotter));
  await o.clean();
});

test('heads that were chosen are those that are saved and run, wherever one goes', async () => {
  const o = await steering('head=7.1&row=12&key=1');
  const head = o.page.getByRole('radio', { name: 'Head 7.1' });
  await head.check();
  await o.slide('Temperature', 3);
  await o.said(ONE);
  await o.page.evaluate(() => (location.hash = '#head=5.3&row=12'));
  await o.page.getByRole('heading', { name: 'Layer 5, head 3' }).waitFor();
  assert.deepEqual(await o.saved(), hotter('7.1'));
  await soon(async () => assert.ok(await head.isChecked()));
  await soon(async () => assert.ok(!(await o.page.getByRole('radio', { name: 'Head 5.3' }).isChecked())));
  await o.page.getByRole('button', { name: 'All heads' }).click();
  await o.page.waitForSelector('[role=grid]');
  assert.deepEqual(await o.saved(), hotter('7.1'));
  await soon(async () => assert.ok(await head.isChecked()));
  await o.page.locator('.steer').getByRole('button', { name: 'Run it' }).click();
  await o.ran(2);
  assert.deepEqual(o.asked, ['7.1', '7.1'].map(hotter));
  await o.clean();
});

test('the key that was boosted is boosted in the grid too, as its slider moves', async () => {
  const o = await steering('head=7.1&row=12&key=1');
  await o.slide('Weights on the span', 6);
  await o.said(ONE);
  await o.page.getByRole('button', { name: 'All heads' }).click();
  await o.page.waitForSelector('[role=grid]');
  const slider = o.page.getByLabel('Weights on the span');
  await slider.fill('5');
  await o.ran(2);
  assert.deepEqual(o.asked, [64, 32].map((value) => [{ kind: 'boost', heads: ['*'], keys: [[1, 2]], value }]));
  await o.said(ONE);
  // Through the middle: the hand does not lose the slider.
  await slider.fill('0');
  await o.said('As it was.');
  await soon(async () => assert.ok(await slider.isEnabled()));
  await slider.fill('5');
  await o.ran(3);
  assert.deepEqual(o.asked[2], o.asked[1]);
  await o.clean();
});

test('the last movement runs, though a run ended just then', async () => {
  const o = await steering();
  const letGo = await hold(o);
  await ended(o, () => o.slide('Temperature', 3));
  await o.slide('Temperature', 2);
  letGo();
  await o.ran(2);
  assert.deepEqual(o.asked.map(([{ value }]) => value), [8, 4]);
  await o.said(ONE);
  await o.clean();
});

test('sliders back in their places show the run as it was, and stop what is on its way', async () => {
  const o = await steering();
  await o.slide('Temperature', 3);
  await o.page.waitForSelector('.runs');
  await o.slide('Temperature', 0);
  await o.page.locator('.runs').waitFor({ state: 'detached' });
  await o.said('As it was.');
  assert.equal(o.stopped, 0);
  const letGo = await hold(o);
  await ended(o, () => o.slide('Temperature', 2));
  await o.slide('Temperature', 0);
  await until(() => o.stopped === 1, 'the run was not stopped');
  letGo();
  await idle(o);
  await o.said('As it was.');
  await soon(async () => assert.equal(await o.page.locator('.runs').count(), 0));
  assert.equal(o.asked.length, 2);
  await o.clean();
});

test('As it was, during a run: it is stopped, and its result is not shown', async () => {
  const o = await steering();
  const letGo = await hold(o);
  await ended(o, () => o.slide('Temperature', 3));
  await o.page.getByRole('button', { name: 'As it was' }).click();
  letGo();
  await idle(o);
  await soon(async () => assert.equal(await o.page.locator('.runs').count(), 0));
  await until(() => o.stopped === 1, 'the run was not stopped');
  await soon(async () => assert.equal(await o.page.getByLabel('Temperature').inputValue(), '0'));
  // The next one is shown.
  await o.slide('Temperature', 2);
  await o.said(ONE);
  await o.page.waitForSelector('.runs');
  await o.clean();
});

test('a run that is on its way comes during the tour, and the sliders stay where they were', async () => {
  const o = await steering();
  const letGo = await hold(o);
  await ended(o, () => o.slide('Temperature', 3));
  await o.page.getByRole('button', { name: 'How it works' }).click();
  await o.page.waitForSelector('.tour');
  await soon(async () => assert.ok(!(await o.page.locator('.steer').isVisible())));
  letGo();
  await o.page.keyboard.press('Escape');
  await o.page.waitForSelector('.runs');
  await soon(async () => assert.equal(await o.page.getByLabel('Temperature').inputValue(), '3'));
  await o.said(ONE);
  await o.clean();
});

test('the change as a measure is still chosen after Back', async () => {
  const o = await steering();
  await o.slide('Temperature', 3);
  await o.page.waitForSelector('.runs');
  const measure = o.page.getByLabel('Colour by');
  await measure.selectOption({ label: 'Change between the runs' });
  await o.page.waitForFunction(() => /measure=changed/.test(location.hash));
  await o.page.locator('[data-head="7.1"]').click();
  await o.page.waitForSelector('#map-how');
  await o.page.goBack();
  await o.page.waitForSelector('[role=grid]');
  await soon(async () => assert.equal(await measure.locator('option:checked').textContent(), 'Change between the runs'));
  await soon(async () => assert.match(await o.page.locator('[data-head="7.1"]').getAttribute('aria-label'), /Change between the runs/));
  await o.clean();
});

test('a saved picture of the steered run says the role that the head has there', async () => {
  const o = await steering();
  await o.slide('Temperature', 3);
  const roles = async (run) => {
    await o.page.locator(`.runs input[value=${run}]`).check();
    const all = await o.page.locator('[data-head]').evaluateAll((b) => b.map((e) => [e.dataset.head, e.ariaLabel]));
    return new Map(all.map(([head, said]) => [head, said.match(/: ([^,]+),/)[1]]));
  };
  const [a, b] = [await roles('first'), await roles('second')];
  const head = [...a.keys()].find((h) => a.get(h) !== b.get(h));
  assert.ok(head, 'no role changed');
  await o.page.evaluate((h) => (location.hash = `#head=${h}&row=12&runs=second`), head);
  await settled(o.page);
  const said = texts((await save(o, 'the map as SVG')).bytes.toString()).map((t) => t.said);
  assert.ok(said.some((t) => t.includes(`, run B (${b.get(head)}): `)), `${b.get(head)} is not in ${said.join('\n')}`);
  await o.clean();
});
