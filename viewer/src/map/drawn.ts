// How exact the picture on screen is, in words. Read off the patches that were drawn, not off what the head could show:
// a head with Q and K at hand is pooled all the same where its cells are too many to compute.
import { type Frame, cellsInView } from './gutters';
import type { Camera } from '../draw/render';
import type { Patch } from '../draw/tiles';

/** What is drawn, in numbers. */
export interface Drawn {
  exact: number; // tokens a side of the exact cells in view; 0: there are none
  pooled: number; // of the pooled ones; 0: there are none
  pending: boolean; // exact patches are on their way
  missing: boolean; // some could not be had
}
/** Nothing is drawn. */
export const NOTHING: Drawn = { exact: 0, pooled: 0, pending: false, missing: false };

/** What is drawn of these patches in view. */
export function drawnIn(patches: Patch[], camera: Camera, frame: Frame, pending: number, missing: number): Drawn {
  const out = { exact: 0, pooled: 0, pending: pending > 0, missing: missing > 0 };
  for (const p of patches) {
    const { r0, r1, c0, c1 } = cellsInView(p, camera, frame);
    if (r1 <= r0 || c1 <= c0) continue;
    if (p.exact) out.exact = Math.max(out.exact, p.cell);
    else out.pooled = Math.max(out.pooled, p.cell);
  }
  return out;
}

/** Whether the same is said of both. */
export const alike = (a: Drawn, b: Drawn): boolean =>
  a.exact === b.exact && a.pooled === b.pooled && a.pending === b.pending && a.missing === b.missing;

const size = (cell: number): string => `${cell} \u00D7 ${cell}`;

/** `how`: where exact cells come from; null where there are none of this head. */
export function drawnWords({ exact, pooled, pending, missing }: Drawn, how: string | null): string {
  if (exact) {
    const from = `exact, ${how ?? ''}${exact > 1 ? `; ${size(exact)} tokens a cell` : ''}`;
    if (!pooled) return from;
    return `partly ${from}; pooled ${size(pooled)} where cells ${pending ? 'are on their way' : 'could not be had'}`;
  }
  if (!pooled) return '';
  const closer = !how
    ? ''
    : pending
      ? '; exact cells are on their way'
      : missing
        ? '; exact cells could not be had'
        : '; exact when nearer';
  return pooled === 1
    ? `single weights, each to within 3 %${closer}`
    : `pooled ${size(pooled)}: sums and maxima, to within 3 % of each value${closer}`;
}
