// All heads again, small: where this one stands, and the way to any other. By keyboard the arrows of the bar and the
// grid do the same, so this picture is for the pointer only.
import { useLayoutEffect, useMemo, useRef } from 'preact/hooks';
import { css } from '../draw/colormap';
import { seen } from '../state/seen';
import { type State, type Store, useDark } from '../state/state';
import { places, tint } from '../draw/thumbs';

/** All heads, for the pointer. */
export function HeadPicker({ store, state, head }: { store: Store; state: State; head: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [dark] = useDark();
  const { layers, heads } = store.data.model;
  const size = Math.max(3, Math.min(9, Math.floor(300 / layers), Math.floor(64 / heads)));
  const shown = useMemo(() => seen(store, state), [store, state.measure, state.against, state.runs]);
  const scale = useMemo(() => places(shown.values, shown.signed), [shown]);
  useLayoutEffect(() => {
    const node = canvas.current!;
    const dpr = window.devicePixelRatio || 1;
    node.width = layers * size * dpr;
    node.height = heads * size * dpr;
    node.style.width = `${layers * size}px`;
    node.style.height = `${heads * size}px`;
    const c = node.getContext('2d')!;
    c.scale(dpr, dpr);
    for (let i = 0; i < layers * heads; ++i) {
      c.fillStyle = css(tint(scale.at[i] ?? NaN, dark, shown.signed));
      c.fillRect(Math.floor(i / heads) * size, (i % heads) * size, size - 1, size - 1);
    }
    c.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue('--text');
    c.lineWidth = 2;
    c.strokeRect(Math.floor(head / heads) * size, (head % heads) * size, size - 1, size - 1);
  }, [layers, heads, size, scale, dark, head]);
  return (
    <canvas
      ref={canvas}
      class="picker"
      aria-hidden="true"
      onClick={(e) => {
        const box = e.currentTarget.getBoundingClientRect();
        const layer = Math.floor((e.clientX - box.left) / size);
        const h = Math.floor((e.clientY - box.top) / size);
        if (layer >= 0 && layer < layers && h >= 0 && h < heads) store.set({ head: layer * heads + h });
      }}
    />
  );
}
