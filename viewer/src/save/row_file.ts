// The focused row in numbers, as CSV and JSON: of the head that is shown, and of the one compared with. Every column
// says what it is: a weight where the head is exact, else the share of a block spread over its keys; beside it what
// the view shows where that is another number (a part of what the key receives; a weight times the size of what is
// carried).
import { type Pair, differenceName, differenceOf } from '../head/compare';
import type { PageData } from '../data/data';
import { headOf, layerOf } from '../data/data';
import { partOf } from '../data/exact';
import type { Head, RowView } from '../data/head';

/** What a cell is a part of, or what it is multiplied by. */
export type Norm = 'row' | 'key' | 'carried';

/** One head's side of the file. Of one run alone `run` is empty. */
export interface Side {
  run: string; // "A", "B"
  data: PageData;
  head: Head;
  row: RowView;
}

interface Column {
  id: string;
  means: string;
  values: ArrayLike<number>;
}

function shown(side: Side, norm: Norm): Omit<Column, 'id'> & { stem: string } {
  const { head, row } = side;
  const of = norm === 'row' ? null : norm === 'key' ? head.exact?.received : head.exact?.sizes;
  if (!of)
    return row.exact
      ? { stem: 'weight', means: 'weight of the row on the key, exact; a row sums to 1', values: row.weights }
      : {
          stem: 'block_share_per_key',
          means:
            `share of the weight of rows ${row.rows[0]} to ${row.rows[1]} on the block of the key, ` +
            'their mean, divided by the keys of the block; within 3 %',
          values: row.weights,
        };
  const by = (w: number, j: number): number => (norm === 'key' ? partOf(w, of[j] ?? NaN) : w * (of[j] ?? NaN));
  return norm === 'key'
    ? {
        stem: 'part_of_received',
        means: 'weight divided by all that the key receives from all rows',
        values: Float64Array.from(row.weights, by),
      }
    : {
        stem: 'weight_times_size',
        means: 'weight times the size of what the key carries, |v W_O|: what is added to the residual stream',
        values: Float64Array.from(row.weights, by),
      };
}

/** The columns of both sides: weights always, what the view shows beside them, then its difference. */
function columnsOf(a: Side, b: Side | null, pair: Pair | null, norm: Norm): Column[] {
  const out: Column[] = [];
  const add = (side: Side, which: Norm, name: string): void => {
    const { stem, means, values } = shown(side, which);
    const id = name ? `${stem}_${name}` : stem;
    if (!out.some((c) => c.id === id)) out.push({ id, means: name ? `${name}: ${means}` : means, values });
  };
  const sides: [Side, string][] =
    b && pair
      ? [
          [a, pair.short[0]],
          [b, pair.short[1]],
        ]
      : [[a, a.run]];
  for (const [side, name] of sides) {
    add(side, 'row', name);
    add(side, norm, name);
  }
  if (b && pair) {
    // Two measures are not subtracted: where one side does not know what is shown, the weights of both are.
    const same = shown(a, norm).stem === shown(b, norm).stem;
    const [x, y] = [shown(a, same ? norm : 'row'), shown(b, same ? norm : 'row')];
    const name = differenceName({ ...pair, beside: pair.short })
      .replace(/ /g, '')
      .replace('\u2212', '-');
    out.push({
      id: `difference_${name}`,
      means: `${differenceName(pair)} of ${x.stem === y.stem ? x.stem : `${x.stem} and ${y.stem}`}`,
      values: Float64Array.from(x.values, (v, j) => differenceOf(pair, v, y.values[j] ?? NaN)),
    });
  }
  return out;
}

/** The row as lines of a table, the first of them names. */
export function rowTable(a: Side, b: Side | null, pair: Pair | null, norm: Norm): (string | number)[][] {
  const columns = columnsOf(a, b, pair, norm);
  return [
    ['key', 'token', ...columns.map((c) => c.id)],
    ...Array.from(a.row.weights, (_, j) => [j, a.data.tokens[j] ?? '', ...columns.map((c) => c.values[j] ?? NaN)]),
  ];
}

const said = ({ run, data, head, row }: Side): Record<string, unknown> => ({
  ...(run ? { run } : {}),
  model: data.model.name,
  title: data.title,
  layer: layerOf(data, head.index),
  head: headOf(data, head.index),
  exact: row.exact,
  rows: row.rows,
});

/** The row as JSON, with what each number means. */
export function rowJson(a: Side, b: Side | null, pair: Pair | null, norm: Norm): unknown {
  const columns = columnsOf(a, b, pair, norm);
  const { row } = a.row;
  return {
    kind: 'bareattn.row',
    ...said(a),
    ...(b ? { other: said(b) } : {}),
    row,
    token: a.data.tokens[row],
    tokens: a.data.tokens.slice(0, row + 1),
    numbers: Object.fromEntries(columns.map((c) => [c.id, c.means])),
    ...Object.fromEntries(columns.map((c) => [c.id, Array.from(c.values)])),
    view: location.hash,
  };
}
