// The page from the real `bareattn serve`: what is shown is what the command prints, only this server is asked, the token
// leaves the address, a typed text runs, leaving frees, the keyboard and axe are content, and other sites get nothing.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';
import { closeAll, fresh, settled } from './open.mjs';
import { bin, model, serve, visit } from './serving.mjs';
import { closes, soon, test } from './testing.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'bareattn-serve-'));
const trace = join(folder, 'alice.safetensors');

before(() => {
  execFileSync(bin, ['trace', '-m', model, join(root, 'examples', 'text', 'alice.txt'), '-o', trace]);
});
after(async () => {
  await closeAll();
  rmSync(folder, { recursive: true });
});

test('the served page shows what the command prints, exactly', async () => {
  const server = await serve(trace);
  const o = await visit(server, { hash: 'head=16.0&row=1500&at=1500,1500,60' });
  await settled(o.page);
  await soon(async () => assert.match(await o.page.locator('#map-how').textContent(), /exact, computed by the server/));
  const truth = JSON.parse(execFileSync(bin, ['row', trace, '16.0', '1500', '--top', '10', '--json']));
  const shown = await o.page
    .locator('.keys li')
    .evaluateAll((all) => all.map((li) => [li.querySelector('.at').textContent, li.querySelector('data').value]));
  const keys = truth.keys ?? truth.top;
  assert.equal(shown.length, 10);
  shown.forEach(([at, weight], i) => {
    assert.equal(Number(at.replace(/,/g, '')), keys[i].key);
    assert.ok(Math.abs(weight - keys[i].weight) <= 1e-7 * keys[i].weight + 1e-9, `${weight}, not ${keys[i].weight}`);
  });
  const text = (await o.page.locator('.text span').allTextContents()).join('');
  assert.equal(text, readFileSync(join(root, 'examples', 'text', 'alice.txt'), 'utf8'));
  await soon(async () => assert.ok(!(await o.page.evaluate(() => location.href)).includes(server.token)));
  await o.page.reload();
  await o.page.waitForSelector('#map-how');
  await settled(o.page);
  await o.clean();
});

test('from the whole map to a cell: tiles come from the server, and leaving frees them', async () => {
  const server = await serve(trace);
  const o = await visit(server, { hash: 'head=5.3' });
  await o.page.locator('.map-over').focus();
  for (let i = 0; i < 12; ++i) {
    await o.page.keyboard.press('+');
    await o.page.waitForTimeout(60);
  }
  await settled(o.page);
  await soon(async () => {
    const { cache_bytes: kept } = await server.status();
    assert.ok(kept > 256 * 256 * 2, `${kept} bytes of tiles`);
  });
  assert.deepEqual(await o.page.evaluate(() => window.violations), []);
  await o.page.goto('about:blank'); // leaves the page
  await soon(async () => assert.equal((await server.status()).cache_bytes, 0));
  await o.page.context().close();
});

test('a typed text runs, and the page begins anew with it; axe finds nothing', async () => {
  const server = await serve('-m', model, '--text', 'The cat sat on the mat.');
  const o = await visit(server, { bypassCSP: true });
  await o.page.getByText('Run another text').click();
  const text = 'A hostile text: </script><img src=x onerror=alert(1)> \u202e end.';
  await o.page.getByLabel('The text, for the model of this page').fill(text);
  await o.page.evaluate(axe);
  const found = await o.page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  assert.deepEqual(
    found.violations.map((v) => v.id),
    [],
  );
  await o.page.keyboard.press('Control+Enter');
  await o.page.waitForFunction(() => document.body.textContent.includes('onerror=alert'), null);
  await o.page.waitForSelector('[role=gridcell]');
  await o.page.locator('[role=gridcell] button').first().click();
  await o.page.waitForSelector('.text span');
  await soon(async () => assert.equal((await o.page.locator('.text span').allTextContents()).join(''), text));
  // What keys carry was kept, of this text too.
  await o.page.getByRole('radio', { name: '\u00D7 value' }).check();
  await settled(o.page);
  await soon(async () => assert.match(await o.page.locator('#cell-weight').textContent(), /, carrying [\d.]+$/));
  await o.clean();
});

test('the box keeps the text, a run keeps the head in view, and the run before is had again', async () => {
  const first = 'The cat sat on the mat.';
  const server = await serve('-m', model, '--text', first);
  const o = await visit(server, { hash: 'head=7.1&row=4&scale=rank' });
  const p = o.page;
  const box = p.getByLabel('The text, for the model of this page');
  const text = async () => (await p.locator('.text span').allTextContents()).join('');
  await settled(p);
  await p.getByText('Run another text').click();
  assert.equal(await box.inputValue(), first, 'the text of the page is there to be changed');
  assert.equal(await p.getByRole('button', { name: /^Back to/ }).count(), 0);
  const second = 'The dog lay down.';
  await box.fill(second);
  await p.getByRole('button', { name: 'Run it' }).click();
  await soon(async () => assert.equal(await text(), second));
  await settled(p);
  await soon(async () => assert.match(await p.locator('.head-name h2').textContent(), /Layer 7, head 1/));
  assert.ok(await p.getByRole('radio', { name: 'Rank' }).isChecked(), 'as it was shown');
  await p.getByText('Run another text').click();
  assert.equal(await box.inputValue(), second);
  await p.getByRole('button', { name: 'Back to \u2018The cat sat on the mat.\u2019' }).click();
  await soon(async () => assert.equal(await text(), first));
  await settled(p);
  await soon(async () => assert.match(await p.locator('.head-name h2').textContent(), /Layer 7, head 1/));
  await p.getByText('Run another text').click();
  assert.equal(await box.inputValue(), first);
  assert.equal(await p.getByRole('button', { name: /^Back to/ }).count(), 0, 'before the first there is none');
  await o.clean();
});

