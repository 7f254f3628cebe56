// The map of a head, or two heads side by side or subtracted, with controls, readout, keys and the same as a table.
import { useMemo, useRef, useState } from 'preact/hooks';
import { CellsTable } from './cells_table';
import { Choice, FIRST, PalettePick } from './controls';
import { type Pair, differenceName, differenceOf } from './compare';
import { count, percent, percentSigned, quoted, span } from './format';
import type { Head, RowView } from './head';
import { focusOn } from './focus';
import type { Cell, MapView } from './map';
import { MapBox, type Settled, allowed } from './map_box';
import { differencePicture, headPicture } from './picture';
import { triangle } from './quant';
import { ScaleLegend } from './scale_legend';
import { SaveView } from './save_buttons';
import type { State, Store } from './state';

interface MapPanelProps {
  store: Store;
  state: State;
  head: Head;
  other: Head | null; // compared with
  pair: Pair | null; // how
  onHover: (cell: Cell | null) => void;
  hover: Cell | null;
  keyToken: number; // the focused key
  otherRow: RowView | null; // the same row of the head compared with
  view: RowView; // the row that is shown: of the pointer, or the focused one
}

interface ReadoutProps {
  head: Head;
  tokens: string[];
  cell: Cell;
  view: RowView;
  norm: 'row' | 'key';
  weighted: boolean;
  other: Head | null;
  otherView: RowView | null;
  pair: Pair | null;
}

/// The same cell of both, and what lies between.
function ReadoutPair({
  head,
  tokens,
  cell,
  view,
  weighted,
  other,
  otherView,
  pair,
}: ReadoutProps & { other: Head; pair: Pair }) {
  const { row, key } = cell;
  const known = view.row === row && otherView?.row === row;
  const carries = (h: Head): number => (weighted ? (h.exact?.sizes?.[key] ?? NaN) : 1);
  const a = known ? (view.weights[key] ?? NaN) * carries(head) : NaN;
  const b = known ? (otherView.weights[key] ?? NaN) * carries(other) : NaN;
  const exact = head.exact && other.exact;
  const plain = weighted ? (v: number): string => v.toPrecision(3) : percent;
  const signed = weighted ? (v: number): string => v.toPrecision(3).replace('-', '\u2212') : percentSigned;
  return (
    <p class="readout both" id="readout">
      <span class="pair" dir="auto">
        {count(row)} {quoted(tokens[row])} <i aria-hidden="true">{'\u2192'}</i> {count(key)} {quoted(tokens[key])}
      </span>
      {known ? (
        <span class="values">
          {pair.short[0]}{' '}
          <data value={String(a)} id="cell-weight">
            {plain(a)}
          </data>{' '}
          {pair.short[1]}{' '}
          <data value={String(b)} id="cell-other">
            {plain(b)}
          </data>{' '}
          {differenceName(pair)}{' '}
          <data value={String(differenceOf(pair, a, b))} id="cell-difference">
            {signed(differenceOf(pair, a, b))}
          </data>
          {weighted && ' (weight \u00D7 size carried)'}
          {!exact && ' (shares of blocks, spread over their keys)'}
        </span>
      ) : (
        <span>{'\u2026'}</span>
      )}
    </p>
  );
}

