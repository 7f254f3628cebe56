// The measures of all heads, as CSV and JSON: of one run, or of two with the change of each measure (second less first)
// and of each head as a whole.
import { type PageData, headOf, layerOf } from '../data/data';
import type { Store } from '../state/state';

type Cell = string | number | null;

const valueOf = (data: PageData, head: number, m: number): number | null => data.means[head]?.[m] ?? null;
const change = (a: number | null, b: number | null): number | null => (a === null || b === null ? null : b - a);

interface Runs {
  a: PageData;
  b: PageData | null;
  changed: number; // where in b's measures the change of the head as a whole stands; -1: nowhere
}

function runsOf(store: Store): Runs {
  const a = store.data;
  const b = store.get().against?.data ?? null;
  return { a, b, changed: b ? b.measures.findIndex((m) => m.id === 'changed') : -1 };
}

/** The measures of all heads as lines of a table, the first of them names. */
export function headsTable(store: Store): Cell[][] {
  const { a, b, changed } = runsOf(store);
  const recipes = a.measures.filter((m) => m.recipe).map((m) => m.id); // last, and of the model: once for two runs
  const ids = a.measures.map((m) => m.id).slice(0, b ? -recipes.length || undefined : undefined);
  const role = (data: PageData, h: number): Cell[] => [data.roles[h]?.name ?? '', data.roles[h]?.evidence ?? ''];
  if (!b)
    return [
      ['layer', 'head', 'role', 'evidence', ...ids],
      ...a.means.map((means, h) => [layerOf(a, h), headOf(a, h), ...role(a, h), ...means]),
    ];
  return [
    ['layer', 'head', 'role_A', 'evidence_A', 'role_B', 'evidence_B']
      .concat(changed < 0 ? [] : ['changed_nats'])
      .concat(ids.flatMap((id) => [`${id}_A`, `${id}_B`, `${id}_B-A`]))
      .concat(recipes),
    ...a.means.map((_, h) => [
      layerOf(a, h),
      headOf(a, h),
      ...role(a, h),
      ...role(b, h),
      ...(changed < 0 ? [] : [valueOf(b, h, changed)]),
      ...ids.flatMap((_id, m) => {
        const [x, y] = [valueOf(a, h, m), valueOf(b, h, m)];
        return [x, y, change(x, y)];
      }),
      ...recipes.map((_id, m) => valueOf(a, h, ids.length + m)),
    ]),
  ];
}

/** The same as JSON. */
export function headsJson(store: Store): unknown {
  const { a, b, changed } = runsOf(store);
  const means = (data: PageData, h: number): object => ({
    role: data.roles[h],
    means: Object.fromEntries(a.measures.map(({ id }, m) => [id, valueOf(data, h, m)])),
  });
  const about = ({ model, run, title }: PageData): object => ({ title, model, run });
  const place = (h: number): object => ({ layer: layerOf(a, h), head: headOf(a, h) });
  const common = { kind: 'bareattn.heads', measures: b?.measures ?? a.measures };
  if (!b) return { ...common, ...about(a), heads: a.means.map((_, h) => ({ ...place(h), ...means(a, h) })) };
  return {
    ...common,
    numbers: 'change is B less A; changed is the divergence between the two',
    A: about(a),
    B: about(b),
    heads: a.means.map((_, h) => ({
      ...place(h),
      A: means(a, h),
      B: means(b, h),
      change: Object.fromEntries(
        a.measures.flatMap(({ id, recipe }, m) => (recipe ? [] : [[id, change(valueOf(a, h, m), valueOf(b, h, m))]])),
      ),
      ...(changed < 0 ? {} : { changed: valueOf(b, h, changed) }),
    })),
  };
}
