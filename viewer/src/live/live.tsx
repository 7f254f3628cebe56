// Live mode: a text typed here is run by the server's model, and the page begins anew with it, at the head that was
// shown. The box holds the text of the page, to be changed; the text before is run again at a press. Shown only where
// the source can run texts.
import { useState } from 'preact/hooks';
import { beginAnew } from '../state/address';
import { count, plural, quoted } from '../data/format';
import { useRunning } from './running';
import type { Live, RunState } from '../source/source';
import type { Store } from '../state/state';
import { showBefore, showNow, textsOf } from './texts';

/** How far a run is. */
export function Progress({ state }: { state: RunState }) {
  const { done, total } = state;
  return (
    <p class="live-state">
      <progress value={done} max={Math.max(total, 1)} aria-label="Tokens run" />
      <span>{total ? `${count(done)} of ${plural(total, 'token')}` : 'beginning'}</span>
    </p>
  );
}

/** The box for another text. */
export function LivePanel({ live, store }: { live: Live; store: Store }) {
  const [texts] = useState(() => textsOf(store.data.tokens));
  const [text, setText] = useState(texts.present);
  const { state, failure, running, start, stop } = useRunning(live);
  const last = texts.before.at(-1);
  const begin = (what: string, then: () => void): void =>
    start(
      () => live.start(what),
      () => {
        then();
        beginAnew(store.elsewhere());
      },
    );
  const run = (): void => {
    if (text) begin(text, () => showNow(texts, text));
  };

  return (
    <details class="live">
      <summary>Run another text</summary>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          run();
        }}
      >
        <label for="live-text">The text, for the model of this page</label>
        <textarea
          id="live-text"
          dir="auto"
          rows={5}
          spellcheck={false}
          value={text}
          onInput={(e) => setText(e.currentTarget.value)}
          onKeyDown={(e) => {
            if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) run();
          }}
        />
        <div class="live-bar">
          <button type="submit" class="quiet" disabled={running || !text}>
            Run it
          </button>
          {running && (
            <button type="button" class="quiet" onClick={stop}>
              Stop
            </button>
          )}
          {last !== undefined && (
            <button type="button" class="quiet" disabled={running} onClick={() => begin(last, () => showBefore(texts))}>
              Back to <bdi>{quoted(last, 40)}</bdi>
            </button>
          )}
          <span class="legend">Ctrl+Enter runs it too</span>
        </div>
        {running && state && <Progress state={state} />}
        <p role="status" class="live-said">
          {failure
            ? `It was not run: ${failure}`
            : state?.state === 'cancelled'
              ? 'Stopped.'
              : running
                ? 'Running.'
                : ''}
        </p>
      </form>
    </details>
  );
}
