// The map with its controls, readout, keys and table. Owns one MapView for as long as the head is shown.
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { type CellRow, CellsTable, strongestCells } from './cells_table';
import { Choice, FIRST, PalettePick } from './controls';
import { count, percent, quoted, span } from './format';
import type { Head, RowView } from './head';
import { type Cell, MapView } from './map';
import { triangle } from './quant';
import { ScaleLegend } from './scale_legend';
import { type State, type Store, useDark } from './state';

interface MapPanelProps {
  store: Store;
  state: State;
  head: Head;
  onHover: (cell: Cell | null) => void;
  hover: Cell | null;
  keyToken: number; // the focused key
  view: RowView; // the row that is shown: of the pointer, or the focused one
}

export const STRONGEST = -1;

export function focusOn(store: Store, row: number, key: number): void {
  const last = store.data.run.tokens - 1;
  const r = Math.max(0, Math.min(last, row));
  store.set({ row: r, key: key === STRONGEST ? STRONGEST : Math.max(0, Math.min(r, key)) });
}

interface ReadoutProps {
  head: Head;
  tokens: string[];
  cell: Cell;
  view: RowView;
}

function Readout({ head, tokens, cell, view }: ReadoutProps) {
  const { row, key } = cell;
  if (head.exact) {
    const w = view.row === row ? (view.weights[key] ?? NaN) : null; // null: still on its way
    return (
      <p class="readout" id="readout">
        <span class="pair" dir="auto">
          {count(row)} {quoted(tokens[row])} <i aria-hidden="true">{'\u2192'}</i> {count(key)} {quoted(tokens[key])}
        </span>
        <data value={String(w)} id="cell-weight">
          {w === null ? '\u2026' : percent(w)}
        </data>
      </p>
    );
  }
  const { block, share, max } = head.pooled;
  const at = triangle(Math.floor(row / block)) + Math.floor(key / block);
  const edge = (i: number): string => {
    const from = Math.floor(i / block) * block;
    return span(from, Math.min(head.n - 1, from + block - 1));
  };
  return (
    <p class="readout" id="readout">
      <span class="pair">
        rows {edge(row)} <i aria-hidden="true">{'\u2192'}</i> keys {edge(key)}
      </span>
      <data value={String(share[at])} id="cell-weight">
        {percent(share[at] ?? NaN)} of their weight, at most {percent(max[at] ?? NaN)} in one cell
      </data>
    </p>
  );
}

