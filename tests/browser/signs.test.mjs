// What stands on the grid's squares and on tokens that would not be seen, and what is kept: which heads are exact, which
// are worth a look and why, blank tokens, a text of one token, the focus on the way back, the theme, system colours.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { closeAll, open, page, settled } from './open.mjs';
import { bin, model } from './serving.mjs';
import { soon, test } from './testing.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'bareattn-signs-'));
after(async () => {
  await closeAll();
  rmSync(folder, { recursive: true });
});
const clean = async (o) => {
  assert.deepEqual(await o.page.evaluate(() => window.violations), []);
  assert.deepEqual(o.wrong, []);
  await o.close();
};
const dataOf = (file) => JSON.parse(readFileSync(file, 'utf8').match(/id="page-data">(.*?)<\/script>/s)[1]);
const made = (name, ...more) => {
  const file = join(folder, name);
  execFileSync(bin, ['look', '-m', model, '-o', file, ...more], { stdio: ['ignore', 'ignore', 'inherit'] });
  return file;
};

test('the grid marks the exact heads and says in a word why one is worth a look', async () => {
  const text = readFileSync(join(root, 'examples', 'text', 'alice.txt'), 'utf8').slice(0, 2000);
  const file = made('some.html', '--text', text, '--exact', '7.1,11.2');
  const data = dataOf(file);
  const told = JSON.parse(execFileSync(bin, ['look', '-m', model, '--text', text, '--json']));
  const name = (h) => `${Math.floor(h / data.model.heads)}.${h % data.model.heads}`;
  assert.deepEqual(
    data.highlights.map(({ head, id, title, evidence }) => ({ head: name(head), id, title, evidence })),
    told.highlights.map(({ head, id, title, evidence }) => ({ head, id, title, evidence })),
  );
  const o = await open(file);
  const exact = o.page.locator('[role=gridcell] button[aria-label*=", exact"]');
  await soon(async () => assert.deepEqual(await exact.evaluateAll((all) => all.map((b) => b.dataset.head)), ['7.1', '11.2']));
  const words = await o.page
    .locator('[role=gridcell] .word')
    .evaluateAll((all) => Object.fromEntries(all.map((w) => [w.parentElement.querySelector('button').dataset.head, w.textContent])));
  assert.deepEqual(Object.keys(words).sort(), told.highlights.map((h) => h.head).sort());
  const known = { pointer: 'points', 'previous-token': 'before', hub: 'hub', broad: 'broad', 'first-token': 'first', self: 'self', far: 'far', local: 'near' };
  for (const h of told.highlights) {
    assert.equal(words[h.head], known[h.id]);
    await o.page.locator(`[data-head="${h.head}"]`).hover();
    const said = await o.page.locator('.hovered').textContent();
    assert.ok(said.includes(`${h.title}: ${h.evidence}`), said);
  }
  await soon(async () => assert.match(await o.page.locator('.marks').textContent(), /exact: each cell from Q and K. Without: pooled/));
  // The mark is really drawn: beside the square's edge the colour of its corner is interrupted by that of the letter.
  await o.page.waitForFunction(() => performance.getEntriesByName('bareattn-grid-painted').length > 0);
  const marked = await o.page.evaluate(() => {
    const canvas = document.querySelector('.grid-canvas');
    const box = canvas.getBoundingClientRect();
    const k = canvas.width / box.width;
    const c = canvas.getContext('2d', { willReadFrequently: true });
    return [...document.querySelectorAll('[data-head]')]
      .filter((b) => {
        const { x, y, width } = b.getBoundingClientRect();
        const at = (u, v) => c.getImageData((x - box.x + u * width) * k, (y - box.y + v * width) * k, 1, 1).data;
        const [dot, beside] = [at(0.84, 0.48), at(0.84, 0.62)];
        return Math.abs(dot[0] - beside[0]) + Math.abs(dot[1] - beside[1]) + Math.abs(dot[2] - beside[2]) > 120;
      })
      .map((b) => b.dataset.head);
  });
  assert.deepEqual(marked.sort(), ['11.2', '7.1']);
  o.wrong = o.wrong.filter((w) => !/readback/.test(w)); // of this test's own looking
  await clean(o);
});

test('where all heads are exact none is marked, and that is said', async () => {
  const o = await open(page('hostile.html'));
  await soon(async () => assert.match(await o.page.locator('.marks').textContent(), /All are exact/));
  await soon(async () => assert.equal(await o.page.locator('[aria-label*=", exact"]').count(), 0));
  await clean(o);
});

test('a text of one token is shown without numbers that are none', async () => {
  const o = await open(made('one.html', '--text', 'The'));
  const all = await o.page.locator('body').evaluate((body) => body.innerText);
  assert.ok(!/\u221E|Infinity|NaN|\b1 tokens/.test(all), all);
  assert.match(all, /1 token\n/);
  await o.page.locator('[role=gridcell] button').first().click();
  await settled(o.page);
  const head = await o.page.locator('body').evaluate((body) => body.innerText);
  assert.ok(!/\u221E|Infinity|NaN|\b1 tokens/.test(head), head);
  await soon(async () => assert.match(await o.page.locator('.text').getAttribute('aria-label'), /^The text, 1 token\./));
  await clean(o);
});

