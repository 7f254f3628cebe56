// The whole page: header, then the grid of all heads or one head's map.
import { useEffect, useRef } from 'preact/hooks';
import { count, parameters } from './format';
import { HeadPage } from './head_page';
import { LivePanel } from './live';
import { Overview } from './overview';
import { type Store, useDark, useStore } from './state';

function Header({ store }: { store: Store }) {
  const { model, run, title } = store.data;
  const [dark, toggle] = useDark();
  const facts = [
    model.name,
    `${parameters(model.parameters)} parameters, ${model.file_type}`,
    `${model.layers} layers \u00D7 ${model.heads} heads`,
    `${count(run.tokens)} tokens`,
    run.seconds === null
      ? ''
      : `${run.seconds.toFixed(2)} s` + (run.tokens_per_second ? ` (${count(run.tokens_per_second)} tok/s)` : ''),
    `precision ${run.precision}`,
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
      <button type="button" class="quiet theme" onClick={toggle} aria-label={dark ? 'Light theme' : 'Dark theme'}>
        {dark ? '\u2600' : '\u263E'}
      </button>
    </header>
  );
}

export function App({ store }: { store: Store }) {
  const state = useStore(store);
  const main = useRef<HTMLElement>(null);
  const before = useRef(state.head);
  useEffect(() => {
    if ((before.current === null) !== (state.head === null)) {
      window.scrollTo(0, 0);
      main.current?.focus();
    }
    before.current = state.head;
  }, [state.head]);
  return (
    <>
      <Header store={store} />
      <main ref={main} tabIndex={-1}>
        {store.source.live && <LivePanel live={store.source.live} />}
        {state.head === null ? <Overview store={store} /> : <HeadPage store={store} head={state.head} />}
      </main>
    </>
  );
}
