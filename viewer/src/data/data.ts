// The description that every page has (docs/page-format.md), checked, so that the rest may trust shapes. The numbers
// themselves come from a Source: see source.ts.

import type { Lesson } from './lesson';

/** A measure, in words. */
export interface MeasureInfo {
  id: string;
  title: string;
  unit: string;
  description: string;
  recipe?: true; // of the model, by tests made for it: not of this text
}
/** What a head does on this text, and why that is said. */
export interface Role {
  name: string;
  score: number | null;
  evidence: string;
}
/** A head worth a look. */
export interface Highlight {
  head: number;
  id: string; // "pointer"
  title: string; // "Points at one token"
  evidence: string;
}
/** What a head can do, by tests made for it. */
export interface RecipeRole {
  name: string;
  sure: boolean;
  evidence: string;
  scores?: (number | null)[]; // by recipe
}
/** The description of a run that every page holds. */
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
  scores: ScoreRule[]; // [layers]
  tokens: string[]; // [N]
  token_ids: number[]; // [N]
  measures: MeasureInfo[]; // [M]
  means: (number | null)[][]; // [layers * heads][M]; null: not a number
  roles: Role[]; // [layers * heads]: on this text
  recipe_roles?: RecipeRole[]; // [layers * heads]: by tests made for it
  highlights?: Highlight[]; // heads worth a look first, each for one reason
  recipes?: { id: string; description: string; threshold: number }[];
  agreement?: { outputs: boolean }; // the engine's own figures of how alike the heads of a layer are
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
/**
 * How scores are made of q . k in a layer (the engine's ScoreRule): softcap(scale q . k) + slope (j - i); row i sees
 * the keys from i - left_window on and the first leading_keys. What is absent is not done. Sinks are in the LSE.
 */
export interface ScoreRule {
  scale: number;
  softcap?: number;
  left_window?: number;
  leading_keys?: number;
  alibi_slopes?: number[]; // [heads]
}
/**
 * Biases by spans and scales of scores: head e of `exact` at row i and key j gets
 * value[e][row_span[i] * key_spans + key_span[j]] added to its score times scale[e]. null is minus infinity: not seen.
 */
export interface Steering {
  key_spans: number;
  row_span: number[]; // [N]
  key_span: number[]; // [N]
  value: (number | null)[][]; // [exact][row spans * key spans]; empty: no bias
  scale: number[]; // [exact]
}
/** What tells the second run from the first. All else is the first's. */
export type SecondRun = Pick<
  PageData,
  | 'title'
  | 'model'
  | 'run'
  | 'scores'
  | 'means'
  | 'roles'
  | 'pool'
  | 'thumbs'
  | 'has_rows'
  | 'has_sizes'
  | 'exact'
  | 'telling'
> &
  Partial<Pick<PageData, 'steering' | 'js' | 'highlights'>>;

const CHANGED: MeasureInfo = {
  id: 'changed',
  title: 'Change between the runs',
  unit: 'nats',
  description:
    'how far the weights of the two runs lie apart: Jensen-Shannon divergence, mean over the rows, ' +
    '0 where they are the same, 0.69 where they share nothing',
};

/**
 * The second run's description, whole: as the first's where it says nothing, and with the change of each head as one
 * more measure where it is known.
 */
export function secondData(first: PageData, second: SecondRun): PageData {
  const { against: _, steering: __, agreement: ___, highlights: ____, recipe_roles, ...common } = first;
  const { js, model } = second;
  const same = model.name === first.model.name && model.file_type === first.model.file_type;
  const own = first.measures.filter((m) => !m.recipe).length;
  const recipes = (h: number): (number | null)[] => first.means[h]!.slice(own).map((v) => (same ? v : null));
  return {
    ...common,
    ...(same && recipe_roles ? { recipe_roles } : {}), // of another model they are none
    ...second,
    measures: js ? [...first.measures, CHANGED] : first.measures,
    means: second.means.map((m, h) => [
      ...m.slice(0, own),
      ...recipes(h),
      ...(js ? [Math.max(0, js[h] ?? Infinity)] : []),
    ]),
  };
}

/** The recipes' scores as measures like others, which say that they are not of this text. */
function withRecipes(data: PageData): PageData {
  const { recipes, recipe_roles: roles } = data;
  if (!recipes || !roles) return data;
  const measures = recipes.map(({ id, description, threshold }): MeasureInfo => ({
    id: `recipe-${id}`,
    title: `Recipe: ${id}`,
    unit: '',
    description:
      `${description.replace(/\.$/, '')}; ${threshold} and more makes the role. ` +
      'By the recipe, on texts made for it: it says what the head can do, not what it does on this text.',
    recipe: true,
  }));
  return {
    ...data,
    measures: [...data.measures, ...measures],
    means: data.means.map((m, h) => [...m, ...recipes.map((_, r) => roles[h]?.scores?.[r] ?? null)]),
  };
}

/** The description as it stands in the page. */
export function givenData(): PageData | { source: { base: string } } {
  const node = document.getElementById('page-data');
  if (!node) throw new Error('the page holds no data');
  return JSON.parse(node.textContent ?? '') as PageData;
}

/** The description once its lengths are checked; throws where they do not fit. */
export function checkPageData(data: PageData): PageData {
  if (data.schema_version !== 2) {
    throw new Error(`the page's data has schema version ${data.schema_version}; this script reads version 2`);
  }
  const heads = data.model.layers * data.model.heads;
  if (data.tokens.length !== data.run.tokens || data.means.length !== heads || data.roles.length !== heads) {
    throw new Error('the page was damaged: its tables do not have the lengths that its header states');
  }
  if (data.recipe_roles && data.recipe_roles.length !== heads) {
    throw new Error('the page was damaged: its recipe roles are not as many as its heads');
  }
  return withRecipes(data);
}

/** "3.1": layer 3, head 1. */
export const headName = (data: PageData, head: number): string =>
  `${Math.floor(head / data.model.heads)}.${head % data.model.heads}`;
/** The layer of a head. */
export const layerOf = (data: PageData, head: number): number => Math.floor(head / data.model.heads);
/** The head within its layer. */
export const headOf = (data: PageData, head: number): number => head % data.model.heads;
