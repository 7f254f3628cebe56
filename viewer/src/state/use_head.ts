// A head as a hook: read when first asked for, null until it is there; what went wrong is said.
import { useEffect, useState } from 'preact/hooks';
import { errorText } from '../data/format';
import { type Head, readHead } from '../data/head';
import type { Source } from '../source/source';
import { AnotherRun, Silence, report } from '../live/trouble';

/** A head of a source, and what went wrong. */
export function useHead(source: Source, index: number | null): { head: Head | null; failure: string } {
  const [head, setHead] = useState<{ of: Source; head: Head } | null>(null);
  const [failure, setFailure] = useState('');
  useEffect(() => {
    let current = true;
    setFailure('');
    if (index !== null) {
      readHead(source, index).then(
        (h) => current && setHead({ of: source, head: h }),
        (e: unknown) => {
          if (!current) return;
          if (e instanceof Silence || e instanceof AnotherRun) report(e);
          else setFailure(errorText(e));
        },
      );
    }
    return () => {
      current = false;
    };
  }, [source, index]);
  return { head: head?.of === source && head.head.index === index ? head.head : null, failure };
}
