// What a page shows is what was observed: grid, text, exact weights, pooled values, hostile texts; no request, no
// violation of its policy, no error in the console.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { closeAll, expected, fresh, open, page, settled } from './open.mjs';
import { bin, model } from './serving.mjs';
import { closes, soon, test } from './testing.mjs';

after(closeAll);

const clean = async (opened) => {
  assert.deepEqual(await opened.page.evaluate(() => window.violations), []);
  assert.deepEqual(opened.wrong, []);
  await opened.close();
};

test('the grid has a cell for each of the 270 heads, and is painted', async () => {
  const o = await open(page('long.html'));
  await soon(async () => assert.equal(await o.page.locator('[role=gridcell] button').count(), 270));
  const names = await o.page.locator('[role=gridcell] button').evaluateAll((all) => all.map((b) => b.dataset.head));
  assert.equal(new Set(names).size, 270);
  await o.page.waitForFunction(() =>
    ['bareattn-grid-painted', 'first-contentful-paint'].every((name) => performance.getEntriesByName(name).length > 0),
  );
  const times = await o.page.evaluate(() => ({
    paint: performance.getEntriesByName('first-contentful-paint')[0].startTime,
    grid: performance.getEntriesByName('bareattn-grid-painted')[0].startTime,
  }));
  console.log(`first paint ${times.paint.toFixed(0)} ms, grid painted ${times.grid.toFixed(0)} ms`);
  // The canvas is not blank: many different colours stand in it.
  const colours = await o.page.locator('.grid-canvas').evaluate((canvas) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const seen = new Set();
    for (let i = 0; i < data.length; i += 404) seen.add(`${data[i]},${data[i + 1]},${data[i + 2]}`);
    return seen.size;
  });
  assert.ok(colours > 50, `${colours} colours`);
  await clean(o);
});

test('a measure, an order and a role can be chosen', async () => {
  const o = await open(page('long.html'));
  await o.page.getByLabel('Colour by').selectOption({ index: 0 });
  await o.page.getByRole('radio', { name: 'By measure' }).check();
  await soon(async () => {
    const labels = await o.page
      .locator('[role=gridcell] button')
      .evaluateAll((all) => all.map((b) => Number(b.getAttribute('aria-label').match(/([\d.]+) nats\b/)?.[1])));
    assert.equal(labels.length, 270);
    for (let i = 1; i < labels.length; ++i) assert.ok(labels[i] <= labels[i - 1], `${labels[i - 1]} before ${labels[i]}`);
  });
  await o.page
    .getByRole('button', { name: /^first-token/ })
    .first()
    .click();
  await o.page.waitForFunction(() => /order=measure/.test(location.hash) && /role=first-token/.test(location.hash));
  await clean(o);
});

