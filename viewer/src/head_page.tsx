// One head: its map, the focused row in words, and the text coloured by that row.
import { useMemo, useRef, useState } from 'preact/hooks';
import { CompareBar, ComparePanel } from './compare';
import { headName, headOf, layerOf } from './data';
import { count, percent, value } from './format';
import type { Cell } from './map';
import { STRONGEST, focusOn } from './focus';
import { MapPanel } from './map_panel';
import { HeadPicker } from './picker';
import { LiveRow, RowPanel, sentence } from './row_panel';
import { useHead } from './use_head';
import { useRowView } from './use_row';
import { Search, findMatches } from './search';
import { type Store, useDark, useStore } from './state';
import { TextPane, fullColour } from './text_pane';

export function HeadPage({ store, head: index }: { store: Store; head: number }) {
  const { data } = store;
  const state = useStore(store);
  const { head: ready, failure } = useHead(store.source, index);
  const otherIndex = state.other === index ? null : state.other;
  const { head: other } = useHead(store.source, otherIndex);
  const [hover, setHover] = useState<Cell | null>(null);
  const waiting = useRef<Cell | null>(null);
  const frame = useRef(0);
  const [dark] = useDark();

  // A pointer moves faster than a text can be coloured: once a frame is enough.
  const onHover = (cell: Cell | null): void => {
    waiting.current = cell;
    frame.current ||= window.requestAnimationFrame(() => {
      frame.current = 0;
      setHover(waiting.current);
    });
  };

  const focused = useRowView(ready, state.row);
  const hovered = useRowView(ready, hover && hover.row !== state.row ? hover.row : null);
  const shown = hovered ?? focused;
  const otherRow = useRowView(other, shown?.row ?? null);
  const keyToken = state.key >= 0 ? Math.min(state.key, state.row) : (focused?.top[0]?.from ?? 0);
  const matches = useMemo(() => findMatches(data.tokens, state.find), [data, state.find]);
  const role = data.roles[index];
  const recipe = data.recipe_roles?.[index];
  const go = (by: number): void => {
    const all = data.means.length;
    store.set({ head: (index + by + all) % all });
  };

  return (
    <div class="head-page">
      <nav class="head-bar" aria-label="Heads">
        <button type="button" class="back" onClick={() => store.set({ head: null, view: null })}>
          {'\u2190'} All heads
        </button>
        <div class="head-name">
          <h2>
            Layer {layerOf(data, index)}, head {headOf(data, index)}
          </h2>
          <p>
            <span class="role">{role?.name}</span> {role?.evidence}
          </p>
          {recipe && (
            <p class="recipe-role">
              Tested by recipes: <span class="role">{recipe.name}</span> {recipe.evidence}
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
      <CompareBar store={store} state={state} head={index} />
      {failure && (
        <p class="failure" role="alert">
          {failure}
        </p>
      )}
      {ready && focused && shown ? (
        <div class="columns">
          <MapPanel
            store={store}
            state={state}
            head={ready}
            other={otherIndex === null ? null : other}
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
              first={state.first}
              matches={matches}
              dark={dark}
              onFocus={(row) => focusOn(store, row, STRONGEST)}
            />
            <p class="text-note">
              Coloured by what row {count(shown.row)} gives{shown.exact ? '' : ', mean of its block'}. Full colour:{' '}
              {percent(fullColour(shown))}
              {state.first ? ', or more on the first token' : '; the first token is left out'}.
            </p>
            {other && otherRow && otherRow.row === shown.row && (
              <ComparePanel
                data={data}
                names={[headName(data, index), headName(data, other.index)]}
                a={shown}
                b={otherRow}
                onKey={(key) => focusOn(store, shown.row, key)}
              />
            )}
            <RowPanel
              head={ready}
              tokens={data.tokens}
              view={shown}
              keyToken={keyToken}
              onRow={(row) => focusOn(store, row, STRONGEST)}
              onKey={(key) => focusOn(store, shown.row, key)}
            />
            <LiveRow text={sentence(ready, data.tokens, focused)} />
            <details class="measures">
              <summary>Measures of head {headName(data, index)}</summary>
              <dl>
                {data.measures.map((m, i) => (
                  <div key={m.id}>
                    <dt>{m.title}</dt>
                    <dd>
                      <b>{value(data.means[index]?.[i], m.unit)}</b> {m.description}
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