function Readout(props: ReadoutProps) {
  const { head, tokens, cell, view, norm, weighted, other, pair } = props;
  const { row, key } = cell;
  if (other && pair && norm === 'row') return <ReadoutPair {...props} other={other} pair={pair} />;
  if (head.exact) {
    const w = view.row === row ? (view.weights[key] ?? NaN) : null; // null: still on its way
    const { received, sizes } = head.exact;
    const part = w !== null && norm === 'key' && received ? w / (received[key] ?? NaN) : null;
    const carried = w !== null && weighted && sizes ? w * (sizes[key] ?? NaN) : null;
    return (
      <p class="readout" id="readout">
        <span class="pair" dir="auto">
          {count(row)} {quoted(tokens[row])} <i aria-hidden="true">{'\u2192'}</i> {count(key)} {quoted(tokens[key])}
        </span>
        <data value={String(part ?? carried ?? w)} id="cell-weight">
          {w === null
            ? '\u2026'
            : part !== null
              ? `${percent(part)} of what the key receives`
              : carried !== null
                ? `${percent(w)}, carrying ${carried.toPrecision(3)}`
                : percent(w)}
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

/// What a cell of the map says.
function describe(pool: 'sum' | 'max', norm: 'row' | 'key', weighted: boolean): string {
  if (norm === 'key') return pool === 'sum' ? 'part of what the key receives' : 'largest part of what a key receives';
  if (weighted)
    return pool === 'sum' ? 'weight \u00D7 size carried, of the largest' : 'largest weight \u00D7 size carried';
  return pool === 'sum' ? 'share of the row\u2019s weight' : 'largest weight in the block';
}

export function MapPanel(props: MapPanelProps) {
  const { store, state, head, other, pair, onHover, hover, keyToken: key, view: shownRow, otherRow } = props;
  const view = useRef<MapView | null>(null);
  const second = useRef<MapView | null>(null);
  const [settled, setSettled] = useState<Settled>({ pending: 0, cells: [], renderer: '', top: 1 });
  const { tokens } = store.data;
  const { scale, row } = state;
  const difference = other !== null && pair?.as === 'difference';
  const runs = pair?.kind === 'runs';
  const picture = useMemo(
    () => (difference ? (runs ? differencePicture(other, head) : differencePicture(head, other)) : headPicture(head)),
    [head, runs, difference ? other : null],
  );
  const beside = useMemo(() => (other && !difference ? headPicture(other) : null), [other, difference]);
  const { norm, weighted, pool } = allowed(state, picture);
  const { block } = head.pooled;
  const shownCell = hover ?? { row, key };
  const [one, two] = pair?.names ?? [`layer ${head.layer}, head ${head.head}`, ''];
  const both = pair ? differenceName({ ...pair, short: pair.names }) : '';
  const of = runs ? ` of layer ${head.layer}, head ${head.head}` : '';
  const what = difference
    ? weighted
      ? `difference of weight \u00D7 size carried, of the largest`
      : pool === 'sum'
        ? 'difference of shares of the row\u2019s weight'
        : 'difference of the largest weights'
    : describe(pool, norm, weighted);
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
          disabled={(norm === 'key' || weighted) && !picture.exact ? ['max'] : []}
          why="Blocks do not know this"
          onChange={(v) => store.set({ pool: v })}
        />
        <Choice
          legend="Scale"
          value={difference && scale === 'rank' ? 'log' : scale}
          options={[
            ['log', 'Log'],
            ['linear', 'Linear'],
            ['rank', 'Rank'],
          ]}
          disabled={difference ? ['rank'] : []}
          why="A difference has two sides"
          onChange={(v) => store.set({ scale: v })}
        />
        <Choice
          legend="First token"
          value={state.first ? 'shown' : 'hidden'}
          options={FIRST}
          onChange={(v) => store.set({ first: v === 'shown' })}
        />
        <Choice
          legend="Shares of"
          value={weighted ? 'carried' : norm}
          options={[
            ['row', 'Row'],
            ['key', 'Key'],
            ['carried', '\u00D7 value'],
          ]}
          disabled={[
            ...(picture.can.key ? [] : ['key' as const]),
            ...(picture.can.weighted ? [] : ['carried' as const]),
          ]}
          why="This page does not hold what that needs for this head"
          onChange={(v) => store.set({ norm: v === 'key' ? 'key' : 'row', weighted: v === 'carried' })}
        />
        {!difference && <PalettePick store={store} palette={state.palette} />}
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
        <SaveView
          store={store}
          state={state}
          head={head}
          other={other}
          pair={pair}
          maps={beside ? [view, second] : [view]}
          row={shownRow}
          otherRow={otherRow}
          keyToken={key}
          norm={norm}
          weighted={weighted}
          what={what}
        />
      </div>
      <div class={beside ? 'maps two' : 'maps'}>
        <MapBox
          store={store}
          state={state}
          picture={picture}
          label={difference ? `Difference${of}: ${both}` : `Map of ${one}${of}`}
          caption={difference ? both : beside ? one : ''}
          keyToken={key}
          minimap={!beside}
          onHover={onHover}
          onSettled={setSettled}
          view={view}
        />
        {beside && other && (
          <MapBox
            store={store}
            state={state}
            picture={beside}
            label={`Map of ${two}${of}`}
            caption={two}
            keyToken={key}
            minimap={false}
            onHover={onHover}
            onSettled={() => undefined}
            view={second}
          />
        )}
      </div>
      <div class="under-map">
        <Readout
          head={head}
          tokens={tokens}
          cell={shownCell}
          view={shownRow}
          norm={norm}
          weighted={weighted}
          other={other}
          otherView={otherRow}
          pair={pair}
        />
        <ScaleLegend state={{ ...state, pool }} top={settled.top} signed={difference} what={what} />
        <p
          class={head.exact ? 'how exact' : 'how'}
          data-renderer={settled.renderer}
          data-pending={settled.pending}
          id="map-how"
        >
          {picture.exact && head.exact
            ? head.exact.how + (settled.pending ? ` (${settled.pending} patches to come, pooled till then)` : '')
            : `pooled ${block} \u00D7 ${block}: sums and maxima, to within 3 % of each value`}
        </p>
      </div>
      <p class="learner">
        {difference
          ? `Orange: ${runs ? two : one} gives more there. Purple: ${runs ? one : two} does. ` +
            'Where both agree there is no colour.'
          : weighted
            ? 'Weight times the size of what the key carries. A token may be given much and carry little.'
            : norm === 'key'
              ? 'Each column adds up to one: who, of all that come later, looks at this token.'
              : 'This is a weighting, not a spotlight: every token keeps some weight.'}
      </p>
      <details>
        <summary>The same as a table</summary>
        <CellsTable cells={settled.cells} tokens={tokens} what={what} onFocus={(r, k) => focusOn(store, r, k)} />
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
