// Live mode: a text typed here is run by the server's model, and the page begins anew with it. Shown only where the
// source can run texts.
import { useState } from 'preact/hooks';
import { beginAnew } from '../state/address';
import { count, plural } from '../data/format';
import { useRunning } from './running';
import type { Live, RunState } from '../source/source';

export function Progress({ state }: { state: RunState }) {
  const { done, total } = state;
  return (
    <p class="live-state">
      <progress value={done} max={Math.max(total, 1)} aria-label="Tokens run" />
      <span>{total ? `${count(done)} of ${plural(total, 'token')}` : 'beginning'}</span>
    </p>
  );
}

export function LivePanel({ live }: { live: Live }) {
  const [text, setText] = useState('');
  const { state, failure, running, start, stop } = useRunning(live);
  const run = (): void => {
    if (text) start(() => live.start(text), beginAnew);
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
