// The arithmetic of the page: codes and binary16, weights out of Q, K and log-sum-exp under windows and steering, the
// row of the tour, which tiles lie in view, and how exact what is drawn is said to be.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './load.mjs';

const quant = await load('data/quant.ts');
const { exactWeights, partOf } = await load('data/exact.ts');
const lessons = await load('data/lesson.ts');
const { PatchStore, pooledLevels, tilesInView } = await load('draw/tiles.ts');
const { NOTHING, drawnWords } = await load('map/drawn.ts');

test('codes stand for what the engine wrote', () => {
  assert.equal(quant.LOG_DECODE[0], 0);
  assert.equal(quant.LOG_DECODE[1], 2 ** -20);
  assert.equal(quant.LOG_DECODE[254], 1);
  assert.ok(Number.isNaN(quant.LOG_DECODE[255]));
  for (let code = 2; code < 255; ++code) {
    assert.ok(quant.LOG_DECODE[code] / quant.LOG_DECODE[code - 1] < 1.0565, `code ${code}`);
  }
  assert.deepEqual([0x3c00, 0xc000, 0x0001, 0x7c00].map(quant.halfValue), [1, -2, 2 ** -24, Infinity]);
  assert.ok(Number.isNaN(quant.halfValue(0x7e00)));
  // Low bytes, then high bytes.
  assert.deepEqual([...quant.halfPlanes(Uint8Array.of(9, 0, 0, 0x3c, 0xc0), 1, 2)], [1, -2]);
  assert.equal(quant.unrounded(1, 0.99), 0);
  assert.ok(quant.unrounded(1, 0.9) > 0);
});

/** A head of n tokens and D numbers each, made up, with its log-sum-exp in double precision. */
function made(n, dim, more = {}) {
  const values = (salt) => Float32Array.from({ length: n * dim }, (_, i) => Math.sin(salt * (i + 1)));
  const rule = { scale: 0.5, softcap: 0, slope: 0, window: n, leading: 0 };
  const x = { q: values(0.7), k: values(1.3), lse: new Float32Array(n), dim, ...rule, ...more };
  const score = (i, j) => {
    let sum = 0;
    for (let d = 0; d < dim; ++d) sum += x.q[i * dim + d] * x.k[j * dim + d];
    const scaled = sum * x.scale * (x.steer?.scale ?? 1);
    return (x.softcap ? x.softcap * Math.tanh(scaled / x.softcap) : scaled) + x.slope * (j - i);
  };
  const seen = (i, j) => j <= i && (j >= i - x.window || j < x.leading);
  const weights = Array.from({ length: n }, (_, i) => {
    const powers = Array.from({ length: i + 1 }, (_, j) => (seen(i, j) ? Math.exp(score(i, j)) : 0));
    const all = powers.reduce((a, b) => a + b, 0);
    x.lse[i] = Math.log(all);
    return powers.map((p) => p / all);
  });
  return { x, weights };
}

test('weights out of Q, K and log-sum-exp are those of the softmax, in windows and with another temperature too', () => {
  const steer = { rowSpan: [], keySpan: [], keySpans: 0, value: new Float32Array(0), scale: 0.25 };
  const every = { softcap: 0.4, slope: 0.3, window: 4, leading: 1, steer };
  for (const more of [{}, { window: 3, leading: 2 }, { steer }, every]) {
    for (const dim of [1, 4, 7]) {
      const { x, weights } = made(12, dim, more);
      for (const i of [0, 5, 11]) {
        const out = new Float64Array(i + 1);
        exactWeights(x, i, 0, i + 1, out);
        out.forEach((w, j) =>
          assert.ok(Math.abs(w - weights[i][j]) < 1e-5, `${dim}: ${i}, ${j}: ${w}, ${weights[i][j]}`),
        );
        assert.ok(Math.abs(out.reduce((a, b) => a + b, 0) - 1) < 1e-5);
      }
    }
  }
  assert.equal(partOf(0.2, 0.5), 0.4);
  assert.equal(partOf(0, 0), 0, 'a muted key gives no part to anybody');
  assert.ok(Number.isNaN(partOf(NaN, 0)));
});

