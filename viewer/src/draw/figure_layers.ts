// The likeness of two layers' heads, to be saved: the matrix as a picture, with each head's map beside its row or above
// its column, and every pair as a table.
import { bright, css } from './colormap';
import { headName } from '../data/data';
import { type Figure, type Panel, sans } from './figure';
import { runLine, titleOf } from './figure_grid';
import { ink } from '../map/gutters';
import { type Likeness, type Like, type Match } from '../data/likeness';
import { NAMES, figure, origin, pairName, shades, words } from '../data/likeness_words';
import { type Pen, putCells } from './pen';
import type { Source } from '../source/source';
import type { State, Store } from '../state/state';
import { loadThumbs, thumbImage } from './thumbs';

/** What a saved matrix of two layers is made of. */
export interface LayersPicture {
  store: Store;
  state: State;
  source: Source;
  layers: readonly [number, number];
  found: Likeness;
  like: Like;
  pairs: Match[]; // the most alike first
  run: string; // of two runs which one
}

const LISTED = 3;

const titleOfLayers = ({ layers: [a, b], run }: LayersPicture): string =>
  `${a === b ? `The heads of layer ${a}` : `The heads of layer ${a} (down) and layer ${b} (across)`}` +
  (run ? `, run ${run}` : '');

/** The matrix as a picture. */
export async function figureOfLayers(p: LayersPicture): Promise<Figure> {
  const { store, state, source, layers, found, like, pairs } = p;
  const [a, b] = layers;
  const { heads } = found;
  const thumbs = await loadThumbs(source);
  const { low, high, of } = shades(pairs, like, state);
  const cell = heads > 14 ? 26 : 60;
  const side = cell - 4; // of a small map
  const [left, top] = [38 + cell, cell + 20];
  const map = (pen: Pen, head: number, x: number, y: number): void => {
    const image = thumbImage(thumbs, head, state.palette, state.first);
    pen.save();
    pen.translate(x, y);
    putCells(pen, [{ image, x: 0, y: 0, cell: 1 }], { x: 0, y: 0, scale: side / image.width });
    pen.restore();
  };
  const panel: Panel = {
    caption: '',
    width: left + heads * cell,
    height: top + heads * cell,
    draw(pen): void {
      pen.textBaseline = 'middle';
      for (let h = 0; h < heads; ++h) {
        map(pen, b * heads + h, left + h * cell, 18);
        map(pen, a * heads + h, 36, top + h * cell);
        pen.fillStyle = ink().faint;
        pen.font = sans(cell > 40 ? 11.5 : 9);
        pen.textAlign = 'center';
        pen.fillText(headName(store.data, b * heads + h), left + h * cell + side / 2, 8);
        pen.textAlign = 'right';
        pen.fillText(headName(store.data, a * heads + h), 30, top + h * cell + side / 2);
      }
      pen.textAlign = 'center';
      pen.font = sans(cell > 40 ? 14 : 9);
      for (let r = 0; r < heads; ++r)
        for (let c = 0; c < heads; ++c) {
          if (a === b && r === c) continue;
          const value = found.values[like]![r * heads + c]!;
          const [x, y] = [left + c * cell, top + r * cell];
          pen.fillStyle = css(of(value));
          pen.fillRect(x, y, side + 2, side + 2);
          pen.fillStyle = bright(of(value)) ? '#000000' : '#ffffff';
          pen.fillText(figure(like, value), x + side / 2 + 1, y + side / 2 + 1);
        }
    },
  };
  const list = (of: Match[]): string =>
    of.map((m) => `${pairName(store.data, layers, m).join(' and ')} (${words(like, m.value)})`).join(', ');
  return {
    title: titleOf(store),
    lines: [`${titleOfLayers(p)}: ${NAMES[like]}`, origin(found, like, state.first), runLine(store)],
    panels: [panel],
    legends: [
      {
        colour: (t) => of(low + t * (high - low)),
        ticks: [0, 0.25, 0.5, 0.75, 1].map((t) => [t, figure(like, low + t * (high - low))]),
        what: like === 'common' ? 'In common, percent' : `${NAMES[like][0]!.toUpperCase()}${NAMES[like].slice(1)}`,
      },
    ],
    notes: [
      `Most alike: ${list(pairs.slice(0, LISTED))}.`,
      `${like === 'outputs' ? 'Against each other' : 'Least alike'}: ${list(pairs.slice(-LISTED).reverse())}.`,
    ],
  };
}

/** Which of the numbers stand in the files, under which names: the bound is in the name where there is one. */
function columns({ found }: LayersPicture): [string, Float64Array][] {
  const { exact, rows, values } = found;
  return [
    [exact ? 'in_common' : 'in_common_at_most', values.common!],
    [exact || rows ? 'js_nats' : 'js_nats_at_least', values.js!],
    ...(values.outputs ? ([['output_cosine', values.outputs]] as [string, Float64Array][]) : []),
  ];
}

/** Its numbers as rows, the first of them names. */
export function layersTable(p: LayersPicture): (string | number)[][] {
  const { store, layers, found } = p;
  const all = columns(p);
  return [
    ['head_a', 'head_b', 'role_a', 'role_b', ...all.map(([name]) => name)],
    ...p.pairs.map((m) => [
      ...pairName(store.data, layers, m).map((name) => `head ${name}`),
      p.source.data.roles[layers[0] * found.heads + m.a]?.name ?? '',
      p.source.data.roles[layers[1] * found.heads + m.b]?.name ?? '',
      ...all.map(([, values]) => values[m.a * found.heads + m.b]!),
    ]),
  ];
}

/** Its numbers as JSON. */
export function layersJson(p: LayersPicture): unknown {
  const { store, state, layers, found } = p;
  const all = columns(p);
  return {
    kind: 'bareattn.layers',
    ...(p.run ? { run: p.run } : {}),
    model: p.source.data.model.name,
    title: p.source.data.title,
    layers,
    first_token: state.first ? 'shown' : 'hidden',
    exact: found.exact,
    block: found.block,
    rows_by_the_engine: found.rows,
    pairs: p.pairs.map((m) => {
      const [a, b] = pairName(store.data, layers, m);
      return { a, b, ...Object.fromEntries(all.map(([name, v]) => [name, v[m.a * found.heads + m.b]!])) };
    }),
    view: location.hash,
  };
}
