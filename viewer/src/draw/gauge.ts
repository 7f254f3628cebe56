// What is drawn brightest, and the ranks of weights: of one map, or of all that stand beside each other, so that a
// colour says the same in both. Each map brings its own; a map whose scale changes by another's is told.
import { ABSENT, NOT_A_NUMBER, RANK_BINS, rankBin } from './colormap';
import type { Patch } from './tiles';

interface Member {
  top: number; // the largest value
  counts: Float32Array; // [RANK_BINS] cells by weight
  changed: () => void;
}

/** Cells by weight: what the rank scale counts. */
export function rankCounts(patches: Patch[], which: 0 | 1): Float32Array {
  const counts = new Float32Array(RANK_BINS);
  for (const p of patches) {
    for (let i = which; i < p.values.length; i += 2) {
      const v = p.values[i]!;
      if (v === ABSENT || v === NOT_A_NUMBER) continue;
      const bin = v > 0 ? rankBin(v) : 0;
      counts[bin] = counts[bin]! + 1;
    }
  }
  return counts;
}

/** What the maps of one view have in common: their brightest weight and their ranks. */
export class Gauge {
  private readonly members = new Map<object, Member>();

  /** False where nothing is new. Else the others are told; `who` sees to itself. */
  put(who: object, brought: Member): boolean {
    const before = this.members.get(who);
    if (before?.top === brought.top && before.counts.every((c, i) => c === brought.counts[i])) return false;
    this.members.set(who, brought);
    this.tell(who);
    return true;
  }

  remove(who: object): void {
    if (this.members.delete(who)) this.tell(who);
  }

  private tell(except: object): void {
    for (const [who, member] of this.members) if (who !== except) member.changed();
  }

  get top(): number {
    return Math.max(0, ...Array.from(this.members.values(), (m) => m.top)) || 1;
  }

  /**
   * [RANK_BINS] share of the cells below each bin, half of its own counted. Every map counts alike, however many cells
   * of it are in view.
   */
  cdf(): Float32Array {
    const out = new Float32Array(RANK_BINS);
    for (const { counts } of this.members.values()) {
      const all = counts.reduce((sum, c) => sum + c, 0) || 1;
      for (let b = 0, below = 0; b < RANK_BINS; below += counts[b++]!)
        out[b]! += (below + counts[b]! / 2) / all / this.members.size;
    }
    return out;
  }
}
