// One head: its map, the focused row in words, and the text coloured by that row.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { CompareBar, ComparePanel, type Pair, differenceName, rowDifference } from './compare';
import { type PageData, headName, headOf, layerOf } from '../data/data';
import { count, percent, value } from '../data/format';
import { STRONGEST, focusOn } from '../state/focus';
import { MapPanel } from '../map/map_panel';
import { NARROW } from '../map/map_toolbar';
import type { Cell } from '../map/map_types';
import type { Head, RowView } from '../data/head';
import { HeadPicker } from '../grid/picker';
import { Live, RowPanel, sentence } from './row_panel';
import { cellSentence, differenceSentence } from './said';
import { useHead } from '../state/use_head';
import { useRowView } from '../state/use_row';
import { Search, findMatches } from './search';
import { RunsChoice } from '../live/runs';
import { type State, type Store, useDark, useMedia, useStore } from '../state/state';
import { TextPane, fullColour } from './text_pane';

function pairOf(store: Store, state: State, head: number, other: number, runs: boolean): Pair {
  if (runs)
    return {
      kind: 'runs',
      as: state.runs === 'side' ? 'side' : 'difference',
      names: ['A', 'B'],
      short: ['A', 'B'],
      beside: ['A', 'B'],
    };
  const { data } = store;
  const name = (h: number): string => `layer ${layerOf(data, h)}, head ${headOf(data, h)}`;
  const [a, b] = [headName(data, head), headName(data, other)];
  return {
    kind: 'heads',
    as: state.compare,
    names: [name(head), name(other)],
    short: [a, b],
    beside: [`head ${a}`, `head ${b}`],
  };
}

interface SpokenProps {
  data: PageData;
  state: State;
  keyToken: number;
  head: Head;
  view: RowView; // of the focused row
  other: { head: Head; view: RowView; pair: Pair } | null;
}

/** The focused cell and row for those who hear the page: of two maps both, of a difference the difference. */
function Spoken({ data, state, keyToken: key, head, view, other }: SpokenProps) {
  const { tokens } = data;
  const { row } = state;
  const there = !other || other.view.row === row; // else the pointer is elsewhere, or the row is on its way
  const asked = { tokens, row, key, norm: state.norm, weighted: state.weighted, first: state.first };
  const difference = other?.pair.as === 'difference';
  const of = (i: 0 | 1): string => (other ? `${other.pair.names[i]}: ` : '');
  const rowText = difference
    ? differenceSentence(tokens, other.pair, row, rowDifference(other.pair, view, other.view))
    : of(0) + sentence(head, tokens, view);
  return (
    <>
      <Live id="live-cell" text={there ? cellSentence(head, view, asked, other) : ''} />
      <Live id="live-row" text={there ? rowText : ''} />
      {other && !difference && (
        <Live id="live-row-other" spoken={false} text={there ? of(1) + sentence(other.head, tokens, other.view) : ''} />
      )}
    </>
  );
}

interface HeadPageProps {
  store: Store;
  head: number;
  onKey?: ((key: number | null) => void) | undefined; // the key in focus; null: none yet, or no more
}