export function MapPanel({ store, state, head, onHover, hover, keyToken: key, view: shownRow }: MapPanelProps) {
  const cells = useRef<HTMLCanvasElement>(null);
  const over = useRef<HTMLCanvasElement>(null);
  const mini = useRef<HTMLCanvasElement>(null);
  const view = useRef<MapView | null>(null);
  const [renderer, setRenderer] = useState('');
  const [pending, setPending] = useState(0);
  const [strongest, setStrongest] = useState<CellRow[]>([]);
  const [dark] = useDark();
  const { tokens } = store.data;

  useLayoutEffect(() => {
    const map = new MapView(
      cells.current!,
      over.current!,
      mini.current!,
      head,
      tokens,
      { ...store.get(), key },
      store.get().view,
      {
        hover: onHover,
        focus: (c) => {
          focusOn(store, c.row, c.key);
          over.current?.focus({ preventScroll: true });
        },
        view: (v) => store.set({ view: v }),
        settled: (patches, camera, frame, left) => {
          setPending(left);
          setStrongest(strongestCells(patches, camera, frame, store.get().pool));
        },
      },
    );
    view.current = map;
    setRenderer(map.renderer.kind);
    return () => map.dispose();
  }, [head]);

  const { scale, pool, first, palette, row } = state;
  useLayoutEffect(
    () => view.current?.show({ scale, pool, first, palette, row, key }),
    [scale, pool, first, palette, row, key, head],
  );
  useEffect(() => view.current?.redraw(), [dark]);
  const opened = useRef(true);
  useEffect(() => {
    // A link names its view: the focus is brought into it only when it moves.
    if (!opened.current) view.current?.reveal(row, key);
    opened.current = false;
  }, [row, key]);

  const onKeyDown = (e: KeyboardEvent): void => {
    const map = view.current;
    if (!map || e.ctrlKey || e.metaKey || e.altKey) return;
    const moves: Record<string, [number, number]> = {
      ArrowUp: [-1, 0],
      ArrowDown: [1, 0],
      ArrowLeft: [0, -1],
      ArrowRight: [0, 1],
    };
    const move = moves[e.key];
    if (move && e.shiftKey) map.panBy(move[1] / 4, move[0] / 4);
    else if (move) focusOn(store, row + move[0] * map.stride, Math.max(0, key + move[1] * map.stride));
    else if (e.key === '+' || e.key === '=') map.zoomBy(2);
    else if (e.key === '-' || e.key === '_') map.zoomBy(0.5);
    else if (e.key === '0') map.go(null);
    else if (e.key === 'Enter') map.go({ x: key + 0.5, y: row + 0.5, span: 18 });
    else if (e.key === 'Home') focusOn(store, row, 0);
    else if (e.key === 'End') focusOn(store, row, row);
    else if (e.key === 'PageUp') focusOn(store, row - Math.ceil(head.n / 10), key);
    else if (e.key === 'PageDown') focusOn(store, row + Math.ceil(head.n / 10), key);
    else if (e.key === 'Escape') store.set({ head: null });
    else return;
    e.preventDefault();
  };

  const { block } = head.pooled;
  const shownCell = hover ?? { row, key };
  return (
    <section class="map-panel" aria-labelledby="map-title">
      <h2 id="map-title" class="visually-hidden">
        Map
      </h2>
      <div class="toolbar">
        <Choice
          legend="Blocks"
          value={pool}
          options={[
            ['sum', 'Sum'],
            ['max', 'Max'],
          ]}
          onChange={(v) => store.set({ pool: v })}
        />
        <Choice
          legend="Scale"
          value={scale}
          options={[
            ['log', 'Log'],
            ['linear', 'Linear'],
            ['rank', 'Rank'],
          ]}
          onChange={(v) => store.set({ scale: v })}
        />
        <Choice
          legend="First token"
          value={first ? 'shown' : 'hidden'}
          options={FIRST}
          onChange={(v) => store.set({ first: v === 'shown' })}
        />
        <PalettePick store={store} palette={state.palette} />
        <div class="choice" role="group" aria-label="Zoom">
          <div class="options zoom">
            <button type="button" aria-label="Zoom out" onClick={() => view.current?.zoomBy(0.5)}>
              {'\u2212'}
            </button>
            <button type="button" aria-label="Zoom in" onClick={() => view.current?.zoomBy(2)}>
              +
            </button>
            <button type="button" onClick={() => view.current?.go(null)}>
              All
            </button>
            <button type="button" onClick={() => view.current?.go({ x: key + 0.5, y: row + 0.5, span: 18 })}>
              Cells
            </button>
          </div>
        </div>
      </div>
      <div class="map">
        <canvas ref={cells} class="map-cells" aria-hidden="true" />
        <canvas
          ref={over}
          class="map-over"
          tabIndex={0}
          role="application"
          aria-roledescription="attention map"
          aria-label={`Map of layer ${head.layer}, head ${head.head}`}
          aria-describedby="live-row map-keys"
          onKeyDown={onKeyDown}
        />
        <canvas ref={mini} class="map-mini" aria-hidden="true" />
      </div>
      <div class="under-map">
        <Readout head={head} tokens={tokens} cell={shownCell} view={shownRow} />
        <ScaleLegend state={state} top={view.current?.palette.top ?? 1} />
        <p class={head.exact ? 'how exact' : 'how'} data-renderer={renderer} data-pending={pending} id="map-how">
          {head.exact
            ? head.exact.how + (pending ? ` (${pending} patches to come, pooled till then)` : '')
            : `pooled ${block} \u00D7 ${block}: sums and maxima, to within 3 % of each value`}
        </p>
      </div>
      <p class="learner">This is a weighting, not a spotlight: every token keeps some weight.</p>
      <details>
        <summary>The same as a table</summary>
        <CellsTable cells={strongest} tokens={tokens} pool={pool} onFocus={(r, k) => focusOn(store, r, k)} />
      </details>
      <details>
        <summary>Keys</summary>
        <dl class="keys-help" id="map-keys">
          <dt>Arrows</dt>
          <dd>move the focus (with Shift: pan)</dd>
          <dt>+ and {'\u2212'}</dt>
          <dd>zoom; 0 shows all, Enter goes to the cells</dd>
          <dt>Home, End</dt>
          <dd>first token, the token itself</dd>
          <dt>Page up, Page down</dt>
          <dd>a tenth of the text</dd>
          <dt>Escape</dt>
          <dd>back to all heads</dd>
        </dl>
      </details>
    </section>
  );
}
