// The picture of all heads: each one's map in its lower left, the measure's colour in its upper right, its role's
// letter; layers across, heads down, or all from the highest measure to the lowest. Of two runs the difference.
import { bright, shade, table } from './colormap';
import { headName } from '../data/data';
import { count, label, value, plural } from '../data/format';
import { type Figure, type Legend, type Panel, sans } from './figure';
import { ink } from '../map/gutters';
import { type Pen, putCells } from './pen';
import { seen } from '../state/seen';
import type { State, Store } from '../state/state';
import { isDark } from './theme';
import { LOW, type Tile, badge, drawTint, loadThumbs, places, thumbDifference, thumbImage, tint } from './thumbs';

const WIDTH = 1240; // about so wide is the grid, CSS pixels
const NAMES = 26;
const UNDER = 13; // under each head for its name, where it is not told by its place

/** One head, in whole cells. */
export function putTile(pen: Pen, tile: Tile, image: ImageData): void {
  const { x, y, size } = tile;
  const cell = size / image.width;
  pen.save();
  drawTint(pen, tile, cell);
  pen.translate(x, y);
  putCells(pen, [{ image, x: 0, y: 0, cell: 1 }], { x: 0, y: 0, scale: cell });
  if (tile.badge && size >= 20) {
    pen.font = sans(Math.round(Math.max(9, size * 0.24)), 600);
    pen.textAlign = 'right';
    pen.textBaseline = 'top';
    pen.fillStyle = bright(tile.tint) ? '#14100a' : '#fffaf0';
    pen.fillText(tile.badge, size - size * 0.09, size * 0.09);
  }
  pen.restore();
}

/** The side of a tile, near what is wanted: its cells are whole pixels of a picture at two to one. */
export const tileSide = (wanted: number, cells: number): number =>
  (cells * Math.max(1, Math.round((2 * wanted) / cells))) / 2;

/** Maps and tints of the heads as the page shows them. */
export async function tilesOf(
  store: Store,
  state: State,
): Promise<{ images: ImageData[]; tints: (readonly number[])[] }> {
  const { source, before, values, signed } = seen(store, state);
  const [now, earlier] = await Promise.all([loadThumbs(source), before && loadThumbs(before)]);
  const images = values.map((_, h) =>
    earlier ? thumbDifference(earlier, now, h, state.first) : thumbImage(now, h, state.palette, state.first),
  );
  const { at } = places(values, signed);
  return { images, tints: values.map((_, h) => tint(at[h] ?? NaN, isDark(), signed)) };
}

/** What the colours of small maps stand for: always the logarithm of a share. */
export function tileLegend(state: State, differ: boolean): Legend {
  const lut = table(differ ? 'difference' : state.palette);
  const at = (v: number): number => Math.max(0, 1 - Math.log2(v) / LOW);
  return {
    colour: (t) => shade(lut, t),
    what: differ
      ? 'Lower left: B \u2212 A, in shares of the row\u2019s weight'
      : 'Lower left: share of the row\u2019s weight',
    ticks: differ
      ? [
          [0, '\u2212100 %'],
          [0.5 - at(0.01) / 2, '\u22121 %'],
          [0.5, '0'],
          [0.5 + at(0.01) / 2, '+1 %'],
          [1, '+100 %'],
        ]
      : [
          [0, `${(100 * 2 ** LOW).toFixed(1)} %`],
          [at(0.01), '1 %'],
          [at(0.1), '10 %'],
          [1, '100 %'],
        ],
  };
}

/** The colour bar of the measure. */
export function measureLegend(store: Store, state: State): Legend {
  const { measure, values, signed } = seen(store, state);
  const { low, high } = places(values, signed);
  return {
    colour: (t) => tint(t, isDark(), signed),
    what: `Upper right: ${signed ? 'change of ' : ''}${measure.title}${measure.unit ? `, ${measure.unit}` : ''}`,
    ticks: [0, 0.25, 0.5, 0.75, 1].map((t) => [t, value(low + t * (high - low), '')]),
  };
}

