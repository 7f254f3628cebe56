// Long texts of the real model: a page of 10,000 tokens from disk, and a served run of BAREATTN_LONG tokens (12,000 if
// it is not set, for the time that it takes; `npm run test:long` takes 100,000) from the whole text to single cells, by
// keyboard and by wheel. Figures are reported, not asserted. The trace of 100,000 tokens takes 6 GB of disk, which are
// freed whatever happens; too little room is a failure.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { closeAll, open, settled } from './open.mjs';
import { bin, model, serve, visit } from './serving.mjs';
import { soon, test } from './testing.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const LONG = Number(process.env.BAREATTN_LONG ?? 12_000);
const PATIENCE = { timeout: 6e5 + 50 * LONG }; // ms; a trace of 100,000 tokens takes half an hour
const ROOM = 12e4 * LONG; // bytes of free disk: the trace, and as much for others
const folder = mkdtempSync(join(tmpdir(), 'bareattn-long-'));
const children = new Set();
function free() {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}
process.on('exit', free);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));
after(async () => {
  await closeAll();
  free();
});

/// This repository's own documents and sources, line by line with a number, cut to so many tokens or a few more.
function longText(tokens) {
  const files = ['docs', 'src/observe', 'src/attention', 'src/kernels', 'src/view', 'cli', 'viewer/src']
    .flatMap((at) => readdirSync(join(root, at)).map((name) => join(root, at, name)))
    .filter((path) => /\.(md|cc|h|tsx?)$/.test(path))
    .sort();
  const lines = files.flatMap((path) => readFileSync(path, 'utf8').split('\n'));
  let text = '';
  for (let i = 0; text.length < 5 * tokens; ++i) text += `${i + 1} ${lines[i % lines.length]}\n`;
  const path = join(folder, `${tokens}.txt`);
  for (let length = 2 * tokens, count = 0; count < tokens; length = Math.ceil(length * Math.max(1.01, tokens / count))) {
    writeFileSync(path, text.slice(0, length));
    const ids = execFileSync(bin, ['tokenize', '-m', model, '--file', path, '--json'], { maxBuffer: 2 ** 30 });
    count = JSON.parse(ids).length;
    assert.ok(length < text.length, 'the text is too short');
  }
  return path;
}

