// The page against a server that speaks the interface of docs/page-format.md ("Served"): it shows the same as the file,
// asks only its own origin, sends the token and keeps it out of the address, and gives up what is no longer on screen.
// The server here answers from the sections of hostile.html, in the plainest way.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { after } from 'node:test';
import { inflateSync } from 'node:zlib';
import { closeAll, fresh, page, settled } from './open.mjs';
import { closes, soon, test } from './testing.mjs';

after(closeAll);
const html = readFileSync(page('hostile.html'), 'utf8');
const data = JSON.parse(html.match(/id="page-data">(.*?)<\/script>/s)[1]);
const section = (name) => {
  const found = html.match(new RegExp(`data-section="${name.replace('.', '\\.')}">([^<]*)<`));
  return found ? inflateSync(Buffer.from(found[1], 'base64')) : null;
};
const half = (bits) => {
  const e = (bits >> 10) & 31;
  const f = bits & 1023;
  const v = e === 31 ? (f ? NaN : Infinity) : e === 0 ? f * 2 ** -24 : (1 + f / 1024) * 2 ** (e - 15);
  return bits & 0x8000 ? -v : v;
};
/// To binary16, to the nearest.
const toHalf = (v) => {
  if (v < 2 ** -14) return Math.round(v * 2 ** 24);
  const e = Math.floor(Math.log2(v));
  return ((e + 15) << 10) + Math.round((v / 2 ** e - 1) * 1024);
};
const n = data.run.tokens;
const dim = data.model.head_dim;

const known = new Map();
function weights(layer, head) {
  const name = `${layer}.${head}`;
  if (!known.has(name)) known.set(name, compute(layer, head));
  return known.get(name);
}

function compute(layer, head) {
  const q = section(`q/${layer}.${head}`);
  const k = section(`k/${layer}.0`);
  const at = (b, i) => half(b[i] | (b[n * dim + i] << 8));
  return Array.from({ length: n }, (_, i) => {
    const lse = q.readFloatLE(2 * n * dim + 4 * i);
    return Array.from({ length: i + 1 }, (_, j) => {
      let sum = 0;
      for (let d = 0; d < dim; ++d) sum += at(q, i * dim + d) * at(k, j * dim + d);
      return Math.exp(sum / Math.sqrt(dim) - lse);
    });
  });
}

const tiles = [256, 256, 256, 128]; // cells a side of each z

function tile(layer, head, z, x, y) {
  const side = 2 ** z;
  const cells = tiles[z];
  const w = weights(layer, head);
  const sum = new Float32Array(cells * cells);
  const max = new Float32Array(cells * cells);
  w.forEach((row, i) => {
    const r = Math.floor(i / side) - cells * y;
    const rows = Math.min(side, n - (r + cells * y) * side);
    row.forEach((v, j) => {
      const c = Math.floor(j / side) - cells * x;
      if (r < 0 || r >= cells || c < 0 || c >= cells) return;
      sum[cells * r + c] += v / rows;
      max[cells * r + c] = Math.max(max[cells * r + c], v);
    });
  });
  return Buffer.from(Uint16Array.from([...sum, ...max], toHalf).buffer);
}

/// `asked`: every request, and whether it was given up. `held`: tiles wait until `letGo` is called. `broken`: tiles are
/// refused. `blocks`: a side of its small pictures, which are then all alike.
async function serve({ token = 'secret', held = false, broken = false, blocks = data.thumbs.size } = {}) {
  const asked = [];
  let letGo;
  const gate = new Promise((done) => (letGo = done));
  const given = JSON.stringify({ schema_version: 2, source: { base: '/api' } });
  const shell = html
    .replace(/(id="page-data">).*?(<\/script>)/s, (_, a, b) => a + given + b)
    .replace(/<script type="text\/plain"[^>]*>[^<]*<\/script>\n/g, '')
    .replace("default-src 'none';", "default-src 'none'; connect-src 'self';");
  const handle = async (request, answer) => {
    const url = new URL(request.url, 'http://127.0.0.1');
    const entry = { path: url.pathname + url.search, givenUp: false };
    answer.on('close', () => (entry.givenUp = !answer.writableEnded));
    asked.push(entry);
    if (url.pathname === '/') return answer.setHeader('Content-Type', 'text/html').end(shell);
    if (url.pathname === '/favicon.ico') return answer.writeHead(204).end();
    if (request.headers.authorization !== `Bearer ${token}`) {
      return answer.writeHead(403).end(JSON.stringify({ error: 'no token' }));
    }
    const [, , kind, ...rest] = url.pathname.split('/');
    if (kind === 'tile' && held) await gate;
    if (kind === 'text') return answer.end(JSON.stringify({ ...data, thumbs: { size: blocks }, source: { base: '/api', tiles } }));
    const body =
      rest[0] === 'thumbs' && blocks !== data.thumbs.size
        ? Buffer.alloc(((blocks * (blocks + 1)) / 2 + blocks) * data.means.length, 200)
        : kind === 'section'
          ? section(rest.join('/'))
        : kind === 'row'
          ? Buffer.from(Float32Array.from(weights(...rest.slice(0, 2))[rest[2]]).buffer)
          : kind === 'tile' && !broken
            ? tile(...rest.map(Number))
            : null;
    if (body) answer.end(body);
    else answer.writeHead(404).end(JSON.stringify({ error: `no ${rest}` }));
  };
  let server;
  const start = async (port) => {
    server = createServer(handle);
    await new Promise((done) => server.listen(port, '127.0.0.1', done));
    return server.address().port;
  };
  const close = async () => {
    letGo();
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  };
  closes(close);
  const port = await start(0);
  return { url: `http://127.0.0.1:${port}/`, asked, close, letGo, again: () => start(port) };
}

