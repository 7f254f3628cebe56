// The buttons that save: of a map its picture (PNG, SVG) and the focused row (CSV, JSON); of the grid its picture and
// the measures of all heads. Names of files say what is in them: the text, the head or heads, the run or runs, the
// row.
import { useRef, useState } from 'preact/hooks';
import { headName } from '../data/data';
import { type Pair, differenceName, differenceOf } from '../head/compare';
import { type Figure, pngOf, svgOf } from '../draw/figure';
import { gridFigure, runLine, titleOf } from '../draw/figure_grid';
import { extentOf, hasFigures, mapPanel, weightLegend } from '../draw/figure_map';
import { count, errorText, label, percent, percentSigned, quoted } from '../data/format';
import type { Head, RowView } from '../data/head';
import { headsJson, headsTable } from './heads_file';
import type { MapView } from '../map/map';
import { type Norm, type Side, rowJson, rowTable } from './row_file';
import { csvBlob, download, jsonBlob, slug } from './save';
import type { State, Store } from '../state/state';

interface Kind {
  extension: string;
  what: string; // it holds
  name: string; // of the file, without its extension
  make: () => Blob | Promise<Blob>;
}

const SAID_MS = 5000;

/** The choice of files to be saved. */
export function SaveButtons({ kinds }: { kinds: Kind[] }) {
  const [said, setSaid] = useState('');
  const timer = useRef(0);
  const save = async ({ name, extension, make }: Kind): Promise<void> => {
    try {
      download(`${name}.${extension}`, await make());
      setSaid(`Saved ${name}.${extension}`);
      window.clearTimeout(timer.current);
      timer.current = window.setTimeout(() => setSaid(''), SAID_MS);
    } catch (error) {
      setSaid(errorText(error));
    }
  };
  return (
    <div class="choice save" role="group" aria-label="Save">
      <span class="legend" aria-hidden="true">
        Save
      </span>
      <div class="options">
        {kinds.map((kind) => (
          <button
            type="button"
            key={kind.extension}
            aria-label={`Save ${kind.what} as ${kind.extension.toUpperCase()}`}
            onClick={() => void save(kind)}
          >
            {kind.extension.toUpperCase()}
          </button>
        ))}
      </div>
      <span role="status" class="saved">
        {said}
      </span>
    </div>
  );
}

/** How the files of a page begin. */
export const fileName = (store: Store): string => `bareattn-${slug(store.data.title || store.data.model.name)}`;

/** PNG and SVG of one figure, which is put together when asked for. */
export function pictures(what: string, name: string, figure: () => Promise<Figure>): Kind[] {
  return [
    { extension: 'png', what, name, make: async () => pngOf(await figure()) },
    { extension: 'svg', what, name, make: async () => svgOf(await figure()) },
  ];
}

interface SaveViewProps {
  store: Store;
  state: State;
  head: Head;
  other: Head | null; // compared with
  pair: Pair | null; // how
  maps: { current: MapView | null }[]; // as they stand beside each other
  row: RowView; // shown
  otherRow: RowView | null;
  keyToken: number;
  norm: 'row' | 'key';
  weighted: boolean;
  whats: string[]; // a cell of each map says
}

/** Which of two runs is shown, "" where there is one. */
export const runOf = (state: State): string => (state.against ? (state.runs === 'second' ? 'B' : 'A') : '');

/** "layer 11, head 2 of run B", "A and B of layer 11, head 2", "layer 11, head 2 less layer 5, head 3". */
function subject({ head, pair, state }: SaveViewProps): string {
  const one = `layer ${head.layer}, head ${head.head}`;
  if (!pair) return runOf(state) ? `${one}, run ${runOf(state)}` : one;
  if (pair.kind === 'runs') return `${one}: ${pair.as === 'side' ? 'A and B' : differenceName(pair)}`;
  const [a, b] = pair.names;
  const both = pair.as === 'side' ? `${a} and ${b}` : differenceName({ ...pair, beside: pair.names });
  return runOf(state) ? `${both}, run ${runOf(state)}` : both;
}

const capital = (text: string): string => text[0]!.toUpperCase() + text.slice(1);

/** The focused cell in words, with its weights where they are known. */
function focusNote({ store, state, head, pair, row, otherRow, keyToken: key }: SaveViewProps): string {
  const { tokens } = store.data;
  const cell = (i: number): string => `${count(i)} ${quoted(tokens[i])}`;
  const where = `Focused: row ${cell(state.row)}, key ${cell(key)}`;
  const a = row.row === state.row && head.exact ? row.weights[key] : undefined;
  if (a === undefined) return `${where}.`;
  const b = pair && otherRow?.row === row.row && otherRow.exact ? otherRow.weights[key] : undefined;
  if (!pair) return `${where}: weight ${percent(a)}.`;
  if (b === undefined) return `${where}.`;
  const [x, y] = pair.beside;
  const d = percentSigned(differenceOf(pair, a, b));
  return `${where}: weights: ${x}: ${percent(a)}, ${y}: ${percent(b)}, ${differenceName(pair)}: ${d}.`;
}

