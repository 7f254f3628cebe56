// The whole page: header, then the grid of all heads or one head's map.
import { useEffect, useRef, useState } from 'preact/hooks';
import { About } from './about';
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

/** Where the keys of a view are heard, and what that is called. */
const TARGETS = {
  tour: ['#tour-title', 'the step of the tour'],
  head: ['.map-over', 'the map'],
  layers: ['.likeness button[tabindex="0"]', 'the heads of the layers'],
  grid: ['.grid button[tabindex="0"]', 'the grid of heads'],
} as const;

/** A field in which Escape takes back what was typed. */
const typed = (target: EventTarget | null): boolean =>
  (target instanceof HTMLInputElement && /^(text|search)$/.test(target.type) && target.value !== '') ||
  target instanceof HTMLTextAreaElement;

/** The whole page for one source. */
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
      // In the grid the focus goes back to the head that was left: grid.tsx. A map takes it when it comes: map_box.tsx.
      const inside = { layers: '.layers', head: '.map-over' }[place as string];
      const target = inside ? main.current?.querySelector<HTMLElement>(inside) : null;
      if (inside || (place === 'grid' && left.current === null))
        (target ?? main.current)?.focus({ preventScroll: true });
    }
    before.current = place;
  }, [place]);
  useEffect(() => {
    // From everywhere back to all heads; the tour leads back to where it was opened.
    if (place !== 'head' && place !== 'layers') return undefined;
    const onKey = (e: KeyboardEvent): void => {
      if (e.key !== 'Escape' || e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey || typed(e.target)) return;
      e.preventDefault();
      store.set({ head: null, layers: null });
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, [place]);
  const [selector, name] = TARGETS[place];
  return (
    <>
      <button type="button" class="skip" onClick={() => main.current?.querySelector<HTMLElement>(selector)?.focus()}>
        Skip to {name}
      </button>
      <Header store={store} />
      <main ref={main} tabIndex={-1}>
        <TroubleBar source={store.source} />
        {store.source.live && <LivePanel live={store.source.live} store={store} />}
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
      <About />
    </>
  );
}
