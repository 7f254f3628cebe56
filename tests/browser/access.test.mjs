// The page for everybody: by keyboard alone, by screen reader (axe-core finds nothing), at phone width, in both themes.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after } from 'node:test';
import { closeAll, open, page, settled } from './open.mjs';
import { soon, test } from './testing.mjs';

after(closeAll);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const sizes = { desktop: { width: 1400, height: 900 }, phone: { width: 390, height: 844 } };
const views = { grid: '', head: '#head=1.1&row=700', pooled: '#head=29.8', find: '#head=0.0&find=cat&first=hidden', side: '#head=1.1&with=0.0', difference: '#head=1.1&with=0.0&compare=difference' };

for (const colorScheme of ['light', 'dark']) {
  for (const [sizeName, size] of Object.entries(sizes)) {
    for (const [viewName, hash] of Object.entries(views)) {
      test(`axe finds nothing: ${viewName}, ${sizeName}, ${colorScheme}`, async () => {
        // The policy stays in force for the page's own tests; here axe itself must be let in.
        const o = await open(page('long.html'), { ...size, hash, colorScheme, bypassCSP: true });
        if (hash.includes('head')) {
          await settled(o.page);
          for (const summary of await o.page.locator('summary').all()) await summary.click();
        }
        await o.page.evaluate(axe);
        const result = await o.page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
        assert.ok(result.passes.length > 10, 'axe ran over nothing');
        const found = result.violations.map(
          (v) =>
            `${v.id}: ${v.nodes
              .map((n) => n.html.slice(0, 160))
              .slice(0, 4)
              .join(' | ')}`,
        );
        assert.deepEqual(found, []);
        const over = await o.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(over <= 0, `the page is ${over} px wider than the screen`);
        await o.close();
      });
    }
  }
}

test('by keyboard alone: from the grid to a cell and back', async () => {
  const o = await open(page('long.html'));
  const p = o.page;
  const focused = () =>
    p.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.textContent);
  for (let i = 0; i < 40 && !(await p.evaluate(() => document.activeElement?.matches('[data-head]'))); ++i) {
    await p.keyboard.press('Tab');
  }
  await soon(async () => assert.match(await focused(), /^Layer 0, head 0/));
  await p.keyboard.press('ArrowRight');
  await soon(async () => assert.match(await focused(), /^Layer 1, head 0/));
  await p.keyboard.press('ArrowDown');
  await soon(async () => assert.match(await focused(), /^Layer 1, head 1/));
  const ring = await p.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(ring, 'solid', 'the focus is visible');
  await p.keyboard.press('Enter');
  await p.waitForSelector('#map-how');
  await soon(async () => assert.equal(await p.evaluate(() => getComputedStyle(document.querySelector('main')).outlineStyle), 'none'));
  for (let i = 0; i < 40 && !(await p.evaluate(() => document.activeElement?.matches('.map-over'))); ++i) {
    await p.keyboard.press('Tab');
  }
  await soon(async () => assert.match(await focused(), /^Map of layer 1, head 1/));
  await p.keyboard.press('Enter'); // to the cells
  await p.waitForFunction(() => /at=/.test(location.hash));
  await p.keyboard.press('ArrowUp');
  await p.keyboard.press('Home');
  await soon(async () => assert.match(await p.locator('#readout').textContent(), /^1,998 .*\u2192 0 /));
  await p.keyboard.press('End');
  await p.keyboard.press('ArrowLeft');
  await soon(async () => assert.match(await p.locator('#readout').textContent(), /^1,998 .*\u2192 1,997 /));
  await p.waitForFunction(() => /^row 1,998 .* %/.test(document.querySelector('#live-row').textContent));
  const said = await p.locator('#live-row').textContent();
  assert.match(
    said,
    /^row 1,998 \u2018.*\u2019: [\d.]+ % to [\d,]+ \u2018.*\u2019, .* and [\d,]+ other tokens: [\d.<]+ ?[\d.]* ?%$/,
  );
  await p.keyboard.press('-');
  await p.keyboard.press('+');
  await p.keyboard.press('0');
  await p.waitForFunction(() => !/at=/.test(location.hash));
  // The text takes the arrow keys too.
  for (let i = 0; i < 40 && !(await p.evaluate(() => document.activeElement?.matches('.text'))); ++i) {
    await p.keyboard.press('Tab');
  }
  await p.keyboard.press('ArrowLeft');
  await p.waitForFunction(() => document.querySelector('.text .focused').dataset.i === '1997');
  await p.goBack();
  await p.waitForSelector('[role=grid]');
  assert.deepEqual(await p.evaluate(() => window.violations), []);
  assert.deepEqual(o.wrong, []);
  await o.close();
});

