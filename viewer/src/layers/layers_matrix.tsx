// How alike the heads of two layers are, as a table of coloured cells with each head's small map at its row or column.
// Arrow keys move in it, Enter opens a pair, a screen reader reads it as the table that it is.
import { useMemo, useRef, useState } from 'preact/hooks';
import { bright, css } from '../draw/colormap';
import { headName } from '../data/data';
import { HeadThumb } from '../grid/head_thumb';
import type { Like, Likeness, Match } from '../data/likeness';
import { NAMES, figure, shades, words } from '../data/likeness_words';
import type { Source } from '../source/source';
import { type State, type Store, useDark } from '../state/state';
import { useThumbs } from '../state/use_thumbs';

interface MatrixProps {
  store: Store;
  source: Source;
  layers: readonly [number, number];
  state: State;
  found: Likeness;
  like: Like;
  pairs: Match[];
  open: (a: number, b: number) => void;
  onAt: (at: Match) => void;
}

/** Every head of one layer with every head of the other. */
export function Matrix({ store, source, layers: [a, b], state, found, like, pairs, open, onAt }: MatrixProps) {
  const { data } = store;
  const { heads } = found;
  const thumbs = useThumbs(source);
  const [dark] = useDark();
  const [at, setAt] = useState<[number, number]>(a === b ? [0, 1] : [0, 0]); // Tab comes here
  const table = useRef<HTMLTableElement>(null);
  const { of } = useMemo(() => shades(pairs, like, state), [pairs, like, state.palette, dark]);
  const values = found.values[like]!;
  const name = (layer: number, h: number): string => headName(data, layer * heads + h);
  const onKey = (e: KeyboardEvent): void => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[e.key];
    if (!step || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    let [r, c] = at;
    do {
      r += step[0]!;
      c += step[1]!;
    } while (a === b && r === c); // a head with itself is no pair
    if (r < 0 || c < 0 || r >= heads || c >= heads) return;
    setAt([r, c]);
    table.current!.querySelector<HTMLElement>(`[data-at="${r},${c}"]`)!.focus();
  };
  const thumb = (layer: number, h: number) => (
    <HeadThumb thumbs={thumbs} head={layer * heads + h} state={state} size={36} />
  );
  return (
    <table
      role="grid"
      ref={table}
      class={heads > 14 ? 'likeness small' : 'likeness'}
      style={{ '--heads': heads }}
      onKeyDown={onKey}
    >
      <caption class="visually-hidden">
        Heads of layer {a} down, of layer {b} across: {NAMES[like]}. Enter opens a pair.
      </caption>
      <thead>
        <tr>
          <td />
          {Array.from({ length: heads }, (_, h) => (
            <th scope="col" key={h}>
              {thumb(b, h)}
              {name(b, h)}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {Array.from({ length: heads }, (_, r) => (
          <tr key={r}>
            <th scope="row">
              {thumb(a, r)}
              {name(a, r)}
            </th>
            {Array.from({ length: heads }, (_, c) => {
              const value = values[r * heads + c]!;
              if (a === b && r === c) return <td key={c} class="same" aria-label="the same head" />;
              const colour = of(value);
              const see = (): void => onAt({ a: r, b: c, value });
              return (
                <td key={c}>
                  <button
                    type="button"
                    data-at={`${r},${c}`}
                    tabIndex={at[0] === r && at[1] === c ? 0 : -1}
                    aria-label={`${name(a, r)} and ${name(b, c)}: ${words(like, value)}`}
                    style={{ background: css(colour), color: bright(colour) ? '#000000' : '#ffffff' }}
                    onClick={() => open(r, c)}
                    onMouseEnter={see}
                    onFocus={() => {
                      setAt([r, c]);
                      see();
                    }}
                  >
                    {figure(like, value)}
                  </button>
                </td>
              );
            })}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
