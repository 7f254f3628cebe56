// The description that every page has (docs/page-format.md), checked, so that the rest may trust shapes. The numbers
// themselves come from a Source: see source.ts.

import type { Lesson } from './lesson';

export interface MeasureInfo {
  id: string;
  title: string;
  unit: string;
  description: string;
}
export interface Role {
  name: string;
  score: number | null;
  evidence: string;
}
export interface PageData {
  schema_version: number;
  title: string;
  model: {
    name: string;
    architecture: string;
    file_type: string;
    parameters: number;
    layers: number;
    heads: number;
    kv_heads: number;
    head_dim: number;
    context_length: number;
    warnings: string[];
  };
  run: {
    tokens: number;
    seconds: number | null;
    tokens_per_second: number | null;
    precision: string;
    window?: number; // row i sees the first `sinks` keys and keys [i - window, i]; absent: all keys up to i
    sinks?: number;
  };
  tokens: string[]; // [N]
  token_ids: number[]; // [N]
  measures: MeasureInfo[]; // [M]
  means: (number | null)[][]; // [layers * heads][M]; null: not a number
  roles: Role[]; // [layers * heads]: on this text
  recipe_roles?: { name: string; sure: boolean; evidence: string }[]; // [layers * heads]: by tests made for it
  pool: { block: number; blocks: number };
  thumbs: { size: number };
  has_rows: boolean;
  value_weighted?: boolean; // opens with the weights times the size of what keys carry
  has_sizes: boolean; // keys/ sections hold what keys carry
  lesson?: Lesson | null;
  exact: number[]; // layer * heads + head
  telling: number[];
  steering?: Steering; // of the exact heads: absent where the run was not steered
  against?: SecondRun; // a second run over the same tokens
  js?: (number | null)[]; // of a second run: how much each head changed, nats; null: infinite or not a number
  source?: { base: string; tiles?: number[] }; // numbers come by HTTP from here; cells a side of the exact tiles of z
  served?: { run: string; live: boolean; against?: boolean };
}
/// Biases by spans and scales of scores: head e of `exact` at row i and key j gets
/// value[e][row_span[i] * key_spans + key_span[j]] added to its score times scale[e]. null is minus infinity: not seen.
export interface Steering {
  key_spans: number;
  row_span: number[]; // [N]
  key_span: number[]; // [N]
  value: (number | null)[][]; // [exact][row spans * key spans]; empty: no bias
  scale: number[]; // [exact]
}
/// What tells the second run from the first. All else is the first's.
export type SecondRun = Pick<
  PageData,
  'title' | 'model' | 'run' | 'means' | 'roles' | 'pool' | 'thumbs' | 'has_rows' | 'has_sizes' | 'exact' | 'telling'
> &
  Partial<Pick<PageData, 'steering' | 'js'>>;

const CHANGED: MeasureInfo = {
  id: 'changed',
  title: 'Change between the runs',
  unit: 'nats',
  description:
    'how far the weights of the two runs lie apart: Jensen-Shannon divergence, mean over the rows, ' +
    '0 where they are the same, 0.69 where they share nothing',
};

/// The second run's description, whole: as the first's where it says nothing, and with the change of each head as one
/// more measure where it is known.
export function secondData(first: PageData, second: SecondRun): PageData {
  const { against: _, steering: __, ...common } = first;
  const data: PageData = { ...common, ...second };
  const { js } = second;
  if (!js) return data;
  return {
    ...data,
    measures: [...first.measures, CHANGED],
    means: second.means.map((m, h) => [...m, Math.max(0, js[h] ?? Infinity)]),
  };
}

/// The description as it stands in the page.
export function givenData(): PageData | { source: { base: string } } {
  const node = document.getElementById('page-data');
  if (!node) throw new Error('the page holds no data');
  return JSON.parse(node.textContent ?? '') as PageData;
}

export function checkPageData(data: PageData): PageData {
  if (data.schema_version !== 1) {
    throw new Error(`the page's data has schema version ${data.schema_version}; this script reads version 1`);
  }
  const heads = data.model.layers * data.model.heads;
  if (data.tokens.length !== data.run.tokens || data.means.length !== heads || data.roles.length !== heads) {
    throw new Error('the page was damaged: its tables do not have the lengths that its header states');
  }
  if (data.recipe_roles && data.recipe_roles.length !== heads) {
    throw new Error('the page was damaged: its recipe roles are not as many as its heads');
  }
  return data;
}

export const headName = (data: PageData, head: number): string =>
  `${Math.floor(head / data.model.heads)}.${head % data.model.heads}`;
export const layerOf = (data: PageData, head: number): number => Math.floor(head / data.model.heads);
export const headOf = (data: PageData, head: number): number => head % data.model.heads;
