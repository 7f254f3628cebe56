// A file with the page in a sandboxed frame, as a notebook shows it: opened, a head chosen by keyboard, a picture
// saved, what is seen printed as JSON. Used by python/tests/test_show.py.
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { closeAll, launch } from './open.mjs';

const context = await (await launch('gpu')).newContext({ viewport: { width: 1200, height: 800 }, reducedMotion: 'reduce' });
const page = await context.newPage();
const wrong = [];
const url = pathToFileURL(process.argv[2]).href;
page.on('console', (m) => {
  if (m.type() === 'error') wrong.push(m.text());
});
page.on('pageerror', (e) => wrong.push(`exception: ${e.message}`));
page.on('request', (r) => {
  if (!/^(about:srcdoc|data:|blob:)/.test(r.url()) && r.url() !== url) wrong.push(`request: ${r.url()}`);
});
await page.goto(url);
const frame = page.frames().find((f) => f !== page.mainFrame());
await frame.waitForSelector('[role=gridcell] button');
const heads = await frame.locator('[role=gridcell] button').count();
await frame.locator('[role=gridcell] button').first().focus();
await page.keyboard.press('Enter');
await frame.waitForSelector('#map-how');
await frame.waitForSelector('.keys li');
await page.waitForTimeout(600); // the address is written a moment later, or rather not
const [download] = await Promise.all([
  page.waitForEvent('download'),
  frame.getByRole('button', { name: 'Save the map as SVG' }).click(),
]);
const saved = { name: download.suggestedFilename(), begins: readFileSync(await download.path(), 'utf8').slice(0, 4) };
const said = {
  saved,
  heads,
  title: await frame.locator('h1').textContent(),
  text: (await frame.locator('.text span').allTextContents()).join(''),
  row: await frame.locator('#row-title').textContent(),
  parent: await frame.evaluate(() => {
    try {
      return window.parent.document ? 'open' : 'closed';
    } catch {
      return 'closed';
    }
  }),
  wrong,
};
console.log(JSON.stringify(said));
await closeAll();
