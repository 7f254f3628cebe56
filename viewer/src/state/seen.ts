// What of one or two runs the grid shows: the run itself, or the difference of two (second less first). One place for
// whose description, thumbnails and measures are read, so that the views need not ask.
import type { Highlight, MeasureInfo, PageData } from '../data/data';
import type { Source } from '../source/source';
import type { State, Store } from './state';

/** What is shown of the runs that are there. */
export interface Seen {
  source: Source; // whose roles and thumbnails are shown; of a difference the second run's
  data: PageData;
  measures: MeasureInfo[]; // to choose from
  measure: MeasureInfo;
  values: number[]; // of the measure, one a head
  signed: boolean; // they are differences
  before: Source | null; // of a difference: the first run
  highlights: Map<number, Highlight>; // by head; of a difference none
}

/** Two runs side by side have one grid: their difference. */
export function seen(store: Store, state: State): Seen {
  const { against } = state;
  const runs = against ? state.runs : 'first';
  const source = against && runs !== 'first' ? against : store.source;
  const differ = runs === 'side' || runs === 'difference';
  const { data } = source;
  const measures = differ ? data.measures : store.data.measures;
  const m = state.measure < measures.length ? state.measure : store.defaults().measure % store.data.measures.length;
  const measure = measures[m]!;
  // The change itself, which only a second run has, is none of a measure; a recipe's score is of neither run.
  const signed = differ && m < store.data.measures.length && !measure.recipe;
  const values = data.means.map((means, h) => {
    const value = means[m] ?? NaN;
    return signed ? value - (store.data.means[h]?.[m] ?? NaN) : value;
  });
  const before = differ ? store.source : null;
  const highlights = new Map(before ? [] : data.highlights?.map((h) => [h.head, h]));
  return { source, data, measures, measure, values, signed, before, highlights };
}

/** "A", "B" or "B \u2212 A", as the page calls two runs. */
export const RUNS = [
  ['first', 'A', 'The first run alone'],
  ['second', 'B', 'The second run alone'],
  ['side', 'Side by side', 'Two maps that move together'],
  ['difference', 'B \u2212 A', 'Orange where B gives more than A, purple where less'],
] as const;
