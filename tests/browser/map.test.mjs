// The map itself: what it draws, read off its pixels; that the hand moves it (wheel, two fingers, minimap); that its number,
// its legend and how exact it is are on the screen, true, and told to those who cannot see it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { closeAll, expected, open, page, settled } from './open.mjs';
import { bin, model } from './serving.mjs';
import { soon, test } from './testing.mjs';

const folder = mkdtempSync(join(tmpdir(), 'bareattn-map-'));
after(async () => {
  await closeAll();
  rmSync(folder, { recursive: true });
});
const clean = async (o) => {
  assert.deepEqual(await o.page.evaluate(() => window.violations), []);
  // The browser's remark on this file's own looking is none on the page.
  assert.deepEqual(o.wrong.filter((w) => !/Multiple readback/.test(w)), []);
  await o.close();
};
const near = (a, b, within, what) => assert.ok(Math.abs(a - b) <= within, `${what}: ${a}, not ${b} within ${within}`);
const hashOf = (p) => p.evaluate(() => decodeURIComponent(location.hash));
const viewOf = async (p) => (await hashOf(p)).match(/at=([\d.,-]+)/)?.[1].split(',').map(Number) ?? null;
/// Where a cell of the whole map lies on the screen.
const pointOf = async (p, n, row, key) => {
  const box = await p.locator('.map-cells').first().boundingBox();
  const unit = Math.min(box.width, box.height) / n;
  return { x: box.x + (key + 0.5) * unit, y: box.y + (row + 0.5) * unit };
};

/// RGBA of the middles of [row, key] cells of the whole map of n tokens, by the 2D canvas.
const colours = (p, n, cells, which = 0) =>
  p.evaluate(
    ([n, cells, which]) => {
      const canvas = document.querySelectorAll('.map-cells')[which];
      const c = canvas.getContext('2d', { willReadFrequently: true });
      const unit = Math.min(canvas.width, canvas.height) / n;
      return cells.map(([r, k]) => [...c.getImageData((k + 0.5) * unit, (r + 0.5) * unit, 1, 1).data]);
    },
    [n, cells, which],
  );
/// The bar of the legend as it stands, RGB from one end to the other.
const barOf = (p) =>
  p.locator('.scale canvas').evaluate((canvas) => {
    const { data } = canvas.getContext('2d').getImageData(0, 4, canvas.width, 1);
    return Array.from({ length: canvas.width }, (_, x) => [...data.slice(4 * x, 4 * x + 3)]);
  });
/// Where a colour stands on the bar, 0..1; one that is not on it is an error.
const placeOn = (bar, rgba) => {
  const far = bar.map((c) => Math.hypot(...c.map((v, i) => v - rgba[i])));
  const at = far.indexOf(Math.min(...far));
  assert.ok(far[at] < 8, `${rgba} is no colour of the legend`);
  return at / (bar.length - 1);
};
const { tokens, head, rows } = expected().hostile;
const n = tokens.length;
const name = head.join('.');
const last = rows[n - 1].weights;
const line = Array.from({ length: n }, (_, k) => [n - 1, k]);
const flat = (hash, more = {}) => open(page('hostile.html'), { kind: 'flat', hash, ...more });
const STEP = 1.5 / 127; // of the legend's bar, and the table's own

test('log: each cell has the colour of its weight on the legend', async () => {
  const o = await flat(`#head=${name}`);
  await settled(o.page);
  await soon(async () => {
    const bar = await barOf(o.page);
    (await colours(o.page, n, line)).forEach((c, k) =>
      near(placeOn(bar, c), Math.max(0, 1 + Math.log2(last[k]) / 16), STEP + 0.002, `key ${k} of ${last[k]}`),
    );
  });
  await clean(o);
});

