// The picture of one or two maps: what the screen shows, whole to its edges, with the measures along the edges, ticks
// or tokens, the focused row and key, single cells in figures where they are large enough, and colour bars with
// values.
import { type Colours, LOG_FLOOR, RANK_BINS, RANK_FLOOR, rampOf, shade, table } from './colormap';
import { count, percent, percentSigned, span } from '../data/format';
import type { Legend, Panel } from './figure';
import { FIGURES_PX, type Scene, cellsInView, drawScene, ink } from '../map/gutters';
import { putCells } from './pen';
import { pixels } from './render';

const LEFT = 96;
const BOTTOM = 84;
const SIDE = { one: 720, two: 520 }; // at least so wide is a map, CSS pixels

/** Tokens in view, across and down. */
const inView = ({ frame: f, camera, tokens }: Scene): { x: number; y: number } => ({
  x: Math.min(tokens.length - camera.x, (f.width - f.left) / camera.scale),
  y: Math.min(tokens.length - camera.y, (f.height - f.bottom) / camera.scale),
});

/** Cells are at least as large as on screen. */
const scaleOf = (scene: Scene, seen: { x: number; y: number }, alone: boolean): number =>
  Math.max(scene.camera.scale, (alone ? SIDE.one : SIDE.two) / Math.max(seen.x, seen.y));

/** Whether the cells of a scene carry their weights in figures. */
export const hasFigures = (scene: Scene, alone: boolean): boolean =>
  scaleOf(scene, inView(scene), alone) >= FIGURES_PX && scene.patches.some((p) => p.cell === 1);

/** The map of a scene as a panel: no wider than the text. */
export function mapPanel(scene: Scene, caption: string, alone: boolean): Panel {
  const { camera } = scene;
  const seen = inView(scene);
  const scale = scaleOf(scene, seen, alone);
  const frame = {
    width: LEFT + Math.round(seen.x * scale),
    height: BOTTOM + Math.round(seen.y * scale),
    left: LEFT,
    bottom: BOTTOM,
  };
  const to = { ...camera, scale };
  return {
    caption,
    width: frame.width + 12, // the last tick is not cut
    height: frame.height,
    draw(pen): void {
      pen.save();
      pen.beginPath();
      pen.rect(LEFT, 0, frame.width - LEFT, frame.height - BOTTOM);
      pen.clip();
      pen.translate(LEFT, 0);
      pen.fillStyle = ink().paper;
      const cells = scene.patches.map((p) => {
        const part = cellsInView(p, to, frame);
        return { p, part, empty: part.r1 <= part.r0 || part.c1 <= part.c0 };
      });
      putCells(
        pen,
        cells
          .filter(({ empty }) => !empty)
          .map(({ p, part }) => ({
            image: pixels(p, scene.colours, part),
            x: p.x + part.c0 * p.cell,
            y: p.y + part.r0 * p.cell,
            cell: p.cell,
            whole: p.exact,
          })),
        to,
      );
      pen.restore();
      drawScene({ ...scene, context: pen, frame, camera: to, room: true });
    },
  };
}

const STEPS = [1, 2, 2.5, 5, 10];

/** About four round values from 0 to the top, the top itself too where it stands free. */
function rounds(top: number): number[] {
  const raw = top / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * (STEPS.find((s) => s * power >= raw) ?? 10);
  return Array.from({ length: Math.floor(top / step + 1e-9) + 1 }, (_, i) => i * step);
}

const shortPercent = (v: number): string => `${Number((100 * v).toPrecision(3))} %`;

/** What weight a colour stands for, on the scale in use. */
export function weightTicks(colours: Colours): [number, string][] {
  const { scale, signed, top, cdf } = colours;
  if (scale === 'linear') {
    const ticks = rounds(top).map((v): [number, number] => [v / top, v]);
    if (!signed) return ticks.map(([t, v]) => [t, shortPercent(v)]);
    const ends = ticks.filter(([, v]) => v > 0 && v >= top / 2.5);
    return [
      ...ends.map(([t, v]): [number, string] => [0.5 - t / 2, percentSigned(-v)]).reverse(),
      [0.5, '0'],
      ...ends.map(([t, v]): [number, string] => [0.5 + t / 2, `+${percent(v)}`]),
    ];
  }
  const at = (v: number): number => Math.max(0, 1 - Math.log2(v) / LOG_FLOOR);
  if (signed) {
    const ends = [0.01, 1];
    return [
      ...ends.map((v): [number, string] => [0.5 - at(v) / 2, `\u2212${shortPercent(v)}`]).reverse(),
      [0.5, '0'],
      ...ends.map((v): [number, string] => [0.5 + at(v) / 2, `+${shortPercent(v)}`]),
    ];
  }
  if (scale === 'log') return [1e-4, 1e-3, 0.01, 0.1, 1].map((v) => [at(v), shortPercent(v)]);
  return [0.05, 0.25, 0.5, 0.75, 0.95].map((part) => {
    const bin = Math.max(
      0,
      cdf.findIndex((below) => below >= part),
    );
    return [part, bin > 0 ? percent(2 ** (RANK_FLOOR - (bin * RANK_FLOOR) / (RANK_BINS - 1))) : '0'];
  });
}

/** The colour bar of a map. */
export function weightLegend(colours: Colours, what: string): Legend {
  const lut = table(rampOf(colours));
  const how = colours.scale === 'rank' && !colours.signed ? ', by rank among the cells in view' : '';
  return { colour: (t) => shade(lut, t), ticks: weightTicks(colours), what: what + how };
}

/** What of the text is in view, and how exactly. */
export function extentOf(scene: Scene, head: { exact: boolean; block: number }): string[] {
  const { frame: f, camera, tokens, patches } = scene;
  const n = tokens.length;
  const range = (from: number, pixels: number): string =>
    span(Math.max(0, Math.floor(from)), Math.min(n, Math.ceil(from + pixels / camera.scale)) - 1);
  const [keys, rows] = [range(camera.x, f.width - f.left), range(camera.y, f.height - f.bottom)];
  const all = span(0, n - 1);
  const part =
    keys === all && rows === all ? `All ${count(n)} tokens` : `Rows ${rows}, keys ${keys} of ${count(n)} tokens`;
  const cell = Math.max(1, ...patches.map((p) => p.cell));
  const exact = patches.length > 0 && patches.every((p) => p.exact);
  const side = `${count(cell)} \u00D7 ${count(cell)} tokens`;
  const how = exact
    ? cell === 1
      ? 'Exact: every cell is one weight.'
      : `Exact: cells of ${side}, each reduced from single weights.`
    : `Pooled: cells of ${side}` +
      (head.exact ? '; zoomed in, single weights are exact.' : ', to within 3 % of each value.');
  return [part, how];
}
