// The browser's half of page_open.py: opens a page of one head or all, in a fresh browser each time, and prints what it
// measured as JSON. page_open.mjs FILE-OR-URL HEAD TIMES: HEAD is LAYER.HEAD, opened from the grid's address.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { existsSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const { chromium } = createRequire(join(root, 'tests/browser/package.json'))('playwright-core');
const [what, head, times] = process.argv.slice(2);
const url = existsSync(what) ? pathToFileURL(what).href : what;
const args = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run'];
const executablePath = process.env.BAREATTN_CHROMIUM ?? '/usr/bin/chromium';
const results = [];
for (let i = 0; i < Number(times); ++i) {
  const browser = await chromium.launch({ executablePath, args: [...args, '--disable-component-update'] });
  const page = await (await browser.newContext({ viewport: { width: 1400, height: 900 } })).newPage();
  page.setDefaultTimeout(120_000);
  let requests = 0;
  page.on('request', () => ++requests);
  await page.goto(url);
  await page.waitForFunction(() =>
    ['bareattn-grid-painted', 'first-contentful-paint'].every((name) => performance.getEntriesByName(name).length > 0),
  );
  const opened = await page.evaluate(() => ({
    first_paint_ms: performance.getEntriesByName('first-contentful-paint')[0].startTime,
    grid_painted_ms: performance.getEntriesByName('bareattn-grid-painted')[0].startTime,
  }));
  const settled = () =>
    page.waitForFunction(() => document.querySelector('#map-how')?.getAttribute('data-pending') === '0');
  let start = performance.now();
  await page.locator(`[data-head="${head}"]`).click();
  await page.waitForSelector('#map-how');
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  const headShown = performance.now() - start;
  start = performance.now();
  await page.locator('.map-over').focus();
  await page.keyboard.press('Enter'); // to the cells
  await page.waitForTimeout(250); // the flight
  await settled();
  const cells = performance.now() - start;
  // Back out to where some thousand tokens are in view, then drag.
  for (let k = 0; k < 5; ++k) {
    await page.keyboard.press('-');
    await page.waitForTimeout(260);
  }
  await settled();
  await page.waitForTimeout(400); // the address follows
  const box = await page.locator('.map-over').boundingBox();
  await page.evaluate(() => {
    window.frames_ = [];
    const tick = (t) => {
      window.frames_.push(t);
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  });
  await page.mouse.move(box.x + 300, box.y + 300);
  await page.mouse.down();
  for (let k = 0; k < 120; ++k) await page.mouse.move(box.x + 300 + 2 * k, box.y + 300 + k);
  await page.mouse.up();
  const frames = await page.evaluate(() => window.frames_);
  const gaps = frames.slice(1).map((t, k) => t - frames[k]);
  gaps.sort((a, b) => a - b);
  results.push({
    ...opened,
    head_shown_ms: headShown,
    cells_exact_ms: cells,
    frame_median_ms: gaps[gaps.length >> 1],
    frame_95_ms: gaps[Math.floor(gaps.length * 0.95)],
    frames: gaps.length,
    renderer: await page.locator('#map-how').getAttribute('data-renderer'),
    how: await page.locator('#map-how').textContent(),
    requests,
    tokens_in_view: await page.evaluate(() => Number(new URLSearchParams(location.hash.slice(1)).get('at')?.split(',')[2])),
  });
  await browser.close();
}
console.log(JSON.stringify(results));