test('below the last row of heads there is none', async () => {
  const o = await open(page('long.html'));
  const p = o.page;
  const heads = await p.locator('[data-head]').evaluateAll((all) => all.map((b) => b.dataset.head));
  const last = Math.max(...heads.map((h) => Number(h.split('.')[1])));
  await p.locator(`[data-head="1.${last}"]`).focus();
  await p.keyboard.press('ArrowDown');
  await soon(async () => assert.equal(await p.evaluate(() => document.activeElement?.dataset.head), `1.${last}`));
  await o.close();
});

test('the browser\u2019s own keys are left to it', async () => {
  const o = await open(page('long.html'));
  const p = o.page;
  await p.evaluate(() => {
    window.taken = [];
    window.addEventListener('keydown', (e) => window.taken.push(e.defaultPrevented));
  });
  const focused = () => p.evaluate(() => document.activeElement?.dataset.head);
  await p.locator('[data-head="1.1"]').focus();
  for (const key of ['Alt+ArrowLeft', 'Meta+ArrowLeft', 'Control+ArrowLeft']) await p.keyboard.press(key);
  await soon(async () => assert.equal(await focused(), '1.1'));
  await p.keyboard.press('Control+Home');
  await soon(async () => assert.equal(await focused(), '0.0'));
  await p.keyboard.press('Enter');
  await settled(p);
  const row = () => p.evaluate(() => document.querySelector('.text .focused').dataset.i);
  const before = await row();
  await p.locator('.text').focus();
  for (const key of ['Alt+ArrowLeft', 'Meta+ArrowLeft', 'Control+ArrowUp', 'Alt+Home']) await p.keyboard.press(key);
  await soon(async () => assert.equal(await row(), before));
  // Of all of these Control+Home alone is the page's.
  await soon(async () => assert.equal((await p.evaluate(() => window.taken)).filter(Boolean).length, 1));
  await o.close();
});

test('a link to a view opens that view', async () => {
  const hash = '#head=1.1&row=812&key=640&at=700.00%2C700.00%2C400.00&scale=rank&pool=max&palette=cividis&first=hidden';
  const o = await open(page('long.html'), { hash });
  await settled(o.page);
  const checked = await o.page.locator('input:checked').evaluateAll((all) => all.map((i) => i.value));
  assert.deepEqual(checked, ['max', 'rank', 'hidden', 'row']);
  await soon(async () => assert.match(await o.page.locator('#readout').textContent(), /^812 .*\u2192 640 /));
  await o.page.getByRole('radio', { name: 'Log' }).check();
  await o.page.waitForFunction(() => !/scale=/.test(location.hash));
  const now = await o.page.evaluate(() => location.hash);
  assert.match(now, /at=700\.\d\d%2C700\.\d\d%2C(399|400)/, now);
  await o.close();
});

test('the theme can be switched, and the real page is accessible', async () => {
  const o = await open(page('real.html'), { colorScheme: 'light', bypassCSP: true });
  await o.page.getByRole('button', { name: 'Dark theme' }).click();
  await soon(async () => assert.equal(await o.page.evaluate(() => getComputedStyle(document.body).backgroundColor), 'rgb(14, 16, 20)'));
  await o.page.evaluate(axe);
  const result = await o.page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  assert.deepEqual(
    result.violations.map((v) => v.id),
    [],
  );
  await o.close();
});
