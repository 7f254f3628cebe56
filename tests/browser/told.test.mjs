// What is said so that nobody takes it for something else: every head has its name in every order, two heads and their
// numbers are told apart, the minimap is never blank, what the switches do, pages of two runs explain differences, the
// first row is one that can be seen, each line begins at its own side, code stands in columns, licences are in the page.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { closeAll, open, page, settled } from './open.mjs';
import { finish, save, texts } from './saving.mjs';
import { bin, model } from './serving.mjs';
import { soon, test } from './testing.mjs';

const folder = mkdtempSync(join(tmpdir(), 'bareattn-told-'));
after(async () => {
  await closeAll();
  rmSync(folder, { recursive: true });
});
const made = (name, text) => {
  const file = join(folder, name);
  execFileSync(bin, ['look', '-m', model, '--text', text, '--lesson', '', '-o', file], { stdio: ['ignore', 'ignore', 'inherit'] });
  return file;
};

test('in the order of a measure every head stands under its name, in the saved picture too', async () => {
  const o = await open(page('hostile.html'));
  await o.page.getByLabel('By measure').check();
  const names = await soon(async () => {
    const all = await o.page
      .locator('[role=gridcell]')
      .evaluateAll((cells) => cells.map((c) => [c.querySelector('button').dataset.head, c.querySelector('.cell-name')?.textContent]));
    assert.equal(all.length, 12);
    for (const [head, name] of all) assert.equal(name, head);
    return all.map(([head]) => head);
  });
  // Under its square, not upon the next.
  const boxes = await o.page
    .locator('.cell')
    .evaluateAll((cells) => cells.map((c) => [c.querySelector('button'), c.querySelector('.cell-name')].map((e) => e.getBoundingClientRect())));
  for (const [square, name] of boxes) assert.ok(name.top >= square.bottom - 1 && name.height < 20, JSON.stringify([square, name]));
  const said = texts((await save(o, 'the grid as SVG')).bytes.toString()).map((t) => t.said);
  for (const name of names) assert.ok(said.includes(name), `${name} is not in the picture`);
  await finish(o);
});

test('two heads and what they give are told apart', async () => {
  const o = await open(page('hostile.html'), { hash: '#head=0.1&with=0.2&row=100&key=50' });
  const number = '(?:< )?[\\d.]+ %';
  await soon(async () =>
    assert.match(
      await o.page.locator('#readout').textContent(),
      new RegExp(`head 0\\.1: ${number}; head 0\\.2: ${number}; difference: \u2212?${number}$`),
    ),
  );
  await soon(async () => assert.match(await o.page.locator('.alike').textContent(), /most like it: 0\.\d \([\d.]+ % of the weight in common\)/));
  const heads = await o.page.locator('.compare-panel thead th').allTextContents();
  assert.deepEqual(heads, ['Key', 'head 0.1', 'head 0.2', 'Difference']);
  await finish(o);
});

test('the minimap is never blank: largest weights by what keys receive, and times what they carry', async () => {
  for (const [file, hash] of [['hostile', '#head=0.1&pool=max&norm=key'], ['hostile', '#head=0.1&pool=max'], ['real', '#head=11.2&pool=max&value=weighted']]) {
    const o = await open(page(`${file}.html`), { kind: 'flat', hash });
    await settled(o.page);
    const colours = () =>
      o.page.locator('.map-mini').evaluate((canvas) => {
        const { data } = canvas.getContext('2d').getImageData(8, 8, canvas.width - 16, canvas.height - 16);
        const seen = new Set();
        for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 0) seen.add(data[i] * 65536 + data[i + 1] * 256 + data[i + 2]);
        return seen.size;
      });
    await soon(async () => assert.ok((await colours()) > 15, `${hash}: ${await colours()} colours`));
    o.wrong = o.wrong.filter((w) => !/readback/.test(w)); // of this test's own looking
    await finish(o);
  }
});

test('every switch says what it does', async () => {
  for (const hash of ['', '#head=0.1&with=0.2', '#layers=2,2']) {
    const o = await open(page('hostile.html'), { hash });
    await o.page.locator('.options label').first().waitFor();
    const all = await o.page
      .locator('.options label, .chip, .choice:has(select)')
      .evaluateAll((labels) => labels.map((l) => [l.textContent, l.title]));
    assert.ok(all.length > 4, `${all.length} switches`);
    const silent = all.filter(([name, title]) => title.length < 12 && !/^(Layer|with layer)/.test(name));
    assert.deepEqual(silent, [], hash);
    await finish(o);
  }
});