async function visit(url) {
  const context = await fresh('gpu', { viewport: { width: 1400, height: 900 } });
  const p = await context.newPage();
  const wrong = [];
  p.on('console', (m) => m.type() === 'error' && wrong.push(m.text()));
  p.on('pageerror', (e) => wrong.push(e.message));
  p.on('request', (r) => !r.url().startsWith(url.split('#')[0]) && wrong.push(`request: ${r.url()}`));
  await p.goto(url);
  return { page: p, wrong, close: () => context.close() };
}

const keys = (o) =>
  o.page
    .locator('.keys li')
    .evaluateAll((all) => all.map((li) => [li.querySelector('.at').textContent, li.querySelector('data').value]));

test('a served page shows what the file shows, and keeps the token out of the address', async () => {
  const server = await serve();
  const o = await visit(`${server.url}#token=secret&head=0.1&row=90&at=60,60,20`);
  await o.page.waitForSelector('#map-how');
  await settled(o.page);
  await soon(async () => assert.match(await o.page.locator('#map-how').textContent(), /exact, computed by the server/));
  const truth = weights(0, 1)[90];
  const shown = await keys(o);
  assert.equal(shown.length, 10);
  for (const [key, w] of shown) assert.ok(Math.abs(w - truth[key]) < 1e-6, `${key}: ${w}, not ${truth[key]}`);
  await soon(async () => assert.equal(await o.page.locator('table tbody tr').count(), 20));
  const url = await o.page.evaluate(() => location.href);
  assert.ok(!url.includes('secret'), url);
  await o.page.reload();
  await o.page.waitForSelector('#map-how');
  assert.ok(server.asked.some((a) => /^\/api\/tile\/0\/1\/0\/0\/0\?pool=both$/.test(a.path)));
  assert.deepEqual(o.wrong, []);
  await o.close();
  await server.close();
});

test('while its tiles are coming, and where they are refused, the map does not call itself exact', async () => {
  const said = (o) => o.page.locator('#map-how').textContent();
  for (const broken of [false, true]) {
    const server = await serve({ held: true, broken });
    const o = await visit(`${server.url}#token=secret&head=0.1&at=60,60,20`);
    await o.page.waitForFunction(() => document.querySelector('#map-how')?.textContent);
    await soon(async () => assert.match(await said(o), /^pooled 16 \u00D7 16: .*; exact cells are on their way$/));
    await soon(async () => assert.equal(await o.page.locator('#map-how.exact').count(), 0));
    server.letGo();
    await settled(o.page);
    if (broken) await soon(async () => assert.match(await said(o), /^pooled 16 \u00D7 16: .*; exact cells could not be had$/));
    else await soon(async () => assert.equal(await said(o), 'exact, computed by the server'));
    await o.close();
    await server.close();
  }
});

test('heads are not called alike by a few wide blocks', async () => {
  for (const blocks of [8, 5]) {
    const server = await serve({ blocks });
    const o = await visit(`${server.url}#token=secret&head=0.1`);
    await o.page.waitForSelector('#map-how');
    await settled(o.page);
    await soon(async () => assert.equal(await o.page.locator('.alike').count(), blocks < 8 ? 0 : 1));
    await o.close();
    await server.close();
  }
});

test('without the token the page says what the server said', async () => {
  const server = await serve();
  const o = await visit(server.url);
  await soon(async () => assert.match(await o.page.getByRole('alert').textContent(), /refused text: 403 no token/));
  await o.close();
  await server.close();
});

