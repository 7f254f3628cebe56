// Takes pictures of every view of the page, at desktop and phone width, light and dark: pictures.mjs FOLDER PAGE TWO URL
// [NAME...]. PAGE is a page of one run with a tour, TWO one of two runs, URL a running server with a model. Used by
// tools/page_pictures.py; looking at them is for people.
import { join } from 'node:path';
import { closeAll, launch, open, settled } from './open.mjs';

const [folder, one, two, url, ...only] = process.argv.slice(2);
const head = 'head=11.2&row=1510&first=hidden';
const type = (label, text) => async (p) => p.getByLabel(label, { exact: true }).fill(text);
const into = (selector) => async (p) => p.locator(selector).first().scrollIntoViewIfNeeded();
const views = {
  grid: { of: one },
  map: { of: one, hash: head },
  cells: { of: one, hash: 'head=11.2&row=1510&at=1510,1512,18' },
  text: { of: one, hash: head, then: into('.text') },
  row: { of: one, hash: head, then: into('.keys') },
  side: { of: one, hash: `${head}&with=5.3` },
  difference: { of: one, hash: `${head}&with=5.3&compare=difference` },
  switches: { of: one, hash: 'head=11.2&row=1510&norm=key&scale=rank&palette=magma' },
  layers: { of: one, hash: 'layers=5,12' },
  search: { of: one, hash: `${head}&find=rabbit`, then: into('.text') },
  tour: { of: one, hash: 'tour=6' },
  'runs-grid': { of: two },
  'runs-map': { of: two, hash: 'head=11.2&row=180' },
  'runs-cells': { of: two, hash: 'head=11.2&row=90&at=80,86,18' },
  served: { hash: 'head=5.3', steer: true },
};
const sizes = { desktop: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };

async function served(hash, options) {
  const context = await (await launch('gpu')).newContext({ viewport: options, reducedMotion: 'reduce', ...options });
  const page = await context.newPage();
  await page.goto(`${url}&${hash}`);
  await page.waitForSelector('#map-how');
  return { page, close: () => context.close() };
}

for (const [name, view] of Object.entries(views)) {
  if (only.length && !only.includes(name)) continue;
  for (const [size, dimensions] of Object.entries(sizes)) {
    for (const colorScheme of ['light', 'dark']) {
      const options = { ...dimensions, colorScheme };
      const hash = view.hash ? `#${view.hash}` : '';
      const o = view.of ? await open(view.of, { hash, ...options }) : await served(view.hash, options);
      const p = o.page;
      if (hash.includes('head=')) await settled(p);
      if (view.steer) {
        await p.getByText('Steer: change the weighting').click();
        await type('Span', 'The cat')(p);
        await p.getByLabel('Weights on the span').focus();
        for (let i = 0; i < 12; ++i) await p.keyboard.press('ArrowRight');
        await p.getByText('Steered: 1 change.').waitFor();
        await settled(p);
      }
      if (view.then) await view.then(p);
      await p.waitForTimeout(600);
      await p.screenshot({ path: join(folder, `${name}-${size}-${colorScheme}.png`) });
      await o.close();
    }
  }
}
await closeAll();
