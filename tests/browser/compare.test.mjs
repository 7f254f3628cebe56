// Comparing and switching: two heads side by side and subtracted move together and say what both give; shares of keys and
// weights times what keys carry are those that the engine's weights make; links hold it all.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { closeAll, expected, open, page, settled } from './open.mjs';
import { soon, test } from './testing.mjs';

after(closeAll);
const clean = async (o) => {
  assert.deepEqual(await o.page.evaluate(() => window.violations), []);
  assert.deepEqual(o.wrong, []);
  await o.close();
};
const percent = (text) => {
  const [, sign, digits] = text.match(/(\u2212?)(?:< )?([\d.]+) %/);
  return (sign ? -1 : 1) * (Number(digits) / 100);
};
const table = (p) =>
  p
    .locator('.map-panel details table tbody tr')
    .evaluateAll((all) => all.map((tr) => [...tr.children].map((c) => c.textContent)));
const cellOf = (row) => row.slice(0, 2).map((t) => Number(t.match(/^[\d,]+/)[0].replace(/,/g, '')));

test('two heads side by side move together', async () => {
  const o = await open(page('hostile.html'), { hash: '#head=0.1&with=0.2' });
  await o.page.waitForFunction(() => document.querySelectorAll('.map-over').length === 2);
  await settled(o.page);
  await soon(async () => assert.deepEqual(await o.page.locator('.map-caption').allTextContents(), ['layer 0, head 1', 'layer 0, head 2']));
  await o.page.locator('.map-over').nth(1).focus();
  await o.page.keyboard.press('Enter'); // the second map goes to the cells, the first follows
  await o.page.waitForFunction(() => /at=/.test(location.hash));
  await settled(o.page);
  await soon(async () => {
    const rows = await table(o.page);
    assert.ok(rows.length >= 10 && rows.every((r) => cellOf(r)[0] > 90), 'the first map did not follow');
  });
  // What both say about the row.
  const all = await o.page
    .locator('.compare-panel tbody tr')
    .evaluateAll((trs) => trs.map((tr) => [...tr.querySelectorAll('td')].map((td) => td.textContent)));
  assert.equal(all.length, 10);
  for (const [a, b, d] of all) {
    assert.ok(Math.abs(percent(a) - percent(b) - percent(d)) < 2e-3, `${a} - ${b} is not ${d}`);
  }
  const common = percent((await o.page.locator('#agreement').textContent()) ?? '');
  const least = all.reduce((sum, [a, b]) => sum + Math.min(percent(a), percent(b)), 0);
  assert.ok(common >= least - 1e-3 && common < 1, `${common} in common, of the ten strongest alone ${least}`);
  await clean(o);
});

test('the heads of the layer that look most and least alike are named, and compared with at a click', async () => {
  const o = await open(page('hostile.html'), { hash: '#head=0.1' });
  await o.page.waitForSelector('.alike span button');
  const [most, least] = await o.page.locator('.alike span').evaluateAll((all) => all.map((s) => s.textContent));
  const names = await o.page.locator('.alike span button').allTextContents();
  assert.ok(names.every((n) => /^0\.\d$/.test(n) && n !== '0.1') && names[0] !== names[1], `${names}`);
  assert.ok(percent(most) >= percent(least) && percent(most) <= 1, `${most}, ${least}`);
  await o.page.locator('.alike span button').last().click();
  await o.page.waitForFunction((n) => document.querySelectorAll('.map-over').length === 2 && location.hash.includes(`with=${n}`), names[1]);
  await clean(o);
});