test('linear: the colour is in proportion to the weight, up to the legend\u2019s end', async () => {
  const o = await flat(`#head=${name}&scale=linear`);
  await settled(o.page);
  await soon(async () => {
    const bar = await barOf(o.page);
    const top = parseFloat((await o.page.locator('.ticks span').allTextContents()).at(-1)) / 100;
    assert.ok(top > 0 && top <= 1, `the legend ends at ${top}`);
    const drawn = (await colours(o.page, n, line)).map((c) => placeOn(bar, c));
    drawn.forEach((t, k) => near(t, Math.min(1, last[k] / top), STEP + 0.006, `key ${k} of ${last[k]}`));
    assert.ok(Math.max(...drawn) - Math.min(...drawn) > 0.1, 'one colour only');
  });
  await clean(o);
});

test('rank: a stronger cell is never darker, and all of the bar is used', async () => {
  const o = await flat(`#head=${name}&scale=rank`);
  await settled(o.page);
  const whole = Array.from({ length: n }, (_, r) => Array.from({ length: r + 1 }, (_, k) => [r, k])).flat();
  // Ranks are counted once more when the cells are there.
  await soon(async () => {
    const bar = await barOf(o.page);
    const drawn = (await colours(o.page, n, line)).map((c, k) => ({ t: placeOn(bar, c), w: last[k] }));
    drawn.sort((a, b) => a.w - b.w);
    for (let i = 1; i < drawn.length; ++i) assert.ok(drawn[i].t >= drawn[i - 1].t - STEP, JSON.stringify(drawn.slice(i - 1, i + 1)));
    // Half of all cells lie below the middle of the bar.
    const all = (await colours(o.page, n, whole)).map((c) => placeOn(bar, c));
    near(all.filter((t) => t < 0.5).length / all.length, 0.5, 0.05, 'cells below the middle');
  });
  await soon(async () => assert.deepEqual(await o.page.locator('.ticks span').allTextContents(), ['weakest', 'middle', 'strongest']));
  await clean(o);
});

for (const scale of ['linear', 'rank']) {
  test(`${scale}: of two maps side by side equal colours are equal weights`, async () => {
    const o = await flat(`#head=1.2&with=0.2&scale=${scale}&first=hidden&pool=max`);
    await o.page.waitForFunction(() => document.querySelectorAll('.map-over').length === 2);
    await settled(o.page);
    await soon(() => sameColours(o));
    await soon(async () => assert.match(await o.page.locator('.scale .what').textContent(), /alike in both maps/));
    await clean(o);
  });
}

/// Of two maps side by side, cells of equal colours are of equal weights.
async function sameColours(o) {
  const bar = await barOf(o.page);
  const said = [];
  for (const row of [n - 1, 90, 60]) {
    await o.page.evaluate((r) => (location.hash = location.hash.replace(/&row=\d+/, '') + `&row=${r}`), row);
    await o.page.waitForFunction((r) => document.querySelector('#row-title-other')?.textContent.includes(`Row ${r} `), row);
    for (const which of [0, 1]) {
      const keys = await o.page
        .locator('.row-panel:not(.compare-panel)').nth(which).locator('li')
        .evaluateAll((all) => all.map((li) => [Number(li.querySelector('.at').textContent), Number(li.querySelector('data').value)]));
      const seen = keys.filter(([k]) => k > 0);
      const drawn = await colours(o.page, n, seen.map(([k]) => [row, k]), which);
      seen.forEach(([, w], i) => said.push({ which, w, t: placeOn(bar, drawn[i]) }));
    }
  }
  said.sort((a, b) => a.w - b.w);
  let mixed = 0;
  for (let i = 1; i < said.length; ++i) {
    assert.ok(said[i].t >= said[i - 1].t - STEP, JSON.stringify(said.slice(i - 1, i + 1)));
    mixed += said[i].which !== said[i - 1].which;
  }
  assert.ok(mixed > 5, `the two maps have no weights alike: ${mixed}`);
}

test('the first token can be hidden, and nothing else goes with it', async () => {
  const o = await flat(`#head=${name}`);
  await settled(o.page);
  const alpha = async () => (await colours(o.page, n, [[n - 1, 0], [60, 0], [n - 1, 1], [n - 1, n - 1]])).map((c) => c[3]);
  await soon(async () => assert.deepEqual(await alpha(), [255, 255, 255, 255]));
  await o.page.locator('input[value=hidden]').check();
  await settled(o.page);
  await soon(async () => assert.deepEqual(await alpha(), [0, 0, 255, 255]));
  await soon(async () => assert.match(await o.page.locator('.text-note').textContent(), /the first token is left out/));
  await clean(o);
});

