// A row of a head as a hook: at once where the source has it at hand, otherwise when it comes; until then the last one.
import { useEffect, useMemo, useState } from 'preact/hooks';
import { type Head, type RowView, rowView } from '../data/head';
import { report } from '../live/trouble';

/** A row of a head. */
export function useRowView(head: Head | null, row: number | null): RowView | null {
  const [fetched, setFetched] = useState<{ head: Head; view: RowView } | null>(null);
  const abort = useMemo(() => new AbortController(), [head, row]);
  const view = useMemo(() => (head && row !== null ? rowView(head, row, abort.signal) : null), [head, row]);
  useEffect(() => {
    let current = true;
    if (head && view instanceof Promise) {
      view.then(
        (v) => current && setFetched({ head, view: v }),
        (e: unknown) => current && report(e),
      );
    }
    return () => {
      current = false;
      abort.abort();
    };
  }, [view]);
  if (!(view instanceof Promise)) return view;
  return fetched?.head === head ? fetched.view : null;
}