/** The view of one head; of two where another is compared with, or another run. */
export function HeadPage({ store, head: index, onKey }: HeadPageProps) {
  const { data } = store;
  const state = useStore(store);
  const { against } = state;
  const runs = against ? state.runs : 'first';
  const two = runs === 'side' || runs === 'difference';
  const source = against && runs === 'second' ? against : store.source;
  const { head: ready, failure } = useHead(source, index);
  const otherIndex = two ? index : state.other === index ? null : state.other;
  const { head: other, failure: without } = useHead(two ? against! : source, otherIndex);
  const asked = otherIndex === null ? null : pairOf(store, state, index, otherIndex, two);
  const pair = other && asked; // until the other is there one head is shown alone
  const [hover, setHover] = useState<Cell | null>(null);
  const waiting = useRef<Cell | null>(null);
  const frame = useRef(0);
  const [dark] = useDark();
  const narrow = useMedia(NARROW);

  // A pointer moves faster than a text can be coloured: once a frame is enough.
  const onHover = (cell: Cell | null): void => {
    waiting.current = cell;
    frame.current ||= window.requestAnimationFrame(() => {
      frame.current = 0;
      setHover(waiting.current);
    });
  };

  // What moved last counts: of a pointer that rests nothing is shown once the focus has gone elsewhere.
  useLayoutEffect(() => {
    waiting.current = null;
    setHover(null);
  }, [index, state.row, state.key]);

  const focused = useRowView(ready, state.row);
  const hovered = useRowView(ready, hover && hover.row !== state.row ? hover.row : null);
  const shown = hovered ?? focused;
  const otherRow = useRowView(other, shown?.row ?? null);
  const keyToken = state.key >= 0 ? Math.min(state.key, state.row) : (focused?.top[0]?.from ?? 0);
  const known = focused !== null;
  useEffect(() => onKey?.(known ? keyToken : null), [known, keyToken]);
  useEffect(() => () => onKey?.(null), []);
  const both = pair && other && shown && otherRow?.row === shown.row ? otherRow : null;
  const signed = useMemo(
    () => (both && shown && pair?.as === 'difference' ? rowDifference(pair, shown, both) : null),
    [both, shown, pair?.as, pair?.kind],
  );
  const matches = useMemo(() => findMatches(data.tokens, state.find), [data, state.find]);
  const recipe = source.data.recipe_roles?.[index];
  const ofA = two && !against?.data.recipe_roles; // B is of another model
  const go = (by: number): void => {
    const all = data.means.length;
    store.set({ head: (index + by + all) % all });
  };

  const compare = !two && <CompareBar store={store} state={state} source={source} head={index} />;

  return (
    <div class="head-page">
      <nav class="head-bar" aria-label="Heads">
        <button type="button" class="back" onClick={() => store.set({ head: null, view: null })}>
          {'\u2190'} <span>All heads</span>
        </button>
        <div class="head-name">
          <h2>
            Layer {layerOf(data, index)}, head {headOf(data, index)}
          </h2>
          {(two ? [store.source, against!] : [source]).map(({ data: { roles } }, i) => (
            <p key={i}>
              {two && <span class="who">{'AB'[i]} </span>}
              <span class="role">{roles[index]?.name}</span> {roles[index]?.evidence}
            </p>
          ))}
          {recipe && (
            <p class="recipe-role">
              {ofA && <span class="who">A </span>}Tested by recipes: <span class="role">{recipe.name}</span>{' '}
              {recipe.evidence}
            </p>
          )}
        </div>
        <HeadPicker store={store} state={state} head={index} />
        <div class="steps">
          <button type="button" class="quiet" aria-label="Previous head" onClick={() => go(-1)}>
            {'\u2039'}
          </button>
          <button type="button" class="quiet" aria-label="Next head" onClick={() => go(1)}>
            {'\u203A'}
          </button>
        </div>
      </nav>
      <RunsChoice store={store} state={state} />
      {!narrow && compare}
      {failure && (
        <p class="failure" role="alert">
          {failure}
        </p>
      )}
      {without && asked && (
        <p class="failure" role="alert">
          Not shown: {asked.names[1]} ({without})
        </p>
      )}
      {ready && focused && shown ? (
        <div class="columns">
          <MapPanel
            store={store}
            state={state}
            head={ready}
            other={other}
            pair={pair}
            compare={narrow && compare}
            onHover={onHover}
            hover={hover}
            keyToken={keyToken}
            otherRow={otherRow}
            view={shown}
          />
          <div class="side">
            <Search store={store} find={state.find} matches={matches} row={state.row} />
            <TextPane
              tokens={data.tokens}
              row={state.row}
              view={shown}
              signed={signed}
              first={state.first}
              matches={matches}
              dark={dark}
              onFocus={(row) => focusOn(store, row, STRONGEST)}
            />
            <p class="text-note">
              {signed && pair
                ? `Orange: row ${count(shown.row)} gives more (${differenceName(pair)}); purple: less.`
                : `Coloured by what row ${count(shown.row)} gives${shown.exact ? '' : ', mean of its block'}.`}{' '}
              Full colour: {percent(fullColour(signed ?? shown.weights))}
              {state.first ? ', or more on the first token' : '; the first token is left out'}.
            </p>
            {both && pair && (
              <ComparePanel
                data={data}
                pair={pair}
                a={shown}
                b={both}
                onKey={(key) => focusOn(store, shown.row, key)}
              />
            )}
            <RowPanel
              head={ready}
              tokens={data.tokens}
              view={shown}
              keyToken={keyToken}
              who={both && pair ? pair.names[0] : ''}
              onRow={(row) => focusOn(store, row, STRONGEST)}
              onKey={(key) => focusOn(store, shown.row, key)}
            />
            {both && pair && other && (
              <RowPanel
                head={other}
                tokens={data.tokens}
                view={both}
                keyToken={keyToken}
                who={pair.names[1]}
                onRow={null}
                onKey={(key) => focusOn(store, shown.row, key)}
              />
            )}
            <Spoken
              data={data}
              state={state}
              keyToken={keyToken}
              head={ready}
              view={focused}
              other={other && pair && otherRow ? { head: other, view: otherRow, pair } : null}
            />
            <details class="measures">
              <summary>Measures of head {headName(data, index)}</summary>
              <dl>
                {data.measures.map((m, i) => (
                  <div key={m.id}>
                    <dt>{m.title}</dt>
                    <dd>
                      <b>
                        {value(source.data.means[index]?.[i], m.unit)}
                        {two && !m.recipe && ` \u2192 ${value(against?.data.means[index]?.[i], m.unit)}`}
                      </b>{' '}
                      {m.description}
                    </dd>
                  </div>
                ))}
              </dl>
            </details>
          </div>
        </div>
      ) : (
        !failure && (
          <p class="waiting" role="status">
            Reading head {headName(data, index)}
          </p>
        )
      )}
    </div>
  );
}