test('the wheel zooms, and what is under the pointer stays there', async () => {
  const o = await flat(`#head=${name}`);
  await settled(o.page);
  const at = await pointOf(o.page, n, 80, 40);
  await o.page.mouse.move(at.x, at.y);
  const said = () => o.page.locator('#readout .pair').textContent();
  await o.page.waitForFunction(() => /^80 /.test(document.querySelector('#readout').textContent));
  const before = await said();
  for (let i = 0; i < 5; ++i) await o.page.mouse.wheel(0, -240);
  await o.page.waitForFunction(() => /at=/.test(location.hash));
  await soon(async () => {
    const [, , span] = await viewOf(o.page);
    assert.ok(span < n / 3, `${span} tokens across`);
  });
  await o.page.mouse.move(at.x + 1, at.y + 1);
  await soon(async () => assert.equal(await said(), before));
  for (let i = 0; i < 9; ++i) await o.page.mouse.wheel(0, 240);
  await o.page.waitForFunction(() => !/at=/.test(location.hash));
  await clean(o);
});

test('two fingers zoom, one does not', async () => {
  const o = await flat(`#head=${name}`, { width: 390, height: 844, hasTouch: true, isMobile: true });
  await settled(o.page);
  const { x, y } = await pointOf(o.page, n, 80, 40);
  const cdp = await o.page.context().newCDPSession(o.page);
  const touch = (type, ...points) =>
    cdp.send('Input.dispatchTouchEvent', { type, touchPoints: points.map((dx, id) => ({ x: x + dx, y, id })) });
  await touch('touchStart', 0);
  for (let d = 0; d <= 40; d += 8) await touch('touchMove', d);
  await touch('touchEnd');
  await o.page.waitForTimeout(400);
  await soon(async () => assert.equal(await viewOf(o.page), null));
  await touch('touchStart', -10, 10);
  for (let d = 10; d <= 50; d += 5) await touch('touchMove', -d, d);
  await touch('touchEnd');
  await o.page.waitForFunction(() => /at=/.test(location.hash));
  const box = await o.page.locator('.map-cells').boundingBox();
  await soon(async () => {
    const [vx, vy, span] = await viewOf(o.page);
    near(span, n / 5, n / 20, 'tokens across');
    near(vx + (x - box.x - box.width / 2) * (span / box.width), 40.5, 1, 'the key between the fingers');
    near(vy + (y - box.y - box.height / 2) * (span / box.width), 80.5, 1, 'the row between the fingers');
  });
  await clean(o);
});

test('a click in the minimap moves there', async () => {
  const o = await flat(`#head=${name}&at=20,20,24`);
  await settled(o.page);
  const box = await o.page.locator('.map-mini').boundingBox();
  await o.page.mouse.click(box.x + box.width * 0.25, box.y + box.height * 0.75);
  await o.page.waitForFunction(() => /at=(?!20)/.test(decodeURIComponent(location.hash)));
  await soon(async () => {
    const [x, y, span] = await viewOf(o.page);
    near(x, n * 0.25, 1.5, 'key');
    near(y, n * 0.75, 1.5, 'row');
    near(span, 24, 0.1, 'as near as before');
  });
  await clean(o);
});

test('the pointer over a row colours the text by that row, for as long as it is there', async () => {
  const o = await flat(`#head=${name}`);
  await settled(o.page);
  const strongest = (w) => w.indexOf(Math.max(...w.slice(1)));
  const ground = (i) => o.page.locator(`.text span[data-i="${i}"]`).evaluate((s) => s.style.backgroundColor);
  const here = strongest(rows[5].weights);
  const resting = await ground(here);
  const { x, y } = await pointOf(o.page, n, 5, here);
  await o.page.mouse.move(x, y);
  await o.page.waitForFunction(() => /row 5 gives/.test(document.querySelector('.text-note').textContent));
  await soon(async () => assert.notEqual(await ground(here), resting));
  await soon(async () => assert.match(await ground(here), /rgb/));
  await soon(async () => assert.equal(await ground(60), '', 'row 5 does not see token 60'));
  await soon(async () => assert.match(await o.page.locator('#readout').textContent(), new RegExp(`^5 .*\u2192 ${here} `)));
  await o.page.mouse.move(2, 2);
  await o.page.waitForFunction(() => /row 119 gives/.test(document.querySelector('.text-note').textContent));
  await soon(async () => assert.equal(await ground(here), resting));
  await clean(o);
});

