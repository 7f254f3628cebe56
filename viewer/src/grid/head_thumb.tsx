// The small map of one head on a canvas of its own, whole cells, as the grid has it.
import { useLayoutEffect, useRef } from 'preact/hooks';
import { putCells } from '../draw/pen';
import type { State } from '../state/state';
import { type Thumbs, thumbImage } from '../draw/thumbs';

/** The small map of one head. */
export function HeadThumb({
  thumbs,
  head,
  state,
  size,
}: {
  thumbs: Thumbs | null;
  head: number;
  state: State;
  size: number;
}) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    const node = canvas.current!;
    node.width = node.height = 2 * size;
    if (!thumbs) return;
    const c = node.getContext('2d')!;
    c.scale(2, 2);
    const image = thumbImage(thumbs, head, state.palette, state.first);
    putCells(c, [{ image, x: 0, y: 0, cell: 1 }], { x: 0, y: 0, scale: size / image.width });
  }, [thumbs, head, state.palette, state.first, size]);
  return (
    <canvas ref={canvas} class="head-thumb" style={{ width: `${size}px`, height: `${size}px` }} aria-hidden="true" />
  );
}