for (const [file, row] of ['long', 'hostile', 'real', 'windowed', 'ruled', 'ruled2'].flatMap((f) =>
  Object.keys(expected()[f]?.rows ?? {}).map((r) => [f, Number(r)]),
)) {
  test(`${file}: the weights of row ${row} are the engine's to binary16 rounding, and the rest is stated`, async () => {
    const truth = expected()[file];
    const [layer, head] = truth.head;
    const o = await open(page(`${file.replace(/2$/, '')}.html`), { hash: `#head=${layer}.${head}&row=${row}` });
    await settled(o.page);
    await soon(async () => assert.match(await o.page.locator('#map-how').textContent(), /^exact, recomputed here from Q, K and LSE/));
    const shown = await o.page
      .locator('.keys li')
      .evaluateAll((all) => all.map((li) => [li.querySelector('.at').textContent, li.querySelector('data').value]));
    // `slack` bounds what the rounding of Q and K to binary16 can do to each logit: see page_fixture.cc.
    const { weights, slack } = truth.rows[row];
    assert.equal(shown.length, Math.min(10, row + 1));
    const agree = (weight, key) => {
      // Outside a window there is no weight, on either side.
      const off = weight === weights[key] ? 0 : Math.abs(Math.log(weight / weights[key]));
      assert.ok(off <= slack[key], `key ${key}: ${weight}, the engine has ${weights[key]}: ${off} > ${slack[key]}`);
    };
    const all = weights.reduce((a, b) => a + b, 0); // less than 1 where a sink logit takes its part
    let sum = 0;
    for (const [at, weight] of shown) {
      const key = Number(at.replace(/,/g, ''));
      agree(Number(weight), key);
      sum += weights[key];
    }
    // No key that was left out is stronger than those that are listed, but for the rounding.
    const listed = new Set(shown.map(([at]) => Number(at.replace(/,/g, ''))));
    weights.forEach((w, key) => {
      if (!listed.has(key) && w > 0) assert.ok(Math.log(w / shown.at(-1)[1]) <= slack[key], `key ${key} is missing`);
    });
    if (row + 1 > shown.length) {
      const rest = await o.page.locator('.rest').textContent();
      const [, others, mass] = rest.match(/and ([\d,]+) other tokens?: (?:< )?([\d.]+) %/);
      assert.equal(Number(others.replace(/,/g, '')), row + 1 - shown.length);
      assert.ok(Math.abs(mass / 100 - (all - sum)) < 0.02, `${mass} % against ${100 * (all - sum)} %`);
    }
    // One cell, by permalink.
    const key = Number(shown.at(-1)[0].replace(/,/g, ''));
    await o.page.evaluate((h) => (location.hash = h), `#head=${layer}.${head}&row=${row}&key=${key}`);
    await o.page.waitForFunction(
      (k) => document.querySelector('#readout').textContent.includes(`\u2192 ${k}`),
      shown.at(-1)[0],
    );
    const cell = Number(await o.page.locator('#cell-weight').getAttribute('value'));
    agree(cell, key);
    await clean(o);
  });
}

test('the text of the page is the tokens, character for character, hostile ones too', async () => {
  for (const file of ['long', 'hostile']) {
    const truth = expected()[file];
    const o = await open(page(`${file.replace(/2$/, '')}.html`), { hash: `#head=${truth.head.join('.')}` });
    const spans = await o.page.locator('.text span').evaluateAll((all) => all.map((s) => s.textContent));
    assert.deepEqual(spans, truth.tokens);
    // No token became markup.
    await soon(async () => assert.equal(await o.page.locator('.text span *').count(), 0));
    await soon(async () => assert.equal(await o.page.locator('img, iframe, object, embed, link').count(), 0));
    await clean(o);
  }
});