/// The command, ended with this test however that ends.
async function run(...args) {
  const child = spawn(bin, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  children.add(child);
  const code = await new Promise((done, fail) => child.on('exit', done).on('error', fail));
  children.delete(child);
  assert.equal(code, 0, `bareattn ${args[0]} ended with ${code}`);
}

const reported = async (page, what) => {
  await page.waitForFunction(() => performance.getEntriesByName('bareattn-grid-painted').length > 0);
  const at = await page.evaluate(() => ({
    paint: performance.getEntriesByName('first-contentful-paint')[0].startTime,
    grid: performance.getEntriesByName('bareattn-grid-painted')[0].startTime,
  }));
  console.log(`${what}: first paint ${at.paint.toFixed(0)} ms, grid painted ${at.grid.toFixed(0)} ms`);
};

/// The focused token, which must be the one expected and lie within the pane's sight once frames have passed.
async function inSight(page, row) {
  await page.waitForFunction((r) => document.querySelector('.text .focused')?.dataset.i === String(r), row);
  const seen = () =>
    page.evaluate(async () => {
      for (let i = 0; i < 6; ++i) await new Promise(requestAnimationFrame);
      const pane = document.querySelector('.text').getBoundingClientRect();
      const token = document.querySelector('.text .focused').getBoundingClientRect();
      return token.top >= pane.top && token.top + 12 <= pane.bottom;
    });
  await soon(async () => assert.ok(await seen(), `token ${row} is out of sight`));
}

/// Jumps, single steps and keys held down, each of which leaves the focused token in sight.
async function movesStayInSight(page, head, tokens) {
  await page.locator('.text').focus();
  for (const [key, row] of [['Home', 0], ['End', tokens - 1], ['Home', 0], ['ArrowRight', 1], ['End', tokens - 1], ['ArrowLeft', tokens - 2]]) {
    await page.keyboard.press(key);
    await inSight(page, row);
  }
  for (const part of [0.13, 0.71, 0.37, 0.52, 0.94]) {
    const row = Math.floor(part * tokens);
    await page.evaluate((hash) => (location.hash = hash), `#head=${head}&row=${row}`);
    await inSight(page, row);
    for (let i = 0; i < 40; ++i) await page.keyboard.press(part < 0.5 ? 'ArrowRight' : 'ArrowLeft');
    await inSight(page, row + (part < 0.5 ? 40 : -40));
  }
}

test('10,000 tokens from disk: the grid at once, and the focused token always in sight', PATIENCE, async () => {
  const file = join(folder, 'ten.html');
  await run('look', '-m', model, '--file', longText(10_000), '--beyond', 'extrapolate', '-o', file);
  for (const reducedMotion of ['no-preference', 'reduce']) {
    const o = await open(file, { reducedMotion });
    await reported(o.page, `${(statSync(file).size / 1e6).toFixed(0)} MB, motion ${reducedMotion}`);
    await o.page.locator('[data-head="7.1"]').click();
    await o.page.waitForSelector('#map-how');
    const tokens = await o.page.locator('.text span').count();
    assert.ok(tokens >= 10_000, `${tokens} tokens`);
    await movesStayInSight(o.page, '7.1', tokens);
    assert.deepEqual(await o.page.evaluate(() => window.violations), []);
    assert.deepEqual(o.wrong, []);
    await o.close();
  }
});

test(`${LONG.toLocaleString('en')} tokens served: from the whole text to single cells, which are those of the command`, PATIENCE, async () => {
  const { bavail, bsize } = statfsSync(folder);
  assert.ok(
    bavail * bsize >= ROOM,
    `this test needs ${ROOM / 1e9} GB of free disk in ${tmpdir()}; there are ${((bavail * bsize) / 1e9).toFixed(1)} GB`,
  );
  const trace = join(folder, 'run.safetensors');
  const begun = performance.now();
  await run(
    ...['trace', '-m', model, '--file', longText(LONG), '-o', trace, '--beyond', 'extrapolate'],
    ...['--window', '64', '--sinks', '4', '--measures', 'rows,distance,spans,columns,map'],
  );
  console.log(`trace: ${((performance.now() - begun) / 1e3).toFixed(0)} s, ${(statSync(trace).size / 1e9).toFixed(1)} GB`);
  const server = await serve(trace);
  assert.ok(server.tokens >= LONG, `${server.tokens} tokens`);
  const o = await visit(server, { reducedMotion: 'no-preference' });
  const { page } = o;
  await reported(page, `${server.tokens} tokens served`);
  const asked = new Set(); // cell sizes of tiles
  page.on('request', (r) => {
    const z = r.url().match(/\/api\/tile\/7\/1\/(\d+)\//)?.[1];
    if (z) asked.add(Number(z));
  });
  await page.locator('[data-head="7.1"]').focus();
  await page.keyboard.press('Enter');
  await page.waitForSelector('#map-how');
  await settled(page);
  await soon(async () => assert.equal(await page.locator('.text span').count(), server.tokens));
  await movesStayInSight(page, '7.1', server.tokens);

  const across = async () => Number(new URLSearchParams(await page.evaluate(() => location.hash.slice(1))).get('at')?.split(',')[2] ?? server.tokens);
  const zoomed = async (step) => {
    for (let i = 0; i < 40; ++i) {
      await step();
      await page.waitForTimeout(700); // the flight, and the address written when the hand is still
      if ((await across()) < 40) break;
    }
    await soon(async () => assert.ok((await across()) < 40, `${await across()} tokens across`));
    await settled(page);
    await soon(async () => assert.match(await page.locator('#map-how').textContent(), /exact, computed by the server$/));
  };
  const start = async (row) => {
    await page.evaluate((hash) => (location.hash = hash), `#head=7.1&row=${row}&key=${row - 3}`);
    await page.waitForFunction(() => !/at=/.test(location.hash));
    await inSight(page, row);
    asked.clear();
  };
  /// Cells of the focused row against `bareattn row`.
  const compared = async (row) => {
    const { keys } = JSON.parse(execFileSync(bin, ['row', trace, '7.1', String(row), '--top', '100', '--json']));
    const weights = new Map(keys.map(({ key, weight }) => [key, weight]));
    for (const key of [row, row - 1, row - 30, row - 64, row - 65, 0]) {
      await page.evaluate((k) => (location.hash = location.hash.replace(/&key=\d+|$/, `&key=${k}`)), key);
      const mark = key.toLocaleString('en');
      await page.waitForFunction((m) => document.querySelector('#readout').textContent.includes(`\u2192 ${m} `), mark);
      const shown = Number(await page.locator('#cell-weight').getAttribute('value'));
      const truth = weights.get(key) ?? 0;
      assert.ok(Math.abs(shown - truth) <= 1e-6 * truth + 1e-12, `row ${row}, key ${key}: ${shown}, not ${truth}`);
    }
    assert.equal(weights.get(row - 65) ?? 0, 0, 'outside the window there is no weight');
  };

  const byKeys = Math.floor(0.61 * server.tokens);
  await start(byKeys);
  await page.locator('.map-over').focus();
  await zoomed(() => page.keyboard.press('+'));
  assert.ok([0, 1, 2].every((z) => asked.has(z)), `tiles of z = ${[...asked]}`);
  await compared(byKeys);

  const byWheel = Math.floor(0.5 * server.tokens);
  await start(byWheel);
  const box = await page.locator('.map-over').boundingBox();
  await page.mouse.move(box.x + 0.3 * box.width, box.y + 0.65 * box.height); // well below the diagonal
  await zoomed(() => page.mouse.wheel(0, -500));
  await page.mouse.move(0, 0); // the focused cell is told again, not the one under the hand
  assert.ok(asked.has(0), `tiles of z = ${[...asked]}`);
  await compared(byWheel);
  await o.clean();
});
