// What every browser test needs: the pages under test, and a browser that reports all it does wrong. Pages come from
// $BAREATTN_PAGES (a folder that page_fixture filled) or are made by the first page_fixture found in ../../build*.
// Nothing to test is a failure, not a pass.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';
import { PATIENCE, closes } from './testing.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

function fixture() {
  if (process.env.BAREATTN_PAGE_FIXTURE) return process.env.BAREATTN_PAGE_FIXTURE;
  const found = readdirSync(root)
    .filter((name) => name.startsWith('build'))
    .map((name) => join(root, name, 'tests', 'page_fixture'))
    .filter((path) => existsSync(path))
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  if (!found.length) throw new Error('no page_fixture: build the target page_fixture, or set BAREATTN_PAGE_FIXTURE');
  return found[0];
}

let made;
export function pages() {
  if (!made) {
    made = process.env.BAREATTN_PAGES;
    if (!made) {
      made = mkdtempSync(join(tmpdir(), 'bareattn-pages-'));
      const model = process.env.BAREATTN_MODEL ?? join(root, 'models', 'SmolLM2-135M-Instruct.Q4_1.gguf');
      const text = join(root, 'examples', 'text', 'alice.txt');
      if (!existsSync(model)) console.log(`NO PAGE OF A REAL MODEL: no file ${model} (./x model fetches it)`);
      execFileSync(fixture(), existsSync(model) ? [made, model, text] : [made], { stdio: 'inherit' });
    }
  }
  return made;
}
export const page = (name) => join(pages(), name);
export const expected = () => JSON.parse(readFileSync(page('expected.json'), 'utf8'));

const executablePath = process.env.BAREATTN_CHROMIUM ?? '/usr/bin/chromium';
const quiet = [
  '--headless',
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const kinds = {
  gpu: ['--disable-gpu'], // WebGL2 in software, where the browser has it
  flat: ['--disable-gpu', '--disable-software-rasterizer', '--disable-webgl', '--disable-3d-apis'],
};
const browsers = new Map();

export async function launch(kind) {
  if (!existsSync(executablePath)) throw new Error(`no browser at ${executablePath} (apt-get install chromium)`);
  if (!browsers.has(kind))
    browsers.set(kind, await chromium.launch({ executablePath, args: [...quiet, ...kinds[kind]], timeout: PATIENCE }));
  return browsers.get(kind);
}

/// A context of that browser, closed at the end of the test that asked for it.
export async function fresh(kind, options = {}) {
  const context = await (await launch(kind)).newContext(options);
  context.setDefaultTimeout(PATIENCE); // of what is waited for and of navigation
  closes(() => context.close());
  return context;
}

export async function closeAll() {
  for (const b of browsers.values()) await b.close();
  browsers.clear();
}

/// Opens a page file. `wrong` gathers console errors, exceptions, policy violations and every request but the file.
export async function open(file, options = {}) {
  const { hash = '', kind = 'gpu', width = 1400, height = 900, ...context } = options;
  const c = await fresh(kind, { viewport: { width, height }, reducedMotion: 'reduce', ...context });
  const p = await c.newPage();
  const wrong = [];
  const url = pathToFileURL(file).href;
  p.on('console', (m) => {
    // The driver's own remarks on our screenshots are no errors of the page.
    if (m.type() === 'error' || (m.type() === 'warning' && !/GL Driver Message/.test(m.text()))) wrong.push(m.text());
  });
  p.on('pageerror', (e) => wrong.push(`exception: ${e.message}`));
  p.on('request', (r) => {
    if (r.url().split('#')[0] !== url) wrong.push(`request: ${r.url()}`);
  });
  await p.addInitScript(() => {
    window.violations = [];
    document.addEventListener('securitypolicyviolation', (e) => {
      window.violations.push(`${e.violatedDirective} ${e.blockedURI} ${e.sample}`);
    });
    window.alert = () => window.violations.push('alert was called');
  });
  await p.goto(url + hash);
  await p
    .waitForSelector(hash.includes('head=') ? '#map-how' : '[role=gridcell], .likeness button, .tour')
    .catch(async (e) => {
      throw new Error(`${e.message}\nthe page says: ${await p.locator('body').innerText()}\n${wrong.join('\n')}`);
    });
  return { page: p, wrong, close: () => c.close() };
}

/// Until the exact patches in view are all there, and the keys of the row.
export const settled = (p) =>
  p.waitForFunction(() => {
    const how = document.querySelector('#map-how');
    const there = (what) => document.querySelector(what) !== null;
    return how?.getAttribute('data-pending') === '0' && there('.map-panel table tbody tr') && there('.row-panel .keys li');
  });