test('a page of two runs explains differences, a page of one brightness', async () => {
  for (const name of ['a', 'b']) execFileSync(bin, ['trace', '-m', model, '--text', 'The cat sat on the mat.', '-o', join(folder, name)]);
  const two = join(folder, 'two.html');
  execFileSync(bin, ['page', join(folder, 'a'), '--against', join(folder, 'b'), '-o', two]);
  const o = await open(two);
  const prose = () => o.page.locator('.prose p').first().textContent();
  await soon(async () => assert.match(await prose(), /orange cells have more weight in B than in A/));
  assert.doesNotMatch(await prose(), /[Bb]right/);
  await o.page.locator('.runs input[value=second]').check();
  await soon(async () => assert.match(await prose(), /Bright cells carry more/));
  await finish(o);
});

test('the row at first is the last one that can be seen', async () => {
  const o = await open(made('newline.html', 'The cat sat on the mat.\n\n'), { hash: '#head=7.1' });
  await settled(o.page);
  await soon(async () => assert.match(await o.page.locator('#row-title q').textContent(), /\S/));
  const { token, after } = await o.page.evaluate(() => {
    const focused = document.querySelector('.text .focused');
    return { token: focused.textContent, after: focused.nextSibling?.textContent ?? '' };
  });
  assert.match(token, /[^\s]/);
  assert.match(after, /^\s+$/);
  await finish(o);
});

test('each line begins at the side of its own writing', async () => {
  const text = 'English first.\n\u05E9\u05DC\u05D5\u05DD \u05E2\u05D5\u05DC\u05DD\n\u0645\u0631\u062D\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645\nAnd English again.';
  const o = await open(made('sides.html', text), { hash: '#head=7.1' });
  await settled(o.page);
  const { left, right, lines } = await o.page.evaluate(() => {
    const pane = document.querySelector('.text');
    const box = pane.getBoundingClientRect();
    const style = getComputedStyle(pane);
    const lines = new Map();
    for (const span of pane.querySelectorAll('span')) {
      if (!span.textContent.trim()) continue;
      for (const r of span.getClientRects()) {
        const line = lines.get(Math.round(r.top / 10)) ?? { left: Infinity, right: -Infinity, text: '' };
        lines.set(Math.round(r.top / 10), { left: Math.min(line.left, r.left), right: Math.max(line.right, r.right), text: line.text + span.textContent });
      }
    }
    return { left: box.left + parseFloat(style.paddingLeft), right: box.right - parseFloat(style.paddingRight), lines: [...lines.values()] };
  });
  assert.ok(lines.length >= 4, JSON.stringify(lines));
  let [fromLeft, fromRight] = [0, 0];
  for (const line of lines) {
    if (/[\u0590-\u06FF]/.test(line.text)) {
      assert.ok(right - line.right < 30 && line.left - left > 60, JSON.stringify({ line, left, right }));
      ++fromRight;
    } else if (/[A-Za-z]/.test(line.text)) {
      assert.ok(line.left - left < 30, JSON.stringify({ line, left, right }));
      ++fromLeft;
    }
  }
  assert.ok(fromLeft >= 2 && fromRight >= 2, `${fromLeft} from the left, ${fromRight} from the right`);
  await finish(o);
});

test('code stands in letters of one width, prose does not', async () => {
  const code = 'int main() {\n  int illi = 1;\n  int WWWW = 2;\n  return illi + WWWW;\n}\n';
  const font = async (text, name) => {
    const o = await open(made(name, text), { hash: '#head=7.1' });
    await settled(o.page);
    const family = await o.page.locator('.text').evaluate((pane) => getComputedStyle(pane).fontFamily);
    await finish(o);
    return family;
  };
  assert.match(await font(code, 'code.html'), /mono/i);
  assert.doesNotMatch(await font('The cat sat on the mat.\nIt was tired, and it slept.\nThen it woke.', 'prose.html'), /mono/i);
});

test('the notices of the licences are in the page, whole', async () => {
  const modules = fileURLToPath(new URL('../../viewer/node_modules', import.meta.url));
  const o = await open(page('hostile.html'));
  await o.page.getByText('About this page and its licences').click();
  const shown = (await o.page.locator('.about').textContent()).replace(/\s+/g, ' ');
  for (const name of ['preact', 'd3-zoom', 'd3-selection', 'd3-scale-chromatic', 'd3-interpolate', 'd3-color', 'd3-ease', 'd3-transition']) {
    const { version } = JSON.parse(readFileSync(join(modules, name, 'package.json'), 'utf8'));
    assert.ok(shown.includes(`${name} ${version}`), `${name} is not named`);
    const licence = readFileSync(join(modules, name, 'LICENSE'), 'utf8').trim().replace(/\s+/g, ' ');
    assert.ok(licence.length > 300 && shown.includes(licence), `the notice of ${name} is not there`);
  }
  assert.match(shown, /Apache License/);
  await finish(o);
});
