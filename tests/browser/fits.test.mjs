// The page in every width: in a notebook's cell and enlarged the grid keeps its layout, the line of the head under the
// pointer is on the screen and moves nothing, the steps of the tour are one line.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { closeAll, expected, open, page } from './open.mjs';
import { soon, test } from './testing.mjs';

after(closeAll);
const clean = async (o) => {
  assert.deepEqual(await o.page.evaluate(() => window.violations), []);
  assert.deepEqual(o.wrong, []);
  await o.close();
};

test('the grid has the layers across from 700 px on, and fits', async () => {
  for (const width of [700, 820, 1000, 1400]) {
    const o = await open(page('long.html'), { width, height: 800 });
    await soon(async () => assert.equal(await o.page.locator('.axis-names').textContent(), 'Across: layers. Down: heads.'));
    const box = await o.page.locator('.grid').boundingBox();
    assert.ok(box.height < 700, `${width}: a grid of ${box.height} px`);
    const over = await o.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(over <= 0, `${over} px wider than ${width}`);
    await clean(o);
  }
});

test('the line of the head under the pointer is on the screen, and nothing below it moves', async () => {
  for (const [width, height] of [[1400, 900], [1000, 640], [700, 600], [390, 700]]) {
    const o = await open(page('long.html'), { width, height });
    const p = o.page;
    const heads = p.locator('[role=gridcell] button');
    await heads.first().waitFor();
    const below = () =>
      p.evaluate(() => [...document.querySelectorAll('.marks, .telling')].map((e) => Math.round(e.getBoundingClientRect().top + scrollY)));
    await heads.first().scrollIntoViewIfNeeded();
    const before = await below();
    const seen = new Set();
    for (const i of [0, 40, 133, 200, 269]) {
      const head = heads.nth(i);
      await head.scrollIntoViewIfNeeded();
      const name = await head.getAttribute('data-head');
      await head.hover();
      await soon(async () => assert.ok((await p.locator('.hovered .told').textContent()).startsWith(name)));
      const line = await p.locator('.hovered .told').boundingBox();
      assert.ok(line.y >= 0 && line.y + Math.min(line.height, 20) <= height, `${width}: the line of ${name} is at ${line.y}`);
      assert.deepEqual(await below(), before, `${width}: ${name} moves what is below`);
      seen.add((await p.locator('.hovered').boundingBox()).height);
    }
    assert.equal(seen.size, 1, `heights ${[...seen]}`);
    await clean(o);
  }
});

test('the steps of the tour stand in one line between 600 and 820 px', { skip: expected().real ? false : 'NO PAGE OF A REAL MODEL: ./x model fetches it' }, async () => {
  for (const width of [600, 700, 820]) {
    const o = await open(page('real.html'), { width, height: 600, hash: '#tour=4' });
    const p = o.page;
    const tops = await p.locator('.tour-steps li').evaluateAll((all) => all.map((li) => Math.round(li.getBoundingClientRect().top)));
    assert.equal(new Set(tops).size, 1, `${width}: ${tops}`);
    const nav = await p.locator('.tour-steps').boundingBox();
    assert.ok(nav.height < 100, `${width}: the steps take ${nav.height} px`);
    const title = await p.locator('#tour-title').boundingBox();
    assert.ok(title.y < 300, `${width}: the words begin at ${title.y}`);
    const over = await p.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(over <= 0, `${over} px wider than ${width}`);
    await clean(o);
  }
});
