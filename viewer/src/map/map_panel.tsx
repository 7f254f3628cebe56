// The map of a head, or two heads side by side or subtracted, with controls, readout, keys and the same as a table.
import type { ComponentChildren } from 'preact';
import { useMemo, useRef, useState } from 'preact/hooks';
import { CellsTable } from '../head/cells_table';
import { type Pair, differenceName } from '../head/compare';
import { headName } from '../data/data';
import { NOTHING } from './drawn';
import { focusOn } from '../state/focus';
import { Gauge } from '../draw/gauge';
import type { Head, RowView } from '../data/head';
import { How } from './how';
import type { MapView } from './map';
import { MapBox, UNSETTLED, allowed } from './map_box';
import { MapToolbar } from './map_toolbar';
import type { Cell } from './map_types';
import { differencePicture, headPicture } from '../draw/picture';
import { Readout } from './readout';
import { SaveView } from '../save/save_buttons';
import { ScaleLegend } from './scale_legend';
import type { State, Store } from '../state/state';
import { useRoom } from '../state/use_room';

interface MapPanelProps {
  store: Store;
  state: State;
  head: Head;
  other: Head | null; // compared with
  pair: Pair | null; // how
  compare: ComponentChildren; // choice of the other head, where it is folded away with the switches
  onHover: (cell: Cell | null) => void;
  hover: Cell | null;
  keyToken: number; // the focused key
  otherRow: RowView | null; // the same row of the head compared with
  view: RowView; // the row that is shown: of the pointer, or the focused one
}

/** What a cell of the map says. */
function describe({ pool, norm, weighted }: Pick<State, 'pool' | 'norm' | 'weighted'>): string {
  if (norm === 'key') return pool === 'sum' ? 'part of what the key receives' : 'largest part of what a key receives';
  if (weighted)
    return pool === 'sum' ? 'weight \u00D7 size carried, of the largest' : 'largest weight \u00D7 size carried';
  return pool === 'sum' ? 'share of the row\u2019s weight' : 'largest weight in the block';
}

/** What a cell of a difference says. */
function describeDifference({ pool, norm, weighted }: Pick<State, 'pool' | 'norm' | 'weighted'>): string {
  const largest = pool === 'max' ? 'the largest ' : '';
  if (norm === 'key') return `difference of ${largest}parts of what ${largest ? 'a' : 'the'} key receives`;
  if (weighted) return `difference of ${largest}weight \u00D7 size carried, of the largest`;
  return pool === 'sum' ? 'difference of shares of the row\u2019s weight' : 'difference of the largest weights';
}

/** The maps of a view with all that belongs to them. */
export function MapPanel(props: MapPanelProps) {
  const { store, state, head, other, pair, compare, onHover, hover, keyToken: key, view: shownRow, otherRow } = props;
  const view = useRef<MapView | null>(null);
  const second = useRef<MapView | null>(null);
  const stage = useRoom(`${head.index} ${other?.index} ${pair?.as}`);
  const gauge = useMemo(() => new Gauge(), []);
  const [drawn, setDrawn] = useState(NOTHING);
  const [drawnBeside, setDrawnBeside] = useState(NOTHING);
  const [settled, setSettled] = useState(UNSETTLED);
  const [settledBeside, setSettledBeside] = useState(UNSETTLED);
  const { tokens } = store.data;
  const { row } = state;
  const difference = other !== null && pair?.as === 'difference';
  const runs = pair?.kind === 'runs';
  const picture = useMemo(
    () => (difference ? (runs ? differencePicture(other, head) : differencePicture(head, other)) : headPicture(head)),
    [head, runs, difference ? other : null],
  );
  const beside = useMemo(() => (other && !difference ? headPicture(other) : null), [other, difference]);
  const { norm, weighted, pool } = allowed(state, picture);
  const heads = other && !runs ? [head, other] : [head];
  const pooled = heads.filter((h) => !h.exact).map((h) => headName(store.data, h.index));
  const shownCell = hover ?? { row, key };
  const [one, two] = pair?.names ?? [`layer ${head.layer}, head ${head.head}`, ''];
  const both = pair ? differenceName({ ...pair, beside: pair.names }) : '';
  const of = runs ? ` of layer ${head.layer}, head ${head.head}` : '';
  const what = (difference ? describeDifference : describe)({ pool, norm, weighted });
  const there = beside && describe(allowed(state, beside));
  const whats = there ? [what, there] : [what];
  const legend = !there
    ? what
    : there !== what
      ? `${one}: ${what}; ${two}: ${there}`
      : weighted
        ? `${what} of each map`
        : `${what}, alike in both maps`;
  const common = { store, state, gauge, keyToken: key, onHover };
  return (
    <section class="map-panel" aria-labelledby="map-title">
      <h2 id="map-title" class="visually-hidden">
        Map
      </h2>
      <MapToolbar store={store} state={state} picture={picture} shown={{ pool, norm, weighted }} compare={compare}>
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
          whats={whats}
        />
      </MapToolbar>
      <div class="map-column">
        <div class="map-stage" ref={stage}>
          <div class={beside ? 'maps two' : 'maps'}>
            <MapBox
              {...common}
              picture={picture}
              label={difference ? `Difference${of}: ${both}` : `Map of ${one}${of}`}
              described="live-cell live-row map-keys"
              caption={difference ? both : beside ? one : ''}
              minimap={!beside}
              buttons={true}
              onDrawn={setDrawn}
              onSettled={setSettled}
              view={view}
            />
            {beside && other && (
              <MapBox
                {...common}
                picture={beside}
                label={`Map of ${two}${of}`}
                described="live-cell live-row-other map-keys"
                caption={two}
                minimap={false}
                buttons={false}
                onDrawn={setDrawnBeside}
                onSettled={setSettledBeside}
                view={second}
              />
            )}
          </div>
          <div class="under-map">
            <Readout
              head={head}
              view={shownRow}
              asked={{ tokens, ...shownCell, norm: state.norm, weighted: state.weighted, first: state.first }}
              other={other}
              otherView={otherRow}
              pair={pair}
            />
            <ScaleLegend state={{ ...state, pool }} top={settled.top} signed={difference} what={legend} />
            <How
              maps={[
                { of: one, picture, drawn },
                ...(beside ? [{ of: two, picture: beside, drawn: drawnBeside }] : []),
              ]}
              pooled={pooled}
              served={store.data.source !== undefined}
              settled={settled}
            />
          </div>
        </div>
        {picture.edges && (
          <p class="edges">
            Left edge: each row’s entropy. Below: the weight that each key receives. Outlined: the focused row and key.
          </p>
        )}
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
          {[settled, ...(beside ? [settledBeside] : [])].map(({ cells }, i) => (
            <CellsTable
              key={i}
              of={beside ? [one, two][i]! : ''}
              cells={cells}
              tokens={tokens}
              what={whats[i]!}
              onFocus={(r, k) => focusOn(store, r, k)}
            />
          ))}
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
      </div>
    </section>
  );
}
