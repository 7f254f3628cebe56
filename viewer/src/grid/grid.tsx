// The grid of all heads on one canvas, with one real button for each: layers across, on a phone down, or all heads from
// the highest measure to the lowest, each under its name. Arrow keys move, Enter opens.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { headName, headOf, layerOf } from '../data/data';
import { value } from '../data/format';
import { seen } from '../state/seen';
import { type State, type Store, useDark } from '../state/state';
import { badge, drawTile, places, thumbDifference, thumbImage, tint, word } from '../draw/thumbs';
import { useThumbs } from '../state/use_thumbs';

interface Layout {
  columns: number;
  cell: number; // CSS pixels, gap included
  across: 'layers' | 'heads';
}

function layout(width: number, layers: number, heads: number, named: boolean): Layout {
  const room = width - LABELS;
  const wide = room / layers;
  // Where places say nothing, squares are as wide as their names.
  if (named && wide < WIDEST_NAME) {
    const columns = Math.max(1, Math.floor(room / WIDEST_NAME));
    return { columns, cell: room / columns, across: 'heads' };
  }
  // Also in a notebook's cell and with the page enlarged the layers go across: else the grid is three screens high.
  if (wide >= SMALLEST) return { columns: layers, cell: Math.min(wide, 72), across: 'layers' };
  return { columns: heads, cell: Math.min(room / heads, 72), across: 'heads' };
}

interface GridProps {
  store: Store;
  state: State;
  back: number | null; // the head that was left for the grid: the focus goes there
  onHover: (head: number | null) => void;
}

const LABELS = 26;
const GAP = 3;
const SMALLEST = 18; // pixels of a square that is pointed at
const WORDED = 26; // from this size on a square has room for a word
const WIDEST_NAME = 30;
const NAME = 13; // pixels under each square for its name, where the place does not tell it

