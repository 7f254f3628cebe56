// The whole page: header, then the grid of all heads or one head's map.
import { useEffect, useRef, useState } from 'preact/hooks';
import { count, parameters, plural } from './data/format';
import { HeadPage } from './head/head_page';
import { LayersPage } from './layers/layers_page';
import { LivePanel } from './live/live';
import { Overview } from './grid/overview';
import { SteerPanel } from './live/steer';
import { type Store, useDark, useStore } from './state/state';
import { Tour } from './tour/tour';
import { TroubleBar, useOvercome } from './live/trouble';

function Header({ store }: { store: Store }) {
  const { model, run, title } = store.data;
  const [dark, toggle] = useDark();
  const facts = [
    model.name,
    `${parameters(model.parameters)} parameters, ${model.file_type}`,
    `${model.layers} layers \u00D7 ${model.heads} heads`,
    plural(run.tokens, 'token'),
    run.seconds === null
      ? ''
      : `${run.seconds.toFixed(2)} s` + (run.tokens_per_second ? ` (${count(run.tokens_per_second)} tok/s)` : ''),
    `precision ${run.precision}`,
    run.window === undefined ? '' : `window ${count(run.window)}, first ${count(run.sinks ?? 0)} kept`,
  ].filter(Boolean);
  return (
    <header class="top">
      <div class="name">
        <span class="brand">Bare Attention</span>
        <h1 dir="auto">{title || 'Every head on one text'}</h1>
      </div>
      <ul class="facts" aria-label="The run">
        {facts.map((fact) => (
          <li key={fact}>{fact}</li>
        ))}
      </ul>
      {store.data.lesson && store.get().tour === null && (
        <button type="button" class="quiet learn" onClick={() => store.set({ tour: 1 })}>
          How it works
        </button>
      )}
      <button type="button" class="quiet theme" onClick={toggle} aria-label={dark ? 'Light theme' : 'Dark theme'}>
        {dark ? '\u2600' : '\u263E'}
      </button>
    </header>
  );
}

export function App({ store }: { store: Store }) {
  const state = useStore(store);
  const main = useRef<HTMLElement>(null);
  const place = state.tour !== null ? 'tour' : state.head !== null ? 'head' : state.layers ? 'layers' : 'grid';
  const before = useRef(place);
  const left = useRef<number | null>(null); // the head that was shown last
  if (state.head !== null) left.current = state.head;
  const overcome = useOvercome();
  const [key, setKey] = useState<number | null>(null);
  useEffect(() => {
    if (before.current !== place) {
      window.scrollTo(0, 0);
      // In the grid the focus goes back to the head that was left: grid.tsx. Two layers hear Escape within themselves.
      if (place === 'layers') main.current?.querySelector<HTMLElement>('.layers')?.focus();
      else if (place === 'head' || (place === 'grid' && left.current === null)) main.current?.focus();
    }
    before.current = place;
  }, [place]);
  return (
    <>
      <Header store={store} />
      <main ref={main} tabIndex={-1}>
        <TroubleBar source={store.source} />
        {store.source.live && <LivePanel live={store.source.live} />}
        {store.source.live && !store.source.against && (
          <SteerPanel store={store} state={state} live={store.source.live} focusedKey={key} />
        )}
        {state.tour !== null && store.data.lesson ? (
          <Tour store={store} state={state} lesson={store.data.lesson} />
        ) : state.head !== null ? (
          <HeadPage key={overcome} store={store} head={state.head} onKey={store.source.live && setKey} />
        ) : state.layers ? (
          <LayersPage key={overcome} store={store} state={state} layers={state.layers} />
        ) : (
          <Overview key={overcome} store={store} back={left.current} />
        )}
      </main>
    </>
  );
}
