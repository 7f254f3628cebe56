// What the page carries: one JSON description and packed sections (docs/page-format.md). A section is found by name,
// decoded once when asked for (base64, then zlib), and waits for the parser while the file is still being read.
// Everything that comes from a file is checked here, so that the rest may trust shapes.

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
  run: { tokens: number; seconds: number | null; tokens_per_second: number | null; precision: string };
  tokens: string[]; // [N]
  token_ids: number[]; // [N]
  measures: MeasureInfo[]; // [M]
  means: (number | null)[][]; // [layers * heads][M]; null: not a number
  roles: Role[]; // [layers * heads]
  pool: { block: number; blocks: number };
  thumbs: { size: number };
  has_rows: boolean;
  exact: number[]; // layer * heads + head
  telling: number[];
}

export function readPageData(): PageData {
  const node = document.getElementById('page-data');
  if (!node) throw new Error('the page holds no data');
  const data = JSON.parse(node.textContent ?? '') as PageData;
  if (data.schema_version !== 1) {
    throw new Error(`the page's data has schema version ${data.schema_version}; this script reads version 1`);
  }
  const heads = data.model.layers * data.model.heads;
  if (data.tokens.length !== data.run.tokens || data.means.length !== heads || data.roles.length !== heads) {
    throw new Error('the page was damaged: its tables do not have the lengths that its header states');
  }
  return data;
}

export const headName = (data: PageData, head: number): string =>
  `${Math.floor(head / data.model.heads)}.${head % data.model.heads}`;
export const layerOf = (data: PageData, head: number): number => Math.floor(head / data.model.heads);
export const headOf = (data: PageData, head: number): number => head % data.model.heads;

function parsed(): Promise<void> {
  if (document.readyState !== 'loading') return Promise.resolve();
  return new Promise((done) => document.addEventListener('DOMContentLoaded', () => done(), { once: true }));
}

async function inflate(base64: string): Promise<Uint8Array> {
  const text = atob(base64);
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; ++i) packed[i] = text.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const nodes = new Map<string, Element>();

function findSection(name: string): Element | undefined {
  if (!nodes.has(name)) {
    for (const node of document.querySelectorAll('script[data-section]')) {
      nodes.set(node.getAttribute('data-section') ?? '', node);
    }
  }
  return nodes.get(name);
}

/// The bytes of a section; `size` is what its length must be.
export async function section(name: string, size: number): Promise<Uint8Array> {
  let node = findSection(name);
  if (!node) {
    await parsed();
    node = findSection(name);
  }
  if (!node) throw new Error(`the page holds no section "${name}"; was the file cut short?`);
  const bytes = await inflate(node.textContent ?? '');
  if (bytes.length !== size) {
    throw new Error(`section "${name}" has ${bytes.length} bytes, ${size} were needed; was the file damaged?`);
  }
  return bytes;
}
