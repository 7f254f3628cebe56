// Pointer and keys on one page: what moved last counts, a click focuses the row that it reports, the listed keys work as
// soon as a head is open, and the grid is reached from everywhere.
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
/// Row and key as the readout has them, the row that the panel lists, the row that colours the text, the focused row.
const told = (p) =>
  p.evaluate(() => {
    const number = (text) => Number(text?.match(/[\d,]+/)?.[0].replace(/,/g, ''));
    const pair = document.querySelector('#readout .pair').textContent;
    return {
      readout: number(pair),
      key: number(pair.split('\u2192')[1]),
      list: number(document.querySelector('#row-title').textContent),
      text: number(document.querySelector('.text-note').textContent.match(/row [\d,]+/)[0]),
      focused: Number(document.querySelector('.text .focused').dataset.i),
    };
  });
const all = (row, key) => ({ readout: row, key, list: row, text: row, focused: row });
const active = (p, selector) => p.evaluate((s) => document.activeElement?.matches(s) ?? false, selector);

test('after a click and then keys a pointer that rests holds nothing back', async () => {
  const o = await open(page('hostile.html'), { hash: '#head=0.1&row=100&key=50' });
  const p = o.page;
  await settled(p);
  const n = expected().hostile.tokens.length;
  const box = await p.locator('.map-cells').boundingBox();
  const unit = Math.min(box.width, box.height) / n;
  const at = { x: box.x + 40.5 * unit, y: box.y + 80.5 * unit };
  await p.mouse.move(at.x, at.y);
  await soon(async () => assert.equal((await told(p)).readout, 80));
  await p.mouse.down();
  await p.mouse.up();
  await soon(async () => assert.deepEqual(await told(p), all(80, 40)));
  await p.keyboard.press('ArrowUp');
  await p.keyboard.press('ArrowLeft');
  const { row, key } = await soon(async () => {
    const { focused, key } = await told(p);
    assert.ok(focused < 80 && key < 40, `${focused}, ${key}`);
    return { row: focused, key };
  });
  await soon(async () => assert.deepEqual(await told(p), all(row, key)));
  // The pointer counts again as soon as it moves.
  await p.mouse.move(at.x, at.y + 10 * unit);
  await soon(async () => assert.equal((await told(p)).readout, 90));
  assert.equal((await told(p)).focused, row);
  await clean(o);
});

test('a click focuses the row that was told before it, where a pixel is many rows', async () => {
  const o = await open(page('long.html'), { hash: '#head=1.1', width: 500, height: 700 });
  const p = o.page;
  await settled(p);
  await p.locator('.map-over').scrollIntoViewIfNeeded();
  const box = await p.locator('.map-cells').boundingBox();
  for (const part of [0.31, 0.52, 0.77]) {
    // Between two pixels, where the pointer is told in parts of one and a click in whole ones.
    await p.mouse.move(Math.floor(box.x + 0.2 * box.width) + 0.9, Math.floor(box.y + part * box.height) + 0.9);
    const { readout, key } = await soon(async () => {
      const now = await told(p);
      assert.equal(now.readout, now.list);
      assert.notEqual(now.readout, now.focused);
      return now;
    });
    await p.mouse.down();
    await p.mouse.up();
    await soon(async () => assert.deepEqual(await told(p), all(readout, key)));
  }
  await clean(o);
});

test('a head that is opened by Enter hears its keys at once', async () => {
  const o = await open(page('hostile.html'));
  const p = o.page;
  await p.locator('[data-head="0.1"]').focus();
  await p.keyboard.press('Enter');
  await soon(async () => assert.ok(await active(p, '.map-over')));
  await settled(p);
  await p.keyboard.press('ArrowUp');
  await soon(async () => assert.ok((await told(p)).focused < 119));
  await p.keyboard.press('Enter');
  await p.waitForFunction(() => /at=/.test(location.hash));
  await p.keyboard.press('Escape');
  await p.waitForSelector('[role=grid]');
  await soon(async () => assert.ok(await active(p, '[data-head="0.1"]')));
  await clean(o);
});

test('keys that come faster than the page is drawn are all counted', async () => {
  const o = await open(page('hostile.html'), { hash: '#head=0.1&row=119&key=60&at=100,100,12' });
  const p = o.page;
  await settled(p);
  await p.locator('.map-over').focus();
  await p.evaluate(() => {
    const map = document.querySelector('.map-over');
    const press = (key) => map.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
    for (let i = 0; i < 7; ++i) press('ArrowUp');
    for (let i = 0; i < 5; ++i) press('ArrowLeft');
  });
  await soon(async () => assert.deepEqual(await told(p), all(112, 55)));
  await clean(o);
});

test('Escape leads to all heads from everywhere, and takes back what was typed first', async () => {
  const o = await open(page('hostile.html'));
  const p = o.page;
  const places = ['.text', '.keys button', '.steps button', '.search input', '#compare-with', '.theme', '.map-over'];
  for (const place of places) {
    await p.evaluate(() => (location.hash = '#head=0.1&row=100'));
    await settled(p);
    await p.locator(place).first().focus();
    await p.keyboard.press('Escape');
    await p.waitForSelector('[role=grid]').catch(() => assert.fail(`Escape is not heard from ${place}`));
  }
  await p.evaluate(() => (location.hash = '#head=0.1&row=100'));
  await settled(p);
  await p.locator('.search input').fill('cat');
  await p.keyboard.press('Escape');
  assert.ok(await p.locator('#map-how').isVisible(), 'a text that is typed is not thrown away with the view');
  await clean(o);
});

test('the first stop of Tab skips to where the keys of the view are heard', async () => {
  const o = await open(page('hostile.html'));
  const p = o.page;
  for (const [hash, name, target] of [
    ['#', 'Skip to the grid of heads', '[data-head]'],
    ['#head=0.1', 'Skip to the map', '.map-over'],
    ['#layers=2,2', 'Skip to the heads of the layers', '.likeness button'],
  ]) {
    await p.evaluate((h) => (location.hash = h), hash);
    await p.locator(target).first().waitFor();
    const skip = p.getByRole('button', { name, exact: true });
    await soon(async () => assert.ok((await skip.boundingBox()).y < 0, 'it is out of sight'));
    await p.evaluate(() => (document.activeElement.blur(), getSelection().removeAllRanges()));
    await skip.focus();
    assert.ok((await skip.boundingBox()).y >= 0, 'it is seen when it has the focus');
    await p.keyboard.press('Enter');
    await soon(async () => assert.ok(await active(p, target), name));
  }
  assert.ok(await p.evaluate(() => document.querySelector('button, a, input, select').matches('.skip')));
  await clean(o);
});
