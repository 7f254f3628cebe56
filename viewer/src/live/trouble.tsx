// What keeps numbers from coming, said above the view until they come again: the server is silent, shows another run by
// now, or refused. What failed meanwhile is asked for anew by mounting the view once more.
import { useEffect, useState } from 'preact/hooks';
import { beginAnew } from '../state/address';
import { errorText } from '../data/format';
import type { Source } from '../source/source';

/** Nobody answers. */
export class Silence extends Error {}
/** The server answers, but of another run than the page's. */
export class AnotherRun extends Error {}

interface Trouble {
  kind: 'silent' | 'another' | 'refused';
  text: string;
}
let now: Trouble | null = null;
let overcome = 0; // times
const listeners = new Set<() => void>();

function change(next: Trouble | null): void {
  now = next;
  for (const listener of listeners) listener();
}

/** Says what went wrong above the view. */
export function report(error: unknown): void {
  if (error instanceof DOMException && error.name === 'AbortError') return;
  const kind = error instanceof Silence ? 'silent' : error instanceof AnotherRun ? 'another' : 'refused';
  // That another run is shown is no passing trouble.
  if (now?.kind !== 'another' || kind === 'another') change({ kind, text: errorText(error) });
}

/** The server answered, and it was about the page's own run. */
export function answered(): void {
  if (now?.kind === 'silent') settle();
}

/** It is over: what failed is asked for anew. */
export function settle(): void {
  if (!now) return;
  ++overcome;
  change(null);
}

/** How often a trouble was overcome, to be the key of what is mounted anew then. */
export function useOvercome(): number {
  const [times, setTimes] = useState(overcome);
  useEffect(() => {
    const update = (): void => setTimes(overcome);
    listeners.add(update);
    return () => void listeners.delete(update);
  }, []);
  return times;
}

/** The line above the view. */
export function TroubleBar({ source }: { source: Source }) {
  const [trouble, setTrouble] = useState(now);
  const [asking, setAsking] = useState(false);
  useEffect(() => {
    const update = (): void => setTrouble(now);
    listeners.add(update);
    return () => void listeners.delete(update);
  }, []);
  if (!trouble) return null;
  const retry = (): void => {
    setAsking(true);
    void (source.again?.() ?? Promise.resolve()).then(settle, report).finally(() => setAsking(false));
  };
  return (
    <div class="failure trouble" role="alert">
      <p>
        {trouble.kind === 'silent'
          ? 'The server does not answer. What is on the page stays; nothing new can be read.'
          : trouble.kind === 'another'
            ? 'Another text is shown now: the server no longer has the one of this page.'
            : trouble.text}
      </p>
      {trouble.kind === 'another' ? (
        <button type="button" class="quiet" onClick={() => beginAnew()}>
          Reload
        </button>
      ) : (
        <button type="button" class="quiet" disabled={asking} onClick={retry}>
          Retry
        </button>
      )}
    </div>
  );
}