test('leaving a head aborts its tiles', async () => {
  const server = await serve({ held: true });
  const o = await visit(`${server.url}#token=secret&head=0.1&at=60,60,20`);
  await o.page.waitForSelector('#map-how');
  const tiles = () => server.asked.filter((a) => a.path.startsWith('/api/tile/0/1'));
  await soon(() => assert.ok(tiles().length, 'no tile was asked for'));
  await o.page.getByRole('button', { name: 'All heads' }).click();
  await o.page.waitForSelector('[role=grid]');
  await soon(() => assert.ok(tiles().every((t) => t.givenUp), JSON.stringify(tiles())));
  await o.close();
  await server.close();
});

test('a server that is gone is said, and what failed meanwhile comes when it is back', async () => {
  const server = await serve();
  const o = await visit(`${server.url}#token=secret&head=0.1&row=90&at=60,60,20`);
  await o.page.waitForSelector('#map-how');
  await settled(o.page);
  await soon(async () => assert.equal(await o.page.getByRole('alert').count(), 0));
  await server.close();
  // A row, tiles of another place, and another head: each alone would have failed without a word.
  await o.page.evaluate(() => (location.hash = '#head=0.1&row=70&at=60,60,20'));
  const alert = o.page.getByRole('alert');
  await soon(async () => assert.match(await alert.textContent(), /The server does not answer/));
  await soon(async () => assert.match(await o.page.locator('#row-title').textContent(), /^Row 90 /)); // what was there stays
  await o.page.evaluate(() => (location.hash = '#head=1.2&row=70&at=60,60,20'));
  await alert.getByRole('button', { name: 'Retry' }).click();
  await o.page.waitForFunction(() => document.querySelector('.trouble button')?.disabled === false);
  await soon(async () => assert.match(await alert.textContent(), /The server does not answer/));
  await server.again();
  await alert.getByRole('button', { name: 'Retry' }).click();
  await o.page.waitForFunction(() => /^Row 70 /.test(document.querySelector('#row-title')?.textContent));
  await settled(o.page);
  await soon(async () => assert.equal(await alert.count(), 0));
  await soon(async () => assert.match(await o.page.locator('h2').first().textContent(), /Layer 1, head 2/));
  const truth = weights(1, 2)[70];
  const shown = await keys(o);
  for (const [key, w] of shown) assert.ok(Math.abs(w - truth[key]) < 1e-6, `${key}: ${w}, not ${truth[key]}`);
  // Without a hand too: whatever is answered next ends it.
  await server.close();
  await o.page.evaluate(() => (location.hash = '#head=1.2&row=71&at=60,60,20'));
  await alert.waitFor();
  await server.again();
  await o.page.evaluate(() => (location.hash = '#head=1.2&row=72&at=60,60,20'));
  await o.page.waitForFunction(() => /^Row 72 /.test(document.querySelector('#row-title')?.textContent));
  await alert.waitFor({ state: 'detached' });
  await server.close();
  assert.ok(o.wrong.every((w) => /ERR_CONNECTION_REFUSED|Failed to load resource/.test(w)), o.wrong.join('; '));
  await o.close();
});

/// Row 90 was not to be had, and now is: Retry brings it, and nothing is said any more.
async function retried(o) {
  await o.page.unroute('**/api/row/**');
  await o.page.getByRole('button', { name: 'Retry' }).click();
  await o.page.waitForFunction(() => /^Row 90 /.test(document.querySelector('#row-title')?.textContent));
  await soon(async () => assert.equal(await o.page.getByRole('alert').count(), 0));
}

test('a server that takes requests and answers none is said too', async () => {
  const server = await serve();
  const o = await visit(`${server.url}#token=secret`);
  await o.page.waitForSelector('[role=gridcell]');
  await o.page.evaluate(() => {
    window.timer = window.setTimeout; // the page waits 20 s before it calls it silence; here a tenth of one
    window.setTimeout = (act, ms, ...more) => window.timer(act, ms === 20000 ? 100 : ms, ...more);
  });
  await o.page.route('**/api/row/**', () => undefined);
  await o.page.evaluate(() => (location.hash = '#head=0.1&row=90'));
  await soon(async () => assert.match(await o.page.getByRole('alert').textContent(), /The server does not answer/));
  await o.page.evaluate(() => void (window.setTimeout = window.timer)); // a busy machine answers later than in a tenth
  await retried(o);
  await o.close();
  await server.close();
});

test('what the server refuses is said in its own words', async () => {
  const server = await serve();
  const o = await visit(`${server.url}#token=secret`);
  await o.page.waitForSelector('[role=gridcell]');
  await o.page.route('**/api/row/**', (route) =>
    route.fulfill({ status: 500, body: JSON.stringify({ error: 'the trace was altered' }) }),
  );
  await o.page.evaluate(() => (location.hash = '#head=0.1&row=90'));
  await soon(async () => assert.match(await o.page.getByRole('alert').textContent(), /500 the trace was altered/));
  await retried(o);
  await o.close();
  await server.close();
});
