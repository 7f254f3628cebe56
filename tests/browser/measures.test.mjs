// Scores by recipes colour the grid like any measure, and say that they are of the model and not of this text.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { closeAll, open, page } from './open.mjs';
import { csv, finish, save, texts } from './saving.mjs';
import { soon, test } from './testing.mjs';

after(closeAll);

test('the grid by the induction recipe', async () => {
  const o = await open(page('hostile.html'));
  await o.page.getByLabel('Colour by').selectOption({ label: 'Recipe: induction' });
  const label = (head) => o.page.locator(`[data-head="${head}"]`).getAttribute('aria-label');
  await o.page.waitForFunction(() => /Recipe: induction/.test(document.querySelector('[data-head="0.0"]').ariaLabel));
  await soon(async () => assert.match(await label('2.1'), /Recipe: induction 0\.51/));
  await soon(async () => assert.match(await label('1.2'), /Recipe: induction not a number/));
  const read = await o.page.locator('.read').textContent();
  assert.match(read, /token after the earlier copy/);
  assert.match(read, /on texts made for it: it says what the head can do, not what it does on this text/);
  await o.page.waitForFunction(() => /measure=recipe-induction/.test(location.hash));
  const [head, ...rows] = csv((await save(o, 'all heads as CSV')).bytes.toString());
  const column = head.indexOf('recipe-induction');
  assert.equal(Number(rows[7][column]), 0.51);
  assert.equal(rows[5][column], '');
  const said = texts((await save(o, 'the grid as SVG')).bytes.toString()).map((t) => t.said);
  assert.ok(said.includes('All 12 heads, coloured by recipe: induction'));
  await o.page.getByLabel('By measure').check();
  await soon(async () => assert.match(await o.page.locator('.grid .cell button').first().getAttribute('data-head'), /^3\.2$/));
  await finish(o);
});

test('where the page knows no recipes there are none to choose', async () => {
  const o = await open(page('long.html'));
  await soon(async () => assert.equal(await o.page.getByLabel('Colour by').locator('option', { hasText: 'Recipe' }).count(), 0));
  await finish(o);
});