/** The text's name; of two runs both. */
export function titleOf(store: Store): string {
  const { data } = store;
  const b = store.get().against?.data;
  const name = label(data.title || data.model.name, 200);
  return b && b.title !== data.title ? `A: ${name}. B: ${label(b.title || b.model.name, 200)}` : name;
}

/** The run in one line. */
export const runLine = ({ data }: Store): string =>
  `${data.model.name}, ${data.model.file_type}, ${plural(data.run.tokens, 'token')}, ` +
  `${data.model.layers} layers \u00D7 ${data.model.heads} heads. Bare Attention`;

/** All heads as the grid shows them. */
export async function gridFigure(store: Store, state: State): Promise<Figure> {
  const { data, measure, values, signed, before } = seen(store, state);
  const { layers, heads } = data.model;
  const { images, tints } = await tilesOf(store, state);
  const all = Array.from({ length: layers * heads }, (_, i) => i);
  const sorted = state.order === 'measure';
  const rank = (h: number): number => {
    const v = signed ? Math.abs(values[h] ?? NaN) : (values[h] ?? NaN);
    return Number.isNaN(v) ? -Infinity : v;
  };
  const order = sorted
    ? all.sort((a, b) => (rank(a) === rank(b) ? a - b : rank(b) - rank(a)))
    : all.map((i) => (i % layers) * heads + Math.floor(i / layers));
  const size = tileSide(Math.max(20, Math.min(64, WIDTH / layers - 3)), images[0]!.width);
  const step = size + 3;
  const down = step + (sorted ? UNDER : 0);
  const names = sorted ? 0 : NAMES;
  const panel: Panel = {
    caption: '',
    width: names + layers * step,
    height: heads * down + (sorted ? 0 : 20),
    draw(pen): void {
      order.forEach((head, place) => {
        const role = data.roles[head]?.name ?? '';
        const x = names + (place % layers) * step;
        const y = Math.floor(place / layers) * down;
        const dim = state.role !== null && state.role !== role;
        putTile(pen, { head, x, y, size, tint: tints[head]!, badge: badge(role), dot: false, dim }, images[head]!);
      });
      pen.fillStyle = ink().faint;
      pen.textBaseline = 'middle';
      if (sorted) {
        // The place of a head does not tell its name.
        pen.font = sans(10);
        pen.textAlign = 'center';
        order.forEach((head, place) => {
          const y = Math.floor(place / layers) * down + size + UNDER / 2;
          pen.fillText(headName(data, head), names + (place % layers) * step + size / 2, y);
        });
        return;
      }
      pen.font = sans(11.5);
      pen.textAlign = 'right';
      for (let h = 0; h < heads; ++h) pen.fillText(String(h), names - 6, h * step + size / 2);
      pen.textAlign = 'center';
      for (let l = 0; l < layers; ++l) pen.fillText(String(l), names + l * step + size / 2, heads * step + 8);
    },
  };
  const roles = new Map<string, number>();
  for (const { name } of data.roles) roles.set(name, (roles.get(name) ?? 0) + 1);
  const letters = [...roles]
    .sort((a, b) => b[1] - a[1])
    .map(([name, n]) => `${badge(name) || '(none)'} ${name} (${n})`);
  const run = store.get().against && !before ? (state.runs === 'second' ? ' of run B' : ' of run A') : '';
  return {
    title: titleOf(store),
    lines: [
      `All ${count(all.length)} heads${run}, ` +
        (before ? 'B \u2212 A' : `coloured by ${measure.title.toLowerCase()}`) +
        (state.role ? `; ${state.role} heads stand out` : ''),
      (sorted ? 'From the highest measure to the lowest. ' : 'Across: layers. Down: heads. ') + runLine(store),
    ],
    panels: [panel],
    legends: [tileLegend(state, before !== null), measureLegend(store, state)],
    notes: [
      'Each square is one head. Lower left: its map, every row a token that looks, every column a token looked at' +
        `${before ? '; orange where B gives more than A, purple where less' : ''}` +
        `${state.first ? '' : '; the first token is hidden'}. Upper right: ${signed ? 'change from A to B of: ' : ''}` +
        `${measure.description.replace(/\.$/, '')}.`,
      `Letters: roles on this text: ${letters.join(', ')}.`,
    ],
  };
}
