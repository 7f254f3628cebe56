// The browser's half of compare_viewers.py: opens one file, in a fresh browser, and prints what it saw as JSON.
// compare_viewers.mjs FILE SELECTOR LIBRARIES [checks]: with `checks` axe-core and the Tab key are tried too. SELECTOR is what is there when the picture is; LIBRARIES is a folder of npm
// packages from which what the page asks a CDN for is answered, so that no time is lost on a network ("-": nothing is).
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const require = createRequire(join(root, 'tests/browser/package.json'));
const { chromium } = require('playwright-core');
const [file, selector, libraries, checks] = process.argv.slice(2);
const LIMIT_MS = 30_000;
const TABS = 60;

/// What stands for an address of a CDN, by the name of its package.
const local = (url) => {
  const found = [
    [/require(\.min)?\.js$/, 'requirejs/require.js'],
    [/\/d3(\.min)?(\.js)?$/, 'd3/dist/d3.min.js'],
    [/jquery(\.min)?(\.js)?$/, 'jquery/dist/jquery.min.js'],
    [/circuitsvis.*esm\.js$/, 'circuitsvis/dist/cdn/iife.js'],
  ].find(([pattern]) => pattern.test(url));
  const path = found && join(libraries, 'node_modules', found[1]);
  if (!path || !existsSync(path)) return null;
  // CircuitsVis is not on npm; its wheel has the same code as a script with one global, here made a module.
  return path.endsWith('iife.js')
    ? `${readFileSync(path, 'utf8')}\nexport const { render, AttentionHeads } = CircuitsVis;`
    : readFileSync(path);
};

const browser = await chromium.launch({
  executablePath: process.env.BAREATTN_CHROMIUM ?? '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update'],
});
const context = await browser.newContext({ viewport: { width: 1400, height: 900 }, bypassCSP: true });
const page = await context.newPage();
page.setDefaultTimeout(LIMIT_MS);
const asked = [];
await page.route(/^https?:/, (route) => {
  asked.push(route.request().url());
  const body = libraries === '-' ? null : local(route.request().url());
  const headers = { 'Access-Control-Allow-Origin': '*' };
  return body ? route.fulfill({ body, contentType: 'text/javascript', headers }) : route.abort();
});

const seen = { opens: false, seconds: null, requests: 0, asked: [] };
const start = performance.now();
try {
  await page.goto(pathToFileURL(file).href, { timeout: LIMIT_MS });
  await page.waitForSelector(selector, { state: 'attached', timeout: Math.max(1000, LIMIT_MS - (performance.now() - start)) });
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  seen.opens = true;
  seen.seconds = Number(((performance.now() - start) / 1000).toFixed(2));
} catch (error) {
  seen.why = String(error.message).split('\n')[0].slice(0, 120);
}
seen.requests = asked.length;
seen.asked = [...new Set(asked.map((url) => new URL(url).hostname))];
if (seen.opens && checks === 'checks') {
  await page.evaluate(readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8'));
  const axe = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  seen.axe = Object.fromEntries(axe.violations.map((v) => [v.id, v.nodes.length]));
  const reached = new Set();
  for (let i = 0; i < TABS; ++i) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => {
      const node = document.activeElement;
      if (!node || node === document.body) return null;
      return `${node.tagName.toLowerCase()} ${node.getAttribute('aria-label') ?? node.textContent?.trim().slice(0, 30) ?? ''}`;
    });
    if (at) reached.add(at);
  }
  seen.focusable = [...reached];
}
console.log(JSON.stringify(seen));
await browser.close();