test('the row of the tour adds up, whatever its knobs', () => {
  const rows = [
    [1, 2],
    [0.5, -1],
    [2, 0.25],
  ];
  const lesson = { scale: Math.SQRT1_2, q: rows, k: rows.map(([a, b]) => [b, a]), v: rows, weights: [] };
  for (const play of [
    lessons.NO_PLAY,
    { ...lessons.NO_PLAY, temperature: 3 },
    { ...lessons.NO_PLAY, from: 1, to: 1, masked: true },
  ]) {
    const row = lessons.computeRow(lesson, 2, play);
    assert.ok(Math.abs(row.weights.reduce((a, b) => a + b, 0) - 1) < 1e-12);
    row.blend.forEach((x, d) =>
      assert.ok(Math.abs(x - row.weights.reduce((s, w, j) => s + w * rows[j][d], 0)) < 1e-12),
    );
    if (play.masked) assert.equal(row.weights[1], 0);
    else
      assert.ok(
        row.weights.every((w) => w > 0),
        'nothing leaves the field',
      );
  }
  const nobody = lessons.computeRow(lesson, 1, { ...lessons.NO_PLAY, from: 0, to: 1, masked: true });
  assert.deepEqual(nobody.weights, [0, 0]);
  assert.deepEqual([0.5, 12345678, -1e-5, Infinity, NaN].map(lessons.figure), [
    '0.500',
    '1.23\u00B710\u2077',
    '\u22121.00\u00B710\u207B\u2075',
    '\u221E',
    'not a number',
  ]);
});

test('tiles in view cover the triangle that is looked at, each once', () => {
  const n = 1000;
  const tiles = tilesInView(n, 256, 0, [100, 700], [300, 900]);
  assert.equal(new Set(tiles.map((t) => t.id)).size, tiles.length);
  for (let y = 300; y < 900; y += 50) {
    for (let x = 100; x < Math.min(700, y + 1); x += 50) {
      assert.ok(
        tiles.some((t) => t.tx === Math.floor(x / 256) && t.ty === Math.floor(y / 256)),
        `${x}, ${y}`,
      );
    }
  }
  assert.ok(
    tiles.every((t) => t.tx <= t.ty),
    'above the diagonal there is nothing',
  );
});

test('patches that were used last stay, the others go when they take too much', () => {
  const store = new PatchStore();
  const patch = (bytes) => ({ values: new Float32Array(bytes / 4) });
  for (const id of ['a', 'b', 'c']) store.add(id, patch(30e6));
  store.get('a');
  store.add('d', patch(30e6));
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((id) => store.get(id) !== undefined),
    [true, false, true, true],
  );
});

test('coarse levels hold the shares of the fine one, and what blocks cannot tell is absent', () => {
  const blocks = 16;
  const cells = (blocks * (blocks + 1)) / 2;
  const share = Float32Array.from({ length: cells }, (_, i) => ((i * 7) % 11) / 50);
  const pooled = { block: 4, blocks, share, max: share, restShare: new Float32Array(blocks) };
  const head = { n: 64, pooled, exact: null };
  const [fine, coarse] = pooledLevels(head, { first: true, norm: 'row', weighted: false });
  assert.deepEqual([fine.width, coarse.width, coarse.cell], [16, 8, 8]);
  const sum = (level) => level.values.reduce((s, v, i) => s + (i % 2 === 0 && v > 0 ? v * level.cell : 0), 0);
  assert.ok(Math.abs(sum(fine) - sum(coarse)) < 1e-4, `${sum(fine)} and ${sum(coarse)}`);
  const [byKey] = pooledLevels(head, { first: true, norm: 'key', weighted: false });
  for (let c = 0; c < blocks; ++c) {
    let all = 0;
    for (let r = c; r < blocks; ++r) all += byKey.values[2 * (r * blocks + c)];
    assert.ok(Math.abs(all - 1) < 1e-5 || all === 0, `column ${c} adds up to ${all}`);
    assert.equal(byKey.values[2 * (c * blocks + c) + 1], -1, 'the largest part is not known');
  }
});

test('how exact a map is is said of what is drawn', () => {
  const said = (more, how = 'recomputed here') => drawnWords({ ...NOTHING, ...more }, how);
  assert.equal(said({ exact: 1 }), 'exact, recomputed here');
  assert.equal(said({ exact: 4 }), 'exact, recomputed here; 4 \u00D7 4 tokens a cell');
  assert.match(
    said({ exact: 1, pooled: 16, pending: true }),
    /^partly exact, .*; pooled 16 \u00D7 16 where cells are on their way$/,
  );
  assert.match(said({ pooled: 16, pending: true }), /^pooled 16 \u00D7 16: .*; exact cells are on their way$/);
  assert.match(said({ pooled: 16 }, null), /within 3 % of each value$/);
  assert.match(said({ pooled: 1 }, null), /^single weights, each to within 3 %$/);
});