test('figures stand in whole cells only', async () => {
  const o = await flat(`#head=${name}&row=119&key=0&at=60.5,70.5,10`);
  await settled(o.page);
  // How much is written in the cells of one column of the screen: the cut one at the left edge, and the next.
  const written = await o.page.evaluate(() => {
    const over = document.querySelector('.map-over');
    const cells = document.querySelector('.map-cells');
    const left = parseFloat(cells.style.left);
    const scale = cells.clientWidth / 10;
    const c = over.getContext('2d', { willReadFrequently: true });
    const ink = (from, to) => {
      const { data } = c.getImageData(left + from * scale + 2, 2, (to - from) * scale - 4, cells.clientHeight - 4);
      let sum = 0;
      for (let i = 3; i < data.length; i += 4) sum += data[i] > 0;
      return sum;
    };
    return { cut: ink(0, 0.5), whole: ink(0.5, 1.5), last: ink(9.5, 10) };
  });
  assert.ok(written.whole > 100, JSON.stringify(written));
  assert.deepEqual([written.cut, written.last], [0, 0], JSON.stringify(written));
  await clean(o);
});

const views = { exact: '#head=1.1', pooled: '#head=29.8', side: '#head=1.1&with=29.8', difference: '#head=1.1&with=0.0&compare=difference' };
for (const [width, height] of [[1280, 720], [1366, 768], [1440, 900], [1536, 864]]) {
  test(`number, legend and exactness are on the screen of ${width} x ${height}`, async () => {
    for (const [view, hash] of Object.entries(views)) {
      const o = await open(page('long.html'), { hash, width, height });
      await settled(o.page);
      for (const part of ['#readout', '.scale .what', '#map-how']) {
        const box = await o.page.locator(part).boundingBox();
        assert.ok(box.height > 8 && box.y + box.height <= height, `${view}: ${part} ends at ${box.y + box.height}`);
      }
      const map = await o.page.locator('.map').first().boundingBox();
      assert.ok(map.height >= 280 && map.width >= 280, `${view}: a map of ${map.width} x ${map.height}`);
      await clean(o);
    }
  });
}

test('on a phone the map comes first, and nothing is wider than the screen', async () => {
  for (const width of [320, 390, 640]) {
    for (const [view, hash] of Object.entries(views)) {
      const o = await open(page('long.html'), { hash, width, height: 844 });
      await settled(o.page);
      const map = await o.page.locator('.map').first().boundingBox();
      assert.ok(map.y <= 300, `${view} at ${width}: the map begins at ${map.y}`);
      await o.page.locator('.switches summary').click();
      await soon(async () => assert.ok(await o.page.getByLabel('Compare with').isVisible()));
      const over = await o.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(over <= 0, `${view}: ${over} px wider than ${width}`);
      await clean(o);
    }
  }
});

