// All heads' small pictures as a hook: null until they are there, or where there is no run to show.
import { useEffect, useState } from 'preact/hooks';
import type { Source } from '../source/source';
import { type Thumbs, loadThumbs } from '../draw/thumbs';
import { report } from '../live/trouble';

/** The small pictures of a source. */
export function useThumbs(source: Source | null): Thumbs | null {
  const [thumbs, setThumbs] = useState<{ of: Source; thumbs: Thumbs } | null>(null);
  useEffect(() => {
    let current = true;
    if (source) loadThumbs(source).then((t) => current && setThumbs({ of: source, thumbs: t }), report);
    return () => {
      current = false;
    };
  }, [source]);
  return thumbs?.of === source ? thumbs.thumbs : null;
}
