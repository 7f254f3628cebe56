// The short flight of the map from one view to another.
import { type ZoomTransform, zoomIdentity } from 'd3-zoom';

const FLIGHT_MS = 220;

/** Flies, frame by frame; `asked` is told of each frame that is asked for, so that it can be called off. */
export function fly(
  from: ZoomTransform,
  to: ZoomTransform,
  apply: (t: ZoomTransform) => void,
  asked: (frame: number) => void,
): void {
  const start = performance.now();
  const move = (): void => {
    const t = Math.min(1, (performance.now() - start) / FLIGHT_MS);
    const e = 1 - (1 - t) ** 3;
    const k = from.k * (to.k / from.k) ** e;
    // Between two scales the point that stays put keeps its place: no swing on the way.
    const part = Math.abs(to.k - from.k) < 1e-9 ? e : (k - from.k) / (to.k - from.k);
    apply(zoomIdentity.translate(from.x + (to.x - from.x) * part, from.y + (to.y - from.y) * part).scale(k));
    if (t < 1) asked(window.requestAnimationFrame(move));
  };
  move();
}