test('where another text is shown by now the page says so and begins anew with it', async () => {
  const server = await serve('-m', model, '--text', 'The cat sat on the mat because it was tired.');
  const o = await visit(server, { hash: 'head=7.1&row=5' });
  await settled(o.page);
  const other = await visit(server);
  await other.page.getByText('Run another text').click();
  await other.page.getByLabel('The text, for the model of this page').fill('Once upon a time there was a fox.');
  await other.page.keyboard.press('Control+Enter');
  await other.page.getByRole('heading', { name: 'Once upon a time' }).waitFor();
  // Steering here would steer the other text.
  await o.page.getByText('Steer: change the weighting').click();
  await o.page.getByLabel('Temperature').focus();
  await o.page.keyboard.press('End');
  await o.page.getByText(/It was not run: .*410/).waitFor();
  await soon(async () => assert.equal((await server.status()).against, null));
  await o.page.evaluate(() => (location.hash = '#head=7.1&row=4'));
  const alert = o.page.getByRole('alert');
  await soon(async () => assert.match(await alert.textContent(), /Another text is shown now/));
  await alert.getByRole('button', { name: 'Reload' }).click();
  await o.page.getByRole('heading', { name: 'Once upon a time' }).waitFor();
  await o.page.locator('[role=gridcell] button').first().click();
  await o.page.waitForSelector('.text span');
  await soon(async () => assert.equal((await o.page.locator('.text span').allTextContents()).join(''), 'Once upon a time there was a fox.'));
  await soon(async () => assert.equal(await alert.count(), 0));
  await other.clean();
  await o.page.context().close();
});

test('a long run shows its progress and can be stopped', async () => {
  const server = await serve('-m', model, '--text', 'Short.');
  const o = await visit(server);
  await o.page.getByText('Run another text').click();
  const long = readFileSync(join(root, 'tests', 'golden', 'text', 'tom-sawyer.txt'), 'utf8').repeat(2);
  await o.page.getByLabel('The text, for the model of this page').fill(long);
  await o.page.getByRole('button', { name: 'Run it' }).click();
  await o.page.getByRole('button', { name: 'Stop' }).click();
  await o.page.getByText('Stopped.').waitFor();
  await soon(async () => assert.equal((await server.status()).running, false));
  await o.clean();
});

test('the address of a new start, pasted into the open tab, is followed', async () => {
  const first = await serve('-m', model, '--text', 'The cat sat on the mat.');
  const context = await fresh('gpu');
  const p = await context.newPage();
  await p.goto(first.url);
  await p.getByRole('heading', { name: 'The cat sat on the mat.' }).waitFor();
  const gone = new Promise((done) => first.process.on('exit', done));
  first.process.kill('SIGINT');
  await gone;
  const second = await serve('-m', model, '--text', 'The dog lay down.', '--port', String(first.port));
  await p.goto(second.url); // which changes the fragment alone
  await p.getByRole('heading', { name: 'The dog lay down.' }).waitFor();
  await p.locator('[role=gridcell] button').first().click();
  await p.waitForSelector('#map-how');
  await soon(async () => assert.ok(!(await p.evaluate(() => location.href)).includes(second.token)));
  await context.close();
});

test('without the token, and from another site, there is nothing to see', async () => {
  const server = await serve(trace);
  const context = await fresh('gpu');
  const p = await context.newPage();
  await p.goto(`http://127.0.0.1:${server.port}/`);
  await soon(async () => assert.match(await p.getByRole('alert').textContent(), /token is missing or wrong/));
  // A site of somebody else's, in the same browser, that has even learned the token.
  const site = createServer((_, answer) => answer.setHeader('Content-Type', 'text/html').end('<p>evil</p>'));
  closes(() => (site.closeAllConnections(), site.close()));
  await new Promise((done) => site.listen(0, '127.0.0.1', done));
  const q = await context.newPage();
  await q.goto(`http://localhost:${site.address().port}/`);
  const got = await q.evaluate(
    async ({ port, token }) => {
      const tries = {};
      for (const [name, options] of Object.entries({
        simple: {},
        withToken: { headers: { Authorization: `Bearer ${token}` } },
        opaque: { mode: 'no-cors' },
        post: { method: 'POST', mode: 'no-cors', body: '{"text":"x"}' },
      })) {
        tries[name] = await fetch(`http://127.0.0.1:${port}/api/text`, options).then(
          (r) => `${r.type} ${r.status}`,
          () => 'refused',
        );
      }
      const frame = document.createElement('iframe');
      frame.src = `http://127.0.0.1:${port}/#token=${token}`;
      document.body.append(frame);
      await new Promise((done) => (frame.onload = done));
      tries.frame = frame.contentDocument === null ? 'closed' : 'open';
      return tries;
    },
    { port: server.port, token: server.token },
  );
  for (const name of ['simple', 'withToken', 'opaque', 'post']) assert.match(got[name], /refused|opaque 0/, name);
  assert.equal(got.frame, 'closed');
  const framed = q.frames().find((f) => f.url().includes(`:${server.port}`) || f.url().startsWith('chrome-error'));
  if (framed) await soon(async () => assert.equal(await framed.locator('[role=gridcell]').count(), 0));
  await context.close();
});