test('how exact it is is said of what is drawn, of each of two maps', async () => {
  const o = await open(page('long.html'), { hash: '#head=1.1&with=29.8' });
  await o.page.waitForFunction(() => document.querySelectorAll('.map-over').length === 2);
  await settled(o.page);
  const said = () => o.page.locator('#map-how > span').allTextContents();
  await o.page.waitForFunction(() => !/on their way/.test(document.querySelector('#map-how').textContent));
  const [one, two, cells] = await said();
  assert.match(one, /^layer 1, head 1: exact, recomputed here from Q, K and LSE; (\d) \u00D7 \1 tokens a cell$/);
  assert.match(two, /^layer 29, head 8: pooled 16 \u00D7 16: /);
  assert.match(cells, /^For its cells make the page with --exact 29\.8, or/);
  await soon(async () => assert.equal(await o.page.locator('#map-how.exact').count(), 0));
  await o.page.getByRole('button', { name: 'Cells' }).click();
  await o.page.waitForFunction(() => /LSE$/.test(document.querySelector('#map-how > span').textContent));
  // Both are listed, once the view is still.
  await o.page.waitForFunction(() => /view, exact/.test(document.querySelector('.map-panel caption')?.textContent));
  const captions = await o.page.locator('.map-panel caption').evaluateAll((all) => all.map((c) => c.textContent));
  assert.equal(captions.length, 2);
  assert.match(captions[0], /^layer 1, head 1: The \d+ strongest cells in view, exact/);
  assert.match(captions[1], /^layer 29, head 8: The \d+ strongest cells in view, pooled/);
  await o.page.getByLabel('Compare with').selectOption({ label: 'no other head' });
  await o.page.waitForSelector('#map-how.exact');
  await clean(o);
});

test('moving by keyboard tells the cell: from, to, weight and rank', async () => {
  const o = await open(page('hostile.html'), { hash: `#head=${name}&row=119&key=50` });
  await settled(o.page);
  await o.page.locator('.map-over').focus();
  for (const [press, key] of [['ArrowLeft', 49], ['Home', 0], ['End', 119]]) {
    await o.page.keyboard.press(press);
    await o.page.waitForFunction((k) => document.querySelector('#live-cell').textContent.startsWith(`from ${k} `), key);
    const text = await o.page.locator('#live-cell').textContent();
    const [, w, rank] = text.match(/ to 119 \u2018.*\u2019: weight (?:< )?([\d.]+) %, rank ([\d,]+) of 120$/);
    near(w / 100, last[key], 2e-3, text);
    near(Number(rank), 1 + last.filter((v) => v > last[key]).length, 1, text); // binary16 may swap two that are alike
  }
  await soon(async () => assert.equal(await o.page.locator('#live-cell').getAttribute('aria-live'), 'polite'));
  await clean(o);
});

test('of two maps both are told, and each is described by its own row', async () => {
  const o = await open(page('hostile.html'), { hash: '#head=0.1&with=0.2&row=100&key=50' });
  const told = (i) =>
    o.page.locator('.map-over').nth(i).evaluate((c) =>
      c.getAttribute('aria-describedby').split(' ').map((id) => document.getElementById(id).textContent));
  await o.page.waitForFunction(() => /rank.*rank/.test(document.querySelector('#live-cell').textContent));
  await o.page.waitForFunction(() => document.querySelector('#live-row-other')?.textContent);
  const [first, second] = [await told(0), await told(1)];
  assert.match(first[0], /: layer 0, head 1 weight [\d.< ]+ %, rank \d+ of 101; layer 0, head 2 weight [\d.< ]+ %, rank \d+ of 101$/);
  assert.match(first[1], /^layer 0, head 1: row 100 /);
  assert.match(second[1], /^layer 0, head 2: row 100 /);
  assert.notEqual(first[1].slice(16), second[1].slice(16));
  await soon(async () => assert.deepEqual(await o.page.locator('.row-panel .who').allTextContents(), ['layer 0, head 1 ', 'layer 0, head 2 ']));
  await o.page.locator('input[value=difference]').check();
  await o.page.waitForFunction(() => /head 0\.1 \u2212 head 0\.2/.test(document.querySelector('#live-row').textContent));
  await soon(async () => assert.match(await o.page.locator('#live-cell').textContent(), /: head 0\.1 \u2212 head 0\.2 \u2212?[\d.< ]+ %; layer 0, head 1 weight/));
  await clean(o);
});

