// The map's canvases over time: another picture in the same place, a graphics chip that gives up, a screen of another
// density, cells after blocks. None of it leaves the map blank, blurred or of the wrong colours.
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { closeAll, expected, open, page, settled } from './open.mjs';
import { soon, test } from './testing.mjs';

after(closeAll);
const clean = async (o) => {
  assert.deepEqual(await o.page.evaluate(() => window.violations), []);
  assert.deepEqual(o.wrong.filter((w) => !/WebGL|CONTEXT_LOST/.test(w)), []);
  await o.close();
};
/// How many different colours stand in the map, as it is seen.
const coloursOf = async (p, which = 0) => {
  const box = await p.locator('.map-cells').nth(which).boundingBox();
  const shot = await p.screenshot({ clip: box });
  return p.evaluate(async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const image = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
    const context = new OffscreenCanvas(image.width, image.height).getContext('2d');
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, image.width, image.height);
    const seen = new Set();
    for (let i = 0; i < data.length; i += 4) seen.add(data[i] * 65536 + data[i + 1] * 256 + data[i + 2]);
    return seen.size;
  }, shot.toString('base64'));
};
/// A canvas that was drawn on by a context that is gone keeps its last picture, and draws nothing more.
const gone = (p) =>
  p.evaluate(() => [...document.querySelectorAll('.map-cells')].some((c) => c.getContext('webgl2')?.isContextLost()));
const renderer = (p) => p.locator('#map-how').getAttribute('data-renderer');

for (const draw of ['', '&draw=webgl'])
  test(`heads side by side, subtracted, and alone again: never blank (${draw || '2D'})`, async () => {
    const o = await open(page('hostile.html'), { hash: `#head=0.1&with=0.2${draw}` });
    await o.page.waitForFunction(() => document.querySelectorAll('.map-over').length === 2);
    await settled(o.page);
    const before = await renderer(o.page);
    for (const which of [0, 1]) await soon(async () => assert.ok((await coloursOf(o.page, which)) > 20, `map ${which} is blank`));
    await o.page.getByRole('radio', { name: 'Difference' }).check();
    await o.page.waitForFunction(() => document.querySelectorAll('.map-over').length === 1);
    await settled(o.page);
    await soon(async () => assert.ok((await coloursOf(o.page)) > 20, `the difference is blank (${before}, then ${await renderer(o.page)})`));
    await soon(async () => assert.equal(await gone(o.page), false, 'the difference cannot be drawn'));
    await o.page.getByRole('radio', { name: 'Side by side' }).check();
    await o.page.waitForFunction(() => document.querySelectorAll('.map-over').length === 2);
    await settled(o.page);
    for (const which of [0, 1]) await soon(async () => assert.ok((await coloursOf(o.page, which)) > 20, `map ${which} is blank afterwards`));
    await soon(async () => assert.equal(await gone(o.page), false, 'a map cannot be drawn afterwards'));
    await clean(o);
  });

test('a graphics chip that gives up: the map goes on in 2D, where it was', async () => {
  const o = await open(page('hostile.html'), { hash: '#head=0.1&at=60,60,40&draw=webgl' });
  await settled(o.page);
  if ((await renderer(o.page)) !== 'WebGL2') return console.log('NOT TESTED: this browser has no WebGL2 without a GPU');
  const full = await coloursOf(o.page);
  await o.page.evaluate(() => {
    const gl = document.querySelector('.map-cells').getContext('webgl2');
    gl.getExtension('WEBGL_lose_context').loseContext();
  });
  await o.page.waitForFunction(() => document.querySelector('#map-how').dataset.renderer === 'Canvas 2D');
  await settled(o.page);
  await soon(async () => assert.ok((await coloursOf(o.page)) > full / 2, 'the map is blank'));
  await soon(async () => assert.match(await o.page.evaluate(() => decodeURIComponent(location.hash)), /at=60(\.\d+)?,60(\.\d+)?,(40|39)/));
  await clean(o);
});

test('on a screen of another density every pixel is used, and the pointer names the same cell', async () => {
  const o = await open(page('hostile.html'), { hash: '#head=0.1&at=60,60,40' });
  await settled(o.page);
  const box = await o.page.locator('.map-cells').boundingBox();
  const over = async () => {
    await o.page.mouse.move(5, 5);
    await o.page.mouse.move(box.x + 100, box.y + 350);
    return o.page.locator('#readout').textContent();
  };
  const widths = () => o.page.evaluate(() => ['.map-cells', '.map-over'].map((c) => document.querySelector(c).width));
  const [before, said] = [await widths(), await over()];
  const devtools = await o.page.context().newCDPSession(o.page);
  await devtools.send('Emulation.setDeviceMetricsOverride', { width: 1400, height: 900, deviceScaleFactor: 2, mobile: false });
  await o.page.emulateMedia({ colorScheme: 'dark' }); // whatever is drawn next
  await o.page.waitForFunction((w) => Math.abs(document.querySelector('.map-cells').width - 2 * w) <= 1, before[0]);
  (await widths()).forEach((w, i) => assert.ok(Math.abs(w - 2 * before[i]) <= 1, `${w} pixels, ${before[i]} before`));
  await soon(async () => assert.equal(await over(), said));
  await clean(o);
});

test('linear: of single cells the strongest in sight is the brightest, however little its block gave', async () => {
  const truth = expected().long;
  const [layer, head] = truth.head;
  const o = await open(page('long.html'), { kind: 'flat', hash: `#head=${layer}.${head}&scale=linear` });
  await settled(o.page);
  const end = async () => parseFloat((await o.page.locator('.ticks span').allTextContents()).at(-1));
  const blocks = await end();
  const row = Number(Object.keys(truth.rows).at(-1));
  const { weights } = truth.rows[row];
  const key = weights.indexOf(Math.max(...weights));
  await o.page.evaluate((h) => (location.hash = h), `#head=${layer}.${head}&scale=linear&row=${row}&at=${key},${row},16`);
  await o.page.waitForFunction((b) => parseFloat([...document.querySelectorAll('.ticks span')].at(-1).textContent) !== b, blocks);
  await settled(o.page);
  await soon(async () => assert.ok((await end()) >= 100 * weights[key] - 0.1, `the scale ends at ${await end()} %, a cell has ${100 * weights[key]} %`));
  await clean(o);
});

test('the names of rows at the left answer to the pointer, also above the focused key', async () => {
  const o = await open(page('hostile.html'), { hash: '#head=0.1&row=100&key=90' });
  await settled(o.page);
  const box = await o.page.locator('.map-cells').boundingBox();
  const unit = Math.min(box.width, box.height) / expected().hostile.tokens.length;
  await o.page.mouse.move(box.x - 20, box.y + 20.5 * unit);
  await o.page.waitForFunction(() => /^20 /.test(document.querySelector('#readout').textContent));
  await clean(o);
});