async function viewFigure(props: SaveViewProps): Promise<Figure> {
  const { store, state, head, pair, maps, whats } = props;
  const scenes = await Promise.all(maps.flatMap(({ current }) => (current ? [current.wholeScene()] : [])));
  const [scene] = scenes;
  if (!scene) throw new Error('the map is not there yet');
  const difference = pair?.as === 'difference';
  const { scale, pool } = scene.colours;
  const shown = runOf(state) === 'B' ? state.against! : store.source;
  const role = pair ? undefined : shown.data.roles[head.index];
  const edges = scene.picture.edges;
  const [what] = whats;
  const alike = whats.every((w) => w === what);
  // On the logarithmic scale a colour means the same in both.
  const each = scenes.length > 1 && !(scale === 'log' && alike);
  const legends = scenes.map((s, i) =>
    weightLegend(s.colours, capital(each ? `${pair!.short[i]}: ${whats[i]}` : what!)),
  );
  const exact = scene.picture.exact;
  return {
    title: titleOf(store),
    lines: [
      capital(subject(props)) +
        (role ? ` (${role.name}): ` : ': ') +
        (alike ? what : whats.map((w, i) => `${pair!.short[i]} ${w}`).join('; ')) +
        (state.first ? '' : ', the first token hidden'),
      extentOf(scene, { exact, block: head.pooled.block }).join('. '),
      runLine(store),
    ],
    panels: scenes.map((s, i) => mapPanel(s, scenes.length > 1 ? capital(pair!.names[i]!) : '', scenes.length === 1)),
    legends: each ? legends : legends.slice(0, 1),
    notes: [
      focusNote(props),
      'Every row is a token that looks, every column a token looked at.' +
        (pool === 'max' ? ' A cell that covers many shows the largest single weight in it.' : '') +
        (difference ? ` Orange: more in ${pair.kind === 'runs' ? 'B' : pair.names[0]}; purple: less.` : '') +
        (hasFigures(scene, scenes.length === 1) ? ' Figures: percent; a dot is less than 0.1.' : '') +
        (edges ? ' Left edge: entropy of each row. Lower edge: weight each key receives, logarithmic.' : ''),
    ],
  };
}

/** Saves the maps and the row. */
export function SaveView(props: SaveViewProps) {
  const { store, state, head, pair, row, weighted, norm } = props;
  const { data } = store;
  const other = props.other && props.otherRow?.row === row.row ? props.other : null;
  const dashed = (h: number): string => headName(data, h).replace('.', '-');
  const one = `${fileName(store)}-${dashed(head.index)}`;
  const run = runOf(state) ? `-${runOf(state).toLowerCase()}` : '';
  const name = !pair
    ? one + run
    : pair.kind === 'runs'
      ? `${one}-${pair.as === 'side' ? 'a-vs-b' : 'b-minus-a'}`
      : `${one}-${pair.as === 'side' ? 'vs' : 'minus'}-${dashed(props.other?.index ?? head.index)}${run}`;
  const runs = pair?.kind === 'runs';
  const second = store.get().against?.data;
  const own = runs || runOf(state) !== 'B' ? data : (second ?? data);
  const a: Side = { run: runOf(state), data: own, head, row };
  const b: Side | null = other &&
    props.otherRow && {
      run: runs ? 'B' : runOf(state),
      data: runs ? (second ?? data) : own,
      head: other,
      row: props.otherRow,
    };
  const how: Norm = weighted ? 'carried' : norm;
  const rowName = `row ${count(row.row)} ${label(data.tokens[row.row])}`;
  const rowFile = `${name}-row-${row.row}`;
  return (
    <SaveButtons
      kinds={[
        ...pictures('the map', name, () => viewFigure(props)),
        { extension: 'csv', what: rowName, name: rowFile, make: () => csvBlob(rowTable(a, b, pair, how)) },
        { extension: 'json', what: rowName, name: rowFile, make: () => jsonBlob(rowJson(a, b, pair, how)) },
      ]}
    />
  );
}

/** Saves the grid and the measures. */
export function SaveHeads({ store, state }: { store: Store; state: State }) {
  const what = 'the measures of all heads';
  const run = state.against
    ? { first: '-a', second: '-b', side: '-b-minus-a', difference: '-b-minus-a' }[state.runs]
    : '';
  const name = `${fileName(store)}-heads`;
  return (
    <SaveButtons
      kinds={[
        ...pictures('the grid', `${name}${run}`, () => gridFigure(store, state)),
        { extension: 'csv', what, name, make: () => csvBlob(headsTable(store)) },
        { extension: 'json', what, name, make: () => jsonBlob(headsJson(store)) },
      ]}
    />
  );
}