test('the legend of a difference is marked where its weights are', async () => {
  const o = await open(page('hostile.html'), { hash: '#head=0.1&with=0.2&compare=difference' });
  await settled(o.page);
  const bar = await o.page.locator('.scale canvas').boundingBox();
  const marks = await o.page
    .locator('.ticks span')
    .evaluateAll((all) => all.map((s) => [s.textContent, parseFloat(s.style.left) / 100, s.getBoundingClientRect().x]));
  const at = Object.fromEntries(marks);
  near(at['0'], 0.5, 1e-6, 'no difference');
  near(at['+0.1 %'], 0.5 + 0.5 * (1 + Math.log2(1e-3) / 16), 1e-6, '+0.1 %');
  near(at['\u22120.1 %'], 0.5 - 0.5 * (1 + Math.log2(1e-3) / 16), 1e-6, '-0.1 %');
  assert.equal(at['+100 %'], 1);
  for (const [, , x] of marks) assert.ok(x >= bar.x - 1 && x <= bar.x + bar.width, `a mark at ${x}`);
  await clean(o);
});

test('a token that is written from right to left does not turn the readout', async () => {
  assert.match(tokens[15], /[\u0590-\u05FF]/);
  const o = await open(page('hostile.html'), { hash: `#head=${name}&row=15&key=3` });
  await settled(o.page);
  const order = await o.page.evaluate(() => {
    const pair = document.querySelector('#readout .pair');
    const x = (node) => {
      const r = document.createRange();
      r.selectNodeContents(node);
      return r.getBoundingClientRect().x;
    };
    return [...pair.childNodes].filter((c) => c.textContent.trim()).map((c) => [c.textContent, x(c)]);
  });
  assert.equal(order[0][0].trim(), '15');
  for (let i = 1; i < order.length; ++i) assert.ok(order[i][1] > order[i - 1][1], JSON.stringify(order));
  await clean(o);
});

test('what stands at the edges of the map is named', async () => {
  const o = await open(page('hostile.html'), { hash: `#head=${name}` });
  await soon(async () => assert.match(await o.page.locator('.edges').textContent(), /entropy.*each key receives.*Outlined/));
  await clean(o);
});

test('of a short text the pooled map is cell by cell: rounded, and said so', async () => {
  const text = 'The cat sat on the mat because it was tired.';
  const said = {};
  for (const exact of ['none', 'all']) {
    const file = join(folder, `${exact}.html`);
    execFileSync(bin, ['look', '-m', model, text, '--exact', exact, '--lesson', '', '-o', file], { stdio: 'ignore' });
    const o = await open(file, { kind: 'flat', hash: '#head=13.8&row=10' });
    await settled(o.page);
    said[exact] = [];
    for (const [row, key] of [[10, 1], [10, 10], [7, 0], [3, 2]]) {
      await o.page.evaluate(([r, k]) => (location.hash = `#head=13.8&row=${r}&key=${k}`), [row, key]);
      await o.page.waitForFunction(([r, k]) => new RegExp(`^${r} .*\u2192 ${k} `).test(document.querySelector('#readout').textContent), [row, key]);
      said[exact].push(Number(await o.page.locator('#cell-weight').getAttribute('value')));
    }
    const how = await o.page.locator('#map-how').textContent();
    if (exact === 'all') assert.equal(how, 'exact, recomputed here from Q, K and LSE');
    else {
      assert.match(how, /^single weights, each to within 3 %For its cells make the page with --exact 13\.8,/);
      await soon(async () => assert.match(await o.page.locator('#readout').textContent(), /to within 3 % of it$/));
      await soon(async () => assert.match(await o.page.locator('#row-title').textContent(), /^Row 3 .* looks at$/));
      await o.page.waitForFunction(() => /: weight [\d.]+ %, to within 3 % of it, rank \d+ of 4$/.test(document.querySelector('#live-cell').textContent));
      // Its figures stand in its cells.
      const ink = await o.page.evaluate(() => {
        const left = parseFloat(document.querySelector('.map-cells').style.left);
        const { data } = document.querySelector('.map-over').getContext('2d').getImageData(left + 3, 3, 24, 24);
        return data.filter((v, i) => i % 4 === 3 && v > 0).length;
      });
      assert.ok(ink > 10, `${ink} pixels are written in the first cell`);
    }
    await clean(o);
  }
  said.none.forEach((w, i) => near(w, said.all[i], 0.03 * said.all[i], 'rounded'));
  assert.ok(said.none.some((w, i) => w !== said.all[i]));
});
