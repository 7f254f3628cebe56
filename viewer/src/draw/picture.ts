// What a map shows: one head, or the difference of two. Both give pooled levels at once and exact patches as they come;
// the map (map.ts) draws either without knowing which. A difference d in [-1, 1] is held as (d + 1) / 2, so that the
// marks for "absent" and "not a number" keep their meaning.
import { ABSENT, NOT_A_NUMBER } from './colormap';
import type { Edges, Head } from '../data/head';
import { unrounded } from '../data/quant';
import type { Look, Patches } from '../source/source';
import { type Patch, largest, pooledLevels } from './tiles';

/** What a map shows. */
export interface Picture {
  readonly n: number;
  readonly block: number; // tokens a side of the finest pooled cell
  readonly signed: boolean; // values are differences
  readonly exact: boolean;
  readonly how: string | null; // where exact cells come from; null: there are none
  readonly edges: Edges | null;
  readonly can: { readonly key: boolean; readonly weighted: boolean };
  levels(look: Look): Patch[]; // finest first
  patches(look: Look, onReady: () => void): Patches | null;
}

/** The picture of one head. */
export const headPicture = (head: Head): Picture => ({
  n: head.n,
  block: head.pooled.block,
  signed: false,
  exact: head.exact !== null,
  how: head.exact?.how ?? null,
  edges: head.edges,
  can: { key: head.exact?.can.key ?? true, weighted: head.exact?.can.weighted ?? false },
  levels: (look) => pooledLevels(head, look),
  patches: (look, onReady) => head.exact?.patches(look, onReady) ?? null,
});

/** By what the values of two heads are multiplied before they are subtracted. */
type Factors = readonly [number, number];

/**
 * Weights times what keys carry come as parts of the largest size of their own head; subtracted they are parts of the
 * larger of the two, which is one measure for both: the size of what is added to the residual stream.
 */
function factorsOf(a: Head, b: Head, look: Look): Factors {
  const sizes = [a.exact?.sizes, b.exact?.sizes] as const;
  if (!look.weighted || look.norm === 'key' || !sizes[0] || !sizes[1]) return [1, 1];
  const tops = [largest(sizes[0]), largest(sizes[1])] as const;
  const top = Math.max(...tops);
  return [tops[0] / top, tops[1] / top];
}

/** Pooled values are known to within their codes: what lies closer together than those is no difference. */
function subtract(a: Patch, b: Patch, [ofA, ofB]: Factors): Patch {
  const less = a.exact ? (x: number, y: number): number => x - y : unrounded;
  const values = new Float32Array(a.values.length);
  for (let i = 0; i < values.length; ++i) {
    const x = a.values[i]!;
    const y = b.values[i]!;
    if (x === NOT_A_NUMBER || y === NOT_A_NUMBER) values[i] = NOT_A_NUMBER;
    else if (x === ABSENT || y === ABSENT) values[i] = ABSENT;
    else values[i] = (less(x * ofA, y * ofB) + 1) / 2;
  }
  return { ...a, values };
}

/** Patches that both heads have, subtracted; each pair once. */
class Differences implements Patches {
  private readonly known = new WeakMap<Patch, { b: Patch; out: Patch }>();

  constructor(
    private readonly a: Patches,
    private readonly b: Patches,
    private readonly factors: Factors,
  ) {}

  get pending(): number {
    return this.a.pending + this.b.pending;
  }

  get missing(): number {
    return this.a.missing + this.b.missing;
  }

  stop(): void {
    this.a.stop();
    this.b.stop();
  }

  want(level: number, x0: number, x1: number, y0: number, y1: number): Patch[] {
    const ours = this.a.want(level, x0, x1, y0, y1);
    const theirs = new Map(this.b.want(level, x0, x1, y0, y1).map((p) => [`${p.cell}/${p.x}/${p.y}`, p]));
    const out: Patch[] = [];
    for (const a of ours) {
      const b = theirs.get(`${a.cell}/${a.x}/${a.y}`);
      if (!b || b.width !== a.width) continue;
      let d = this.known.get(a);
      if (d?.b !== b) {
        d = { b, out: subtract(a, b, this.factors) };
        this.known.set(a, d);
      }
      out.push(d.out);
    }
    return out;
  }
}

/** The picture of head `a` less head `b`. */
export const differencePicture = (a: Head, b: Head): Picture => ({
  n: a.n,
  block: a.pooled.block,
  signed: true,
  exact: a.exact !== null && b.exact !== null,
  how: a.exact && b.exact ? a.exact.how : null,
  edges: null,
  can: {
    key: (a.exact?.can.key ?? true) && (b.exact?.can.key ?? true),
    weighted: (a.exact?.can.weighted ?? false) && (b.exact?.can.weighted ?? false),
  },
  levels: (look) => {
    const theirs = pooledLevels(b, look);
    const factors = factorsOf(a, b, look);
    return pooledLevels(a, look).map((p, i) => subtract(p, theirs[i]!, factors));
  },
  patches: (look, onReady) => {
    if (!a.exact || !b.exact) return null;
    return new Differences(a.exact.patches(look, onReady), b.exact.patches(look, onReady), factorsOf(a, b, look));
  },
});