test('a token that would not be seen has a sign, and the text stays what it is', async () => {
  const text = 'One\n\n    two \u{1F98A} \u200B three\tfour\u00A0\u00A0 five';
  const file = made('blank.html', '--text', text);
  const { tokens } = dataOf(file);
  const o = await open(file, { hash: '#head=7.1' });
  const spans = await o.page.locator('.text span').evaluateAll((all) =>
    all.map((s) => [s.textContent, getComputedStyle(s, '::before').content, s.getBoundingClientRect().width]),
  );
  assert.deepEqual(spans.map((s) => s[0]), tokens);
  let blank = 0;
  spans.forEach(([token, sign]) => {
    const seen = /[^\s\u200B\u00A0]/u.test(token);
    if (!seen) ++blank;
    assert.equal(sign === 'none' || sign === 'normal', seen, JSON.stringify([token, sign]));
  });
  assert.ok(blank >= 4, `${blank} blank tokens`);
  // Focused one after the other, each is named by something that can be seen, wherever it is named.
  for (const [row, token] of tokens.entries()) {
    if (/[^\s\u200B\u00A0]/u.test(token)) continue;
    await o.page.evaluate((r) => (location.hash = `#head=7.1&row=${r}&key=${r}`), row);
    await o.page.waitForFunction((r) => document.querySelector('#row-title').textContent.startsWith(`Row ${r} `), row);
    for (const where of ['#row-title q', '#readout .pair']) {
      const said = await o.page.locator(where).textContent();
      assert.match(said, /[\u2423\u23CE\u21E5\u22EF\u2039]/u, `${where} of ${JSON.stringify(token)}: ${said}`);
    }
  }
  await clean(o);
});

test('after Escape, Back and the button the focus is on the head that was left', async () => {
  const o = await open(page('long.html'));
  const leave = {
    Escape: async () => {
      await o.page.locator('.map-over').focus();
      await o.page.keyboard.press('Escape');
    },
    back: () => o.page.goBack(),
    button: () => o.page.getByRole('button', { name: 'All heads' }).click(),
  };
  for (const [how, head] of [['Escape', '17.4'], ['back', '3.8'], ['button', '29.0']]) {
    await o.page.locator(`[data-head="${head}"]`).click();
    await o.page.waitForSelector('#map-how');
    await leave[how]();
    await o.page.waitForSelector('[role=grid]');
    await o.page.waitForFunction((h) => document.activeElement?.dataset.head === h, head);
    // The arrows go on from there.
    await o.page.keyboard.press('ArrowLeft');
    const [layer, h] = head.split('.').map(Number);
    await soon(async () => assert.equal(await o.page.evaluate(() => document.activeElement.dataset.head), `${layer - 1}.${h}`));
  }
  await clean(o);
});

test('the search says which match of how many is in focus', async () => {
  const { tokens } = dataOf(page('long.html'));
  const matches = tokens.flatMap((t, i) => (t === ' Alice' && i ? [i] : []));
  const o = await open(page('long.html'), { hash: '#head=1.1&row=0&find=%20Alice' });
  assert.ok(matches.length >= 3);
  const said = () => o.page.locator('.found-count').textContent();
  await soon(async () => assert.equal(await said(), `${matches.length} found`));
  for (let i = 0; i < 3; ++i) {
    await o.page.getByRole('button', { name: 'Next match' }).click();
    await soon(async () => assert.equal(await said(), `${i + 1} of ${matches.length}`));
  }
  await o.page.getByRole('button', { name: 'Previous match' }).click();
  await soon(async () => assert.equal(await said(), `2 of ${matches.length}`));
  await clean(o);
});

test('the chosen theme is kept, and where nothing can be kept it is for this visit', async () => {
  const o = await open(page('hostile.html'), { colorScheme: 'light' });
  const ground = (p) => p.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await o.page.getByRole('button', { name: 'Dark theme' }).click();
  await soon(async () => assert.equal(await ground(o.page), 'rgb(14, 16, 20)'));
  await o.page.reload();
  await o.page.waitForSelector('[role=gridcell]');
  await soon(async () => assert.equal(await ground(o.page), 'rgb(14, 16, 20)'));
  await o.page.getByRole('button', { name: 'Light theme' }).click();
  await o.page.reload();
  await o.page.waitForSelector('[role=gridcell]');
  await soon(async () => assert.equal(await ground(o.page), 'rgb(247, 244, 238)'));
  await o.page.addInitScript(() =>
    Object.defineProperty(window, 'localStorage', {
      get() {
        throw new DOMException('refused', 'SecurityError');
      },
    }),
  );
  await o.page.reload();
  await o.page.getByRole('button', { name: 'Dark theme' }).click();
  await soon(async () => assert.equal(await ground(o.page), 'rgb(14, 16, 20)'));
  await clean(o);
});

test('with the colours of the system everything is still seen', async () => {
  const o = await open(page('hostile.html'), { forcedColors: 'active', hash: '#head=0.1&row=90' });
  await settled(o.page);
  const style = (selector, name) =>
    o.page.locator(selector).first().evaluate((node, n) => getComputedStyle(node)[n], name);
  // The weights in the text, the bars of the row, the chosen option, and the map upon its own ground.
  const grounds = await o.page
    .locator('.text span[style*=background]')
    .evaluateAll((all) => all.map((s) => getComputedStyle(s).backgroundColor));
  assert.ok(new Set(grounds).size > 5, `${new Set(grounds).size} colours in the text`);
  await soon(async () => assert.notEqual(await style('.keys .bar', 'backgroundColor'), await style('.row-panel', 'backgroundColor')));
  await soon(async () => assert.notEqual(await style('.options label.on', 'backgroundColor'), await style('.options label:not(.on)', 'backgroundColor')));
  const own = await o.page.evaluate(() => getComputedStyle(document.documentElement).getPropertyValue('--card').trim());
  const hex = (await style('.map', 'backgroundColor')).match(/\d+/g).map((v) => Number(v).toString(16).padStart(2, '0'));
  assert.equal(`#${hex.join('')}`, own);
  await o.page.evaluate(() => (location.hash = '#'));
  await o.page.waitForSelector('[role=grid]');
  await soon(async () => assert.equal(await style('.cell button', 'borderTopStyle'), 'solid'));
  await clean(o);
});
