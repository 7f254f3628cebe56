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
  has_sizes: boolean; // keys/ sections hold what keys carry
  lesson?: Lesson | null;
  exact: number[]; // layer * heads + head
  telling: number[];
  source?: { base: string; levels?: number }; // numbers come by HTTP from here; Z of exact tiles: 0 to levels - 1
  served?: { run: string; live: boolean };
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
