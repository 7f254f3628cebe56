// The tour is on every page that knows its model: a text that is served, one that is typed in later, a trace that is served
// or written with its model, pages of two runs. A page that knows none says how to get the tour.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { closeAll, open } from './open.mjs';
import { bin, model, serve, visit } from './serving.mjs';
import { soon, test } from './testing.mjs';

const folder = mkdtempSync(join(tmpdir(), 'bareattn-places-'));
const at = (name) => join(folder, name);
const text = 'The dog that had come with the cat lay down beside it.';
delete process.env.BAREATTN_MODEL; // a model is at hand where it is named, here
let lesson; // what the tour is told on, everywhere

before(() => {
  for (const name of ['a', 'b']) execFileSync(bin, ['trace', '-m', model, '--text', text, '-o', at(name + '.safetensors')]);
  execFileSync(bin, ['page', at('a.safetensors'), '-m', model, '-o', at('one.html')]);
  execFileSync(bin, ['page', at('a.safetensors'), '--against', at('b.safetensors'), '-m', model, '-o', at('two.html')]);
  ({ lesson } = JSON.parse(readFileSync(at('one.html'), 'utf8').match(/id="page-data">(.*?)<\/script>/s)[1]));
});
after(async () => {
  await closeAll();
  rmSync(folder, { recursive: true });
});

/// Opens the tour by its button and reads the row that it is told by.
async function tour(p) {
  await p.getByRole('button', { name: 'How it works' }).click();
  await p.locator('.tour-steps li button').nth(4).click();
  const shown = await p.locator('.stage tbody .weight data').evaluateAll((all) => all.map((d) => Number(d.value)));
  assert.equal(shown.length, lesson.row + 1);
  shown.forEach((w, j) => assert.ok(Math.abs(w / lesson.weights[lesson.row][j] - 1) < 1e-4, `${j}: ${w}`));
}
const clean = async (o) => {
  assert.deepEqual(await o.page.evaluate(() => window.violations), []);
  assert.deepEqual(o.wrong, []);
  await o.close();
};

test('a text that is served with its model, and the text that is typed in then', async () => {
  const { page: p, clean: end } = await visit(await serve('-m', model, text));
  await tour(p);
  await p.getByRole('button', { name: 'All heads' }).click();
  await p.getByText('Run another text').click();
  await p.getByLabel('The text, for the model of this page').fill('Another text that is run.');
  await p.getByRole('button', { name: 'Run it' }).click();
  await p.getByRole('heading', { level: 1, name: 'Another text that is run.' }).waitFor();
  await tour(p);
  await end();
});

test('a trace that is served: with its model the tour, without one the sentence', async () => {
  const with_model = await visit(await serve(at('a.safetensors'), '-m', model));
  await tour(with_model.page);
  await with_model.clean();
  const without = await visit(await serve(at('a.safetensors'), '--against', at('b.safetensors')));
  await soon(async () => assert.equal(await without.page.getByRole('button', { name: 'How it works' }).count(), 0));
  await soon(async () => assert.match(await without.page.locator('.no-tour').textContent(), /bareattn serve RUN -m MODEL\.gguf\.$/));
  await without.clean();
});

test('pages of one and of two runs, from where the head on the whole text is one step', async () => {
  for (const name of ['one.html', 'two.html']) {
    const o = await open(at(name));
    await tour(o.page);
    await soon(async () => assert.equal(await o.page.locator('.no-tour').count(), 0));
    await o.page.locator('.tour-steps li button').nth(7).click();
    await o.page.getByRole('button', { name: 'This head on the whole text' }).click();
    await o.page.waitForSelector('#map-how');
    await soon(async () => assert.match(await o.page.locator('.head-name h2').textContent(), new RegExp(`Layer ${lesson.layer}, head ${lesson.head}`)));
    await clean(o);
  }
});