/** All heads. */
export function Grid({ store, state, back, onHover }: GridProps) {
  const { data } = store;
  const { layers, heads } = data.model;
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [width, setWidth] = useState(0);
  const [current, setCurrent] = useState(0); // place in the grid that Tab comes to
  const [dark] = useDark();

  useLayoutEffect(() => {
    const node = box.current!;
    setWidth(node.clientWidth);
    const observer = new ResizeObserver(() => setWidth(node.clientWidth));
    observer.observe(node);
    return () => observer.disconnect();
  }, []);
  const shown = useMemo(() => seen(store, state), [store, state.measure, state.against, state.runs]);
  const { source, before, values, signed, measure, highlights } = shown;
  const thumbs = useThumbs(source);
  const earlier = useThumbs(before); // of a difference: the first run's

  const { roles } = shown.data;
  const exact = useMemo(() => new Set(shown.data.exact), [shown]);
  const dots = exact.size < layers * heads;
  const sorted = state.order === 'measure';
  const { columns, cell, across } = layout(width, layers, heads, sorted);
  const order = useMemo(() => {
    const all = Array.from({ length: layers * heads }, (_, i) => i);
    if (sorted) {
      const known = (v: number | undefined): number => (v === undefined || Number.isNaN(v) ? -Infinity : v);
      const mean = (h: number): number => known(signed ? Math.abs(values[h] ?? NaN) : values[h]);
      return all.sort((a, b) => (mean(a) === mean(b) ? a - b : mean(b) - mean(a)));
    }
    // Rows of the picture: heads when the layers go across, layers otherwise.
    return across === 'layers' ? all.map((i) => (i % layers) * heads + Math.floor(i / layers)) : all;
  }, [sorted, across, values, signed, layers, heads]);
  const scale = useMemo(() => places(values, signed), [values, signed]);
  const rows = Math.ceil(order.length / columns);
  const high = cell + (sorted ? NAME : 0); // of a row
  const images = useMemo(
    () =>
      thumbs &&
      (before
        ? earlier && values.map((_, h) => thumbDifference(earlier, thumbs, h, state.first))
        : values.map((_, h) => thumbImage(thumbs, h, state.palette, state.first))),
    [thumbs, earlier, before, values, state.palette, state.first, dark],
  );

  useLayoutEffect(() => {
    const node = canvas.current!;
    if (!width) return;
    const dpr = window.devicePixelRatio || 1;
    node.width = Math.round(columns * cell * dpr);
    node.height = Math.round(rows * high * dpr);
    node.style.width = `${columns * cell}px`;
    node.style.height = `${rows * high}px`;
    const c = node.getContext('2d')!;
    c.setTransform(dpr, 0, 0, dpr, 0, 0);
    order.forEach((head, place) => {
      const role = roles[head]?.name ?? '';
      drawTile(
        c,
        {
          head,
          x: (place % columns) * cell,
          y: Math.floor(place / columns) * high,
          size: cell - GAP,
          tint: tint(scale.at[head] ?? NaN, dark, signed),
          badge: badge(role),
          dot: dots && exact.has(head),
          dim: state.role !== null && state.role !== role,
        },
        images?.[head] ?? null,
      );
    });
    if (images) performance.mark('bareattn-grid-painted');
  }, [width, columns, cell, high, rows, order, scale, images, dark, state.role, roles, signed, exact]);

  const there = width > 0;
  useEffect(() => {
    if (there && back !== null)
      box.current?.querySelector<HTMLElement>(`[data-head="${headName(data, back)}"]`)?.focus();
  }, [there]);

  const onKey = (e: KeyboardEvent): void => {
    if (e.altKey || e.metaKey || (e.ctrlKey && e.key.startsWith('Arrow'))) return; // the browser's own
    const moves: Record<string, number> = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
    let next = current;
    if (e.key in moves) next = current + moves[e.key]!;
    else if (e.key === 'Home') next = e.ctrlKey ? 0 : current - (current % columns);
    else if (e.key === 'End') next = e.ctrlKey ? order.length - 1 : current - (current % columns) + columns - 1;
    else return;
    e.preventDefault();
    if (next < 0 || next >= order.length) return;
    setCurrent(next);
    box.current?.querySelector<HTMLElement>(`[data-place="${next}"]`)?.focus();
  };

  const describe = (head: number): string =>
    `Layer ${layerOf(data, head)}, head ${headOf(data, head)}: ${roles[head]?.name ?? ''}, ` +
    `${signed ? 'change of ' : ''}${measure.title} ${value(values[head], measure.unit)}` +
    (data.recipe_roles ? `, by recipes ${data.recipe_roles[head]?.name ?? ''}` : '') +
    (dots && exact.has(head) ? ', exact' : '') +
    (highlights.has(head) ? `. ${highlights.get(head)!.title}` : '');
  const name = (i: number): string => (sorted ? '' : String(i));

  return (
    <div class={cell < WORDED ? 'grid-box small' : 'grid-box'} ref={box}>
      <canvas ref={canvas} aria-hidden="true" class="grid-canvas" />
      <div
        role="grid"
        aria-label={`All heads, coloured by ${signed ? 'the change of ' : ''}${measure.title}`}
        aria-rowcount={rows}
        aria-colcount={columns}
        class="grid"
        style={{ height: `${rows * high}px` }}
        onKeyDown={onKey}
        onMouseLeave={() => onHover(null)}
      >
        {Array.from({ length: width ? rows : 0 }, (_, r) => (
          <div role="row" key={r} class="grid-row" style={{ top: `${r * high}px`, height: `${high}px` }}>
            <span class="row-name" aria-hidden="true">
              {name(r)}
            </span>
            {order.slice(r * columns, (r + 1) * columns).map((head, c) => {
              const place = r * columns + c;
              return (
                <div
                  role="gridcell"
                  key={head}
                  class="cell"
                  style={{ left: `${c * cell}px`, width: `${cell - GAP}px`, height: `${cell - GAP}px` }}
                >
                  <button
                    type="button"
                    data-place={place}
                    data-head={headName(data, head)}
                    aria-label={describe(head)}
                    tabIndex={place === current ? 0 : -1}
                    onClick={() => store.set({ head, view: null })}
                    onFocus={() => {
                      setCurrent(place);
                      onHover(head);
                    }}
                    onMouseEnter={() => onHover(head)}
                  />
                  {highlights.has(head) && cell >= WORDED && (
                    <span class="word" aria-hidden="true">
                      {word(highlights.get(head)!.id)}
                    </span>
                  )}
                  {sorted && (
                    <span class="cell-name" aria-hidden="true">
                      {headName(data, head)}
                    </span>
                  )}
                </div>
              );
            })}
          </div>
        ))}
      </div>
      <div class="axis" aria-hidden="true">
        {!sorted &&
          Array.from({ length: columns }, (_, c) => (
            <span key={c} style={{ left: `${c * cell}px`, width: `${cell - GAP}px` }}>
              {c}
            </span>
          ))}
      </div>
      <p class="axis-names" aria-hidden="true">
        {sorted
          ? `All heads, from the ${signed ? 'most changed' : 'highest'} ${measure.title.toLowerCase()} to the ` +
            (signed ? 'least' : 'lowest')
          : across === 'layers'
            ? 'Across: layers. Down: heads.'
            : 'Across: heads. Down: layers.'}
      </p>
    </div>
  );
}