test('the difference map is one head minus the other', async () => {
  const o = await open(page('hostile.html'), { hash: '#head=0.1&with=0.2&compare=difference&row=111&at=110,114,6' });
  await o.page.waitForFunction(() => document.querySelector('.learner').textContent.startsWith('Orange'));
  await o.page.waitForSelector('#agreement');
  await settled(o.page);
  const cells = (await table(o.page)).map((r) => [...cellOf(r), percent(r[2])]);
  const said = await o.page
    .locator('.compare-panel tbody tr')
    .evaluateAll((trs) => trs.map((tr) => [...tr.children].map((c) => c.textContent)));
  let compared = 0;
  for (const [key, a, b] of said) {
    const cell = cells.find(([r, k]) => r === 111 && k === Number(key.match(/^\d+/)[0]));
    if (!cell) continue;
    assert.ok(Math.abs(percent(a) - percent(b) - cell[2]) < 2e-3, `${key}: ${a} - ${b} is not ${cell[2]}`);
    ++compared;
  }
  assert.ok(compared >= 2, `${compared} cells were compared`);
  // Orange is more, purple is less: on the bar as in the words under the map.
  const ends = await o.page.locator('.scale canvas').evaluate((canvas) => {
    const c = canvas.getContext('2d');
    const { data } = c.getImageData(0, 4, canvas.width, 1);
    return [data.slice(0, 3), data.slice(-4, -1)].map((rgb) => [...rgb]);
  });
  assert.ok(ends[0][2] > ends[0][0] && ends[1][0] > 2 * ends[1][2], `less ${ends[0]}, more ${ends[1]}`);
  assert.ok(cells.some((c) => c[2] < 0) && cells.some((c) => c[2] > 0), 'a difference has two sides');
  await clean(o);
});

test('a head with itself has everything in common', async () => {
  const o = await open(page('hostile.html'), { hash: '#head=0.1&with=0.2' });
  await o.page.waitForSelector('#agreement');
  await o.page.getByLabel('Compare with').selectOption({ label: 'no other head' });
  await soon(async () => assert.equal(await o.page.locator('.compare-panel').count(), 0));
  await o.page.evaluate(() => (location.hash = '#head=0.1&with=0.1')); // refused: nothing to compare
  await o.page.waitForFunction(() => document.querySelectorAll('.map-over').length === 1);
  await clean(o);
});

test('by key: each cell is its part of all that the key receives', async () => {
  // Row 119 is the last: what it gives to the key that only it sees, itself, is all that this key receives.
  const o = await open(page('hostile.html'), { hash: '#head=0.1&norm=key&at=118,118,5' });
  await settled(o.page);
  const rows = await table(o.page);
  const last = rows.find((r) => cellOf(r).join() === '119,119');
  assert.ok(last && Math.abs(percent(last[2]) - 1) < 2e-3, `the last key gets ${last?.[2]} from itself`);
  // Key 118 is seen by rows 118 and 119 alone: their parts add up to one.
  const parts = [];
  for (const row of [118, 119]) {
    await o.page.evaluate((r) => (location.hash = `#head=0.1&norm=key&row=${r}&key=118`), row);
    await o.page.waitForFunction((r) => document.querySelector('#readout').textContent.startsWith(`${r} `), row);
    await soon(async () => assert.match(await o.page.locator('#readout').textContent(), /of what the key receives/));
    parts.push(Number(await o.page.locator('#cell-weight').getAttribute('value')));
  }
  assert.ok(Math.abs(parts[0] + parts[1] - 1) < 1e-3, `parts ${parts}`);
  await clean(o);
});

const real = expected().real;
test('times what is carried: the largest cells are weights times sizes', { skip: real ? false : 'no model' }, async () => {
  const o = await open(page('real.html'), { hash: '#head=11.2&row=200&key=200&value=weighted&at=195,197,8' });
  await settled(o.page);
  await soon(async () => assert.equal(await o.page.locator('input[value=carried]').isChecked(), true));
  const { weights } = real.rows[200];
  const top = Math.max(...real.sizes);
  const rows = (await table(o.page)).filter((r) => cellOf(r)[0] === 200);
  assert.ok(rows.length > 2, `${rows.length} cells of the row`);
  for (const r of rows) {
    const key = cellOf(r)[1];
    const truth = (weights[key] * real.sizes[key]) / top;
    assert.ok(Math.abs(percent(r[2]) - truth) < 0.02 * truth + 1e-5, `key ${key}: ${r[2]}, not ${100 * truth} %`);
  }
  await clean(o);
});

test('a page without V cannot weigh by it, and says so', async () => {
  const o = await open(page('hostile.html'), { hash: '#head=0.1&value=weighted' });
  await soon(async () => assert.equal(await o.page.locator('input[value=carried]').isDisabled(), true));
  await soon(async () => assert.equal(await o.page.locator('input[value=row]').isChecked(), true));
  await clean(o);
});
