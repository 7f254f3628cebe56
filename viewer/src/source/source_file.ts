// The page's own file as a source: packed sections (base64, then zlib), found by name, decoded when asked for, waited
// for while the file is still being read. Exact heads bring Q, K and LSE, from which any weight is recomputed:
// exp(score of q_i . k_j - LSE_i), by the engine's rule of the layer. Sums are f64; what differs from the engine is Q
// and K as binary16, nothing else.
import { type PageData, headName, headOf, layerOf, secondData } from '../data/data';
import { type Exact, type Steer, exactWeights } from '../data/exact';
import { floats, halfPlanes } from '../data/quant';
import type { Cells, Look, Patches, Source } from './source';
import { ExactPatches } from '../draw/tiles';

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

class FileCells implements Cells {
  readonly how = 'recomputed here from Q, K and LSE';
  readonly can: Cells['can'];

  constructor(
    private readonly n: number,
    private readonly exact: Exact,
    readonly received: Float32Array | null,
    readonly sizes: Float32Array | null,
  ) {
    this.can = { key: received !== null, weighted: sizes !== null };
  }

  row(i: number): Float32Array {
    const weights = new Float32Array(i + 1);
    exactWeights(this.exact, i, 0, i + 1, weights);
    return weights;
  }

  patches(look: Look, onReady: () => void): Patches {
    return new ExactPatches(
      { n: this.n, exact: this.exact, received: this.received, sizes: this.sizes },
      look,
      onReady,
    );
  }
}

/** The page’s own sections as a source. */
export class FileSource implements Source {
  private readonly nodes = new Map<string, Element>();

  readonly against?: Source;

  /** `prefix`: of the names of this run's sections. */
  constructor(
    readonly data: PageData,
    private readonly prefix = '',
  ) {
    if (data.against) this.against = new FileSource(secondData(data, data.against), 'against/');
  }

  private steer(head: number): Steer | null {
    const { steering, exact } = this.data;
    if (!steering) return null;
    const at = exact.indexOf(head);
    return {
      rowSpan: steering.row_span,
      keySpan: steering.key_span,
      keySpans: steering.key_spans,
      value: Float32Array.from(steering.value[at] ?? [], (v) => v ?? -Infinity),
      scale: steering.scale[at] ?? 1,
    };
  }

  /** Only what has been read to its end: of the last one in an unfinished page there may be a part. */
  private find(name: string): Element | undefined {
    if (!this.nodes.has(name)) {
      for (const node of document.querySelectorAll('script[data-section]')) {
        if (node.nextSibling || document.readyState !== 'loading')
          this.nodes.set(node.getAttribute('data-section') ?? '', node);
      }
    }
    return this.nodes.get(name);
  }

  async section(name: string, size: number): Promise<Uint8Array> {
    let node = this.find(this.prefix + name);
    if (!node) {
      await parsed();
      node = this.find(this.prefix + name);
    }
    if (!node) throw new Error(`the page holds no section "${name}"; was the file cut short?`);
    const bytes = await inflate(node.textContent ?? '');
    if (bytes.length !== size) {
      throw new Error(`section "${name}" has ${bytes.length} bytes, ${size} were needed; was the file damaged?`);
    }
    return bytes;
  }

  async cells(head: number): Promise<Cells | null> {
    const { data } = this;
    if (!data.exact.includes(head)) return null;
    const n = data.run.tokens;
    const dim = data.model.head_dim;
    const group = data.model.heads / data.model.kv_heads;
    const kvName = `${layerOf(data, head)}.${Math.floor(headOf(data, head) / group)}`;
    const name = headName(data, head);
    const [qBytes, kBytes, keys] = await Promise.all([
      this.section(`q/${name}`, 2 * n * dim + 4 * n),
      this.section(`k/${kvName}`, 2 * n * dim),
      this.section(`keys/${name}`, (data.has_sizes ? 8 : 4) * n),
    ]);
    const rule = data.scores[layerOf(data, head)]!;
    const lse = floats(qBytes, 2 * n * dim, n);
    const q = halfPlanes(qBytes, 0, n * dim);
    const steer = this.steer(head);
    const exact: Exact = {
      q,
      k: halfPlanes(kBytes, 0, n * dim),
      lse,
      dim,
      scale: rule.scale,
      softcap: rule.softcap ?? 0,
      slope: rule.alibi_slopes?.[headOf(data, head)] ?? 0,
      window: rule.left_window ?? Infinity,
      leading: rule.leading_keys ?? 0,
      ...(steer ? { steer } : {}),
    };
    return new FileCells(n, exact, floats(keys, 0, n), data.has_sizes ? floats(keys, 4 * n, n) : null);
  }
}
