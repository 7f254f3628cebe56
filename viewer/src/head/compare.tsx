// Two heads beside each other: which other head, how, and what both say about the focused row in figures. Agreement is
// what the two weightings of the row have in common, sum_j min(a_j, b_j): 100 % where they are the same.
import { useMemo } from 'preact/hooks';

import { Choice } from './controls';
import { type PageData, headName, layerOf } from '../data/data';
import { count, percent, percentSigned } from '../data/format';
import type { RowView } from '../data/head';
import type { Source } from '../source/source';
import type { State, Store } from '../state/state';
import { inCommon } from '../draw/thumbs';
import { Token } from './token';
import { useThumbs } from '../state/use_thumbs';

/**
 * What a head is compared with: another head, or itself in the second run. A difference of heads is first less second,
 * of runs second less first: what is more, after, is orange.
 */
export interface Pair {
  kind: 'heads' | 'runs';
  as: 'side' | 'difference';
  names: [string, string]; // on the maps and in words
  short: [string, string]; // in names of files and columns: "0.4"
  beside: [string, string]; // beside numbers, for one of which "0.4" would be taken: "head 0.4"
}

/** What lies between: of two heads the first less the second, of two runs B less A. */
export const differenceOf = (pair: Pair, a: number, b: number): number => (pair.kind === 'runs' ? b - a : a - b);

/** Its name: "B \u2212 A". */
export const differenceName = ({ kind, beside: [a, b] }: Pair): string =>
  kind === 'runs' ? `${b} \u2212 ${a}` : `${a} \u2212 ${b}`;

/** The difference of the same row of both, key by key. */
export function rowDifference(pair: Pair, a: RowView, b: RowView): Float32Array {
  return Float32Array.from(a.weights, (w, j) => differenceOf(pair, w, b.weights[j] ?? NaN));
}

const FEWEST = 8; // blocks a side of a small picture, below which all heads look alike

/** The heads of this one's layer that look most and least like it, to be compared with at a click. */
function Alike({ store, source, head }: { store: Store; source: Source; head: number }) {
  const thumbs = useThumbs(source);
  const { data } = source;
  const others = useMemo(() => {
    if (!thumbs || (thumbs.size < FEWEST && thumbs.size < data.run.tokens)) return [];
    return Array.from(data.means.keys())
      .filter((i) => i !== head && layerOf(data, i) === layerOf(data, head))
      .map((i) => ({ i, common: inCommon(thumbs, head, i) }))
      .filter(({ common }) => Number.isFinite(common))
      .sort((a, b) => b.common - a.common);
  }, [thumbs, data, head]);
  if (others.length < 2) return null;
  const choice = (what: string, { i, common }: { i: number; common: number }, of = '') => (
    <span>
      {what}{' '}
      <button type="button" class="link" onClick={() => store.set({ other: i })}>
        {headName(data, i)}
      </button>{' '}
      ({percent(common)}
      {of})
    </span>
  );
  return (
    <p
      class="alike"
      title="What both have in common, mean over the rows; keys are counted in blocks, so at most this much"
    >
      In this layer {choice('most like it:', others[0]!, ' of the weight in common')},{' '}
      {choice('least:', others[others.length - 1]!)},{' '}
      <button
        type="button"
        class="link"
        onClick={() => store.set({ head: null, view: null, layers: [layerOf(data, head), layerOf(data, head)] })}
      >
        all of them
      </button>
    </p>
  );
}

interface CompareBarProps {
  store: Store;
  state: State;
  source: Source; // the run that is shown
  head: number;
}

/** The choice of the other head. */
export function CompareBar({ store, state, source, head }: CompareBarProps) {
  const { data } = source;
  const all = data.means.length;
  const choose = (value: string): void => store.set({ other: value === '' ? null : Number(value) });
  return (
    <div class="compare-bar">
      <label class="legend" for="compare-with">
        Compare with
      </label>
      <select
        id="compare-with"
        value={state.other === null ? '' : String(state.other)}
        onChange={(e) => choose(e.currentTarget.value)}
      >
        <option value="">no other head</option>
        {Array.from({ length: all }, (_, i) => i)
          .filter((i) => i !== head)
          .map((i) => (
            <option key={i} value={String(i)}>
              {headName(data, i)} {data.roles[i]?.name}
            </option>
          ))}
      </select>
      {state.other !== null && (
        <Choice
          legend="As"
          value={state.compare}
          options={[
            ['side', 'Side by side', 'Two maps that move together'],
            [
              'difference',
              'Difference',
              'One map: orange where the first head gives more, purple where the second does',
            ],
          ]}
          onChange={(compare) => store.set({ compare })}
        />
      )}
      <Alike store={store} source={source} head={head} />
    </div>
  );
}

/** What two rows have in common: the sum of the smaller of both weights. */
export function agreement(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let j = 0; j < a.length; ++j) sum += Math.min(a[j] ?? 0, b[j] ?? 0);
  return sum;
}

interface ComparePanelProps {
  data: PageData;
  pair: Pair;
  a: RowView;
  b: RowView;
  onKey: (key: number) => void;
}

/** The row in both, key by key. */
export function ComparePanel({ data, pair, a, b, onKey }: ComparePanelProps) {
  const size = Math.min(a.weights.length, b.weights.length);
  // Of heads where either looks; of runs what changed most.
  const telling = (j: number): number =>
    pair.kind === 'runs' ? Math.abs(a.weights[j]! - b.weights[j]!) : Math.max(a.weights[j]!, b.weights[j]!);
  const keys = Array.from({ length: size }, (_, j) => j)
    .sort((i, j) => telling(j) - telling(i))
    .slice(0, 10);
  const both = agreement(a.weights, b.weights);
  const [one, two] = pair.beside;
  return (
    <section class="row-panel compare-panel" aria-labelledby="compare-title">
      <h2 id="compare-title">
        Row {count(a.row)} in both: <b id="agreement">{percent(both)}</b> in common
      </h2>
      {!(a.exact && b.exact) && <p class="how">Where a head is pooled, its block’s share is spread over its keys.</p>}
      <table>
        <thead>
          <tr>
            <th scope="col">Key</th>
            <th scope="col">{one}</th>
            <th scope="col">{two}</th>
            <th scope="col" title={differenceName(pair)}>
              {pair.kind === 'runs' ? differenceName(pair) : 'Difference'}
            </th>
          </tr>
        </thead>
        <tbody>
          {keys.map((j) => (
            <tr key={j}>
              <th scope="row">
                <button type="button" class="link" onClick={() => onKey(j)}>
                  {count(j)} <Token text={data.tokens[j]} most={14} />
                </button>
              </th>
              <td class="number">{percent(a.weights[j]!)}</td>
              <td class="number">{percent(b.weights[j]!)}</td>
              <td class="number">{percentSigned(differenceOf(pair, a.weights[j]!, b.weights[j]!))}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