test('a token of ten million characters is shown, cut where it is a name', async () => {
  const long = { '\u202e</script>': '\\u202e\\u003c/script\\u003e', ' ': ' ', ab: 'ab' };
  const folder = mkdtempSync(join(tmpdir(), 'bareattn-huge-'));
  for (const [part, written] of Object.entries(long)) {
    const file = join(folder, 'huge.html');
    const html = readFileSync(page('hostile.html'), 'utf8');
    const times = Math.ceil(1e7 / part.length);
    // The 30th token: past the hostile ones, an ordinary word.
    writeFileSync(
      file,
      html.replace(/("tokens":\[(?:"(?:[^"\\]|\\.)*",){30})"(?:[^"\\]|\\.)*"/, (_, before) => `${before}"${written.repeat(times)}"`),
    );
    const o = await open(file, { hash: '#head=0.1&row=30' });
    await settled(o.page);
    const [shown, more] = await o.page.locator('.text span').nth(30).evaluate((s) => [s.textContent, s.dataset.more]);
    assert.ok(shown.length >= 1000 && shown.length <= 2000 && part.repeat(2000).startsWith(shown));
    assert.equal(Number(more.replace(/\D/g, '')), part.length * times - shown.length); // and what is not shown is said
    for (const where of ['#row-title', '#readout', '.keys']) {
      await soon(async () => assert.ok((await o.page.locator(where).textContent()).length < 1000, where));
    }
    await o.page.evaluate(() => (location.hash = '#head=0.1&row=119&key=30'));
    await o.page.waitForFunction(() => /^119 .*\u2192 30 /.test(document.querySelector('#readout').textContent));
    await clean(o);
  }
  rmSync(folder, { recursive: true });
});

test('hostile title and model name are text', async () => {
  const o = await open(page('hostile.html'));
  await soon(async () => assert.ok((await o.page.title()).startsWith('</title><script>alert(1)</script>')));
  await soon(async () => assert.ok((await o.page.locator('h1').textContent()).startsWith('</title><script>')));
  await soon(async () => assert.ok((await o.page.locator('.facts').textContent()).includes('Model </title><script>alert(1)</script>')));
  await clean(o);
});

test('a NaN is shown as what it is', async () => {
  const o = await open(page('hostile.html'));
  await o.page.getByLabel('Colour by').selectOption({ index: 0 });
  await soon(async () => assert.match(await o.page.locator('[data-head="2.1"]').getAttribute('aria-label'), /not a number/));
  await soon(async () => assert.match(await o.page.locator('[data-head="2.0"]').getAttribute('aria-label'), /[\d.]+ nats\b/));
  // Magenta on the map: the damaged block of the head, and nowhere in its neighbour.
  const magenta = () =>
    o.page.locator('.grid-canvas').evaluate((canvas) => {
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      let n = 0;
      for (let i = 0; i < data.length; i += 4) n += data[i] > 240 && data[i + 1] < 20 && data[i + 2] > 240;
      return n;
    });
  await soon(async () => assert.ok((await magenta()) > 5));
  await clean(o);
});

test('a pooled head says so, and its shares add up to one', async () => {
  const o = await open(page('long.html'));
  const exact = new Set(
    await o.page.evaluate(() => JSON.parse(document.getElementById('page-data').textContent).exact),
  );
  const pooled = Array.from({ length: 270 }, (_, i) => i).find((i) => !exact.has(i));
  assert.ok(exact.size > 10 && pooled !== undefined, `${exact.size} exact heads`);
  await o.page.evaluate((h) => (location.hash = h), `#head=${Math.floor(pooled / 9)}.${pooled % 9}&row=1000`);
  await o.page.waitForSelector('#map-how');
  await settled(o.page);
  await soon(async () => assert.match(await o.page.locator('#map-how').textContent(), /^pooled 16 \u00D7 16/));
  const shown = await o.page.locator('.keys data').evaluateAll((all) => all.map((d) => Number(d.value)));
  const rest = (await o.page.locator('.rest').textContent()).match(/([\d.]+) %/)[1];
  const total = shown.reduce((a, b) => a + b, 0) + Number(rest) / 100;
  assert.ok(Math.abs(total - 1) < 0.03, `shares add up to ${total}`);
  await clean(o);
});

test('the map draws the same cells by WebGL2 and by the 2D canvas', async () => {
  const pixels = {};
  for (const kind of ['gpu', 'flat']) {
    const o = await open(page('hostile.html'), {
      kind,
      hash: `#head=0.1&at=60,60,40${kind === 'gpu' ? '&draw=webgl' : ''}`,
    });
    await settled(o.page);
    const renderer = await o.page.locator('#map-how').getAttribute('data-renderer');
    if (kind === 'flat') assert.equal(renderer, 'Canvas 2D');
    else if (renderer !== 'WebGL2') console.log('NOT COMPARED: this browser has no WebGL2 without a GPU');
    const box = await o.page.locator('.map-cells').boundingBox();
    pixels[renderer] = [];
    const shot = await o.page.screenshot({ clip: box });
    pixels[renderer] = await o.page.evaluate(async (base64) => {
      const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      const image = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
      const canvas = new OffscreenCanvas(image.width, image.height);
      const context = canvas.getContext('2d', { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      const out = [];
      for (let y = 5; y < image.height; y += 23) {
        for (let x = 5; x < image.width; x += 29) out.push([...context.getImageData(x, y, 1, 1).data.slice(0, 3)]);
      }
      return out;
    }, shot.toString('base64'));
    await clean(o);
  }
  const [a, b] = Object.values(pixels);
  assert.ok(new Set(a.map(String)).size > 20, 'the map is blank');
  if (!b) return;
  const different = a.filter((p, i) => p.some((v, c) => Math.abs(v - b[i][c]) > 6)).length;
  // Edges of cells may fall on either side of a pixel.
  assert.ok(different < a.length * 0.05, `${different} of ${a.length} pixels differ`);
});

test('the table lists the strongest cells in view', async () => {
  const truth = expected().hostile;
  const o = await open(page('hostile.html'), { hash: `#head=${truth.head.join('.')}&row=119&at=110,110,17` });
  await settled(o.page);
  await o.page.getByText('The same as a table').click();
  await soon(async () => {
    const all = await o.page.locator('table tbody tr .number').allTextContents();
    assert.ok(all.length >= 10);
    assert.ok(parseFloat(all[0]) >= parseFloat(all.at(-1)));
  });
  await soon(async () => assert.match(await o.page.locator('caption').textContent(), /in view, exact/));
  await clean(o);
});

test('search finds a text that spans tokens and moves there', async () => {
  const truth = expected().long;
  const o = await open(page('long.html'), { hash: `#head=${truth.head.join('.')}&row=0` });
  const text = truth.tokens.slice(400, 403).join('');
  await o.page.getByLabel('Find in the text').fill(text);
  await o.page.keyboard.press('Enter');
  await o.page.waitForFunction(() => /row=[1-9]/.test(location.hash));
  const row = Number((await o.page.evaluate(() => location.hash)).match(/row=(\d+)/)[1]);
  assert.ok(
    truth.tokens
      .slice(row, row + 4)
      .join('')
      .toLowerCase()
      .includes(text.toLowerCase().trim()),
    `row ${row}`,
  );
  await soon(async () => assert.match(await o.page.locator('.found-count').textContent(), /found|^\d+ of [\d,]+\+?$/));
  await clean(o);
});

test('a damaged fragment is ignored, field by field', async () => {
  const o = await open(page('hostile.html'), {
    hash: '#head=0.1&row=99999999&key=-3&at=NaN,1,0&scale=%3Cscript%3E&measure=nope&palette=cividis',
  });
  await soon(async () => assert.match(await o.page.locator('#readout').textContent(), /^119 /));
  await soon(async () => assert.equal(await o.page.getByLabel('Palette').inputValue(), '1'));
  await clean(o);
});

for (const draw of ['', '&draw=webgl']) {
  test(`panning holds the frame rate (reported)${draw}`, async () => {
    const truth = expected().long;
    const o = await open(page('long.html'), { hash: `#head=${truth.head.join('.')}&at=900,1000,300${draw}` });
    await settled(o.page);
    const box = await o.page.locator('.map-over').boundingBox();
    await o.page.evaluate(() => {
      window.frames_ = [];
      const tick = (t) => {
        window.frames_.push(t);
        window.raf_ = requestAnimationFrame(tick);
      };
      requestAnimationFrame(tick);
    });
    await o.page.mouse.move(box.x + 500, box.y + 300);
    await o.page.mouse.down();
    for (let i = 0; i < 90; ++i) await o.page.mouse.move(box.x + 500 - 3 * i, box.y + 300 - 2 * i);
    await o.page.mouse.up();
    const gaps = await o.page.evaluate(() => window.frames_.slice(1).map((t, i) => t - window.frames_[i]));
    gaps.sort((a, b) => a - b);
    const renderer = await o.page.locator('#map-how').getAttribute('data-renderer');
    console.log(
      `panning by ${renderer}: median frame ${gaps[gaps.length >> 1].toFixed(1)} ms, 95 % within ${gaps[Math.floor(gaps.length * 0.95)].toFixed(1)} ms`,
    );
    assert.ok(gaps.length > 20);
    await clean(o);
  });
}

test('text cannot become markup in the page, whatever a script of it tried', async () => {
  const o = await open(page('hostile.html'));
  const refused = await o.page.evaluate(() =>
    ['innerHTML', 'outerHTML'].map((name) => {
      try {
        document.querySelector('h1')[name] = '<b>markup</b>';
        return 'taken';
      } catch (error) {
        return error.name;
      }
    }),
  );
  assert.deepEqual(refused, ['TypeError', 'TypeError']);
  await o.close();
});

test('the policy names hashes and nothing else', () => {
  const text = readFileSync(page('hostile.html'), 'utf8');
  const policy = text.match(/Content-Security-Policy" content="([^"]*)"/)[1];
  assert.match(
    policy,
    /^default-src 'none'; script-src 'sha256-[A-Za-z0-9+/=]{44}'; style-src 'sha256-[A-Za-z0-9+/=]{44}';/,
  );
  assert.ok(!/unsafe|https?:|\*/.test(policy), policy);
  assert.match(policy, /; require-trusted-types-for 'script'; trusted-types 'none'$/);
  assert.ok(!/ (style|on[a-z]+)=/.test(text.slice(0, text.indexOf('<style>'))), 'an inline style or handler');
});

test('a page that comes in pieces: no part of a section is taken for the whole', async () => {
  const text = readFileSync(page('long.html'), 'utf8');
  const head = expected().long.head.join('.');
  const name = `q/${head}`;
  const at = text.indexOf(`data-section="${name}"`);
  const cut = Math.floor((at + text.indexOf('</script>', at)) / 2); // in the middle of the section
  let more;
  const server = createServer((_, response) => {
    response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' });
    response.write(text.slice(0, cut));
    more = () => response.end(text.slice(cut));
  }).listen(0, '127.0.0.1');
  closes(() => (server.closeAllConnections(), server.close()));
  await once(server, 'listening');
  const context = await fresh('gpu');
  const p = await context.newPage();
  await p.goto(`http://127.0.0.1:${server.address().port}/`, { waitUntil: 'commit' });
  await p.waitForFunction((part) => document.querySelector(`[data-section="${part}"]`)?.textContent.length > 0, name);
  await p.evaluate((h) => (location.hash = `#head=${h}`), head);
  await p.waitForSelector('.head-page');
  await p.waitForTimeout(500); // a failure would be said by now
  await soon(async () => assert.equal(await p.evaluate(() => document.readyState), 'loading'));
  await soon(async () => assert.deepEqual(await p.locator('.failure, .trouble').allTextContents(), []));
  more();
  await settled(p);
  await soon(async () => assert.deepEqual(await p.locator('.failure, .trouble').allTextContents(), []));
  await context.close();
});

test('the page of the real command', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'bareattn-real-'));
  const file = join(folder, 'page.html');
  execFileSync(bin, ['look', '-m', model, '--text', 'The cat sat on the mat. The cat sat on the mat.', '-o', file]);
  const o = await open(file);
  const data = await o.page.evaluate(() => JSON.parse(document.getElementById('page-data').textContent));
  await soon(async () => assert.equal(await o.page.locator('[role=gridcell] button').count(), data.model.layers * data.model.heads));
  const [head] = data.exact;
  await o.page.evaluate(
    (h) => (location.hash = h),
    `#head=${Math.floor(head / data.model.heads)}.${head % data.model.heads}`,
  );
  await o.page.waitForSelector('#map-how');
  await settled(o.page);
  const spans = await o.page.locator('.text span').evaluateAll((all) => all.map((s) => s.textContent));
  assert.deepEqual(spans, data.tokens);
  await soon(async () => assert.match(await o.page.locator('#map-how').textContent(), /exact/i));
  const sum = await o.page.locator('.keys data').evaluateAll((all) => all.reduce((s, d) => s + Number(d.value), 0));
  const rest = (await o.page.locator('.rest').textContent()).match(/([\d.]+) %/)[1];
  // Recomputed weights of a row and the engine's LSE agree: they add up to one.
  assert.ok(Math.abs(sum + rest / 100 - 1) < 0.02, `the row adds up to ${sum + rest / 100}`);
  await clean(o);
  rmSync(folder, { recursive: true });
});
