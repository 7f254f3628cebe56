// The line below the map: how exact what is drawn is, for each map, and how cells are had where there are none.
import { type Drawn, drawnWords } from './drawn';
import type { Settled } from './map_box';
import type { Picture } from '../draw/picture';

interface HowProps {
  maps: { of: string; picture: Picture; drawn: Drawn }[];
  pooled: string[]; // heads whose cells are not at hand, "3.4"
  served: boolean;
  settled: Settled;
}

/** The line that says how exact the map is. */
export function How({ maps, pooled, served, settled }: HowProps) {
  const lines = maps.map(({ of, picture, drawn }) => ({ of, words: drawnWords(drawn, picture.how) }));
  const same = lines.every(({ words }) => words === lines[0]!.words);
  const shown = same ? lines.slice(0, 1) : lines;
  const exact = maps.every(({ drawn }) => drawn.exact > 0 && drawn.pooled === 0);
  return (
    <p class={exact ? 'how exact' : 'how'} data-renderer={settled.renderer} data-pending={settled.pending} id="map-how">
      {shown.map(({ of, words }) => (
        <span key={of}>{same ? words : `${of}: ${words}`}</span>
      ))}
      {pooled.length > 0 && (
        <span>
          {served ? (
            'This trace holds no Q and K to compute cells from.'
          ) : (
            <>
              For its cells make the page with <code>{`--exact ${pooled.join(',')}`}</code>, or see it with{' '}
              <code>bareattn serve</code>.
            </>
          )}
        </span>
      )}
    </p>
  );
}
