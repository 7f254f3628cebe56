// The switches of the map. On a narrow screen they are folded away, so that the map is not pushed down by them.
import type { ComponentChildren } from 'preact';
import { Choice, FIRST, PalettePick } from '../head/controls';
import type { Picture } from '../draw/picture';
import { type State, type Store, useMedia } from '../state/state';

interface MapToolbarProps {
  store: Store;
  state: State;
  picture: Picture;
  shown: Pick<State, 'pool' | 'norm' | 'weighted'>; // what of the state this picture can show
  compare: ComponentChildren; // folded away with the switches
  children: ComponentChildren;
}

/** A screen on which the switches are folded away. */
export const NARROW = '(max-width: 900px)';

/** The switches. */
export function MapToolbar({ store, state, picture, shown, compare, children }: MapToolbarProps) {
  const narrow = useMedia(NARROW);
  const { pool, norm, weighted } = shown;
  const { signed, can } = picture;
  const switches = (
    <div class="toolbar">
      <Choice
        legend="Blocks"
        value={pool}
        options={[
          ['sum', 'Sum', 'A block of cells shows its share of the weight of its rows'],
          ['max', 'Max', 'A block of cells shows the largest single weight in it'],
        ]}
        disabled={(norm === 'key' || weighted) && !picture.exact ? ['max'] : []}
        why="Blocks do not know this"
        onChange={(v) => store.set({ pool: v })}
      />
      <Choice
        legend="Scale"
        value={signed && state.scale === 'rank' ? 'log' : state.scale}
        options={[
          ['log', 'Log', 'By the logarithm of the weight: small weights are seen too'],
          ['linear', 'Linear', 'In proportion to the weight: the strongest stand out'],
          ['rank', 'Rank', 'By rank among the cells in view: as many dark ones as bright ones'],
        ]}
        disabled={signed ? ['rank'] : []}
        why="A difference has two sides"
        onChange={(v) => store.set({ scale: v })}
      />
      <Choice
        legend="First token"
        value={state.first ? 'shown' : 'hidden'}
        options={FIRST}
        onChange={(v) => store.set({ first: v === 'shown' })}
      />
      <Choice
        legend="Shares of"
        value={weighted ? 'carried' : norm}
        options={[
          ['row', 'Row', 'Of all that the row gives, what this key gets'],
          ['key', 'Key', 'Of all that the key receives, what comes from this row'],
          [
            'carried',
            '\u00D7 value',
            'Weight times the size of what the key carries: what is moved, not only looked at',
          ],
        ]}
        disabled={[...(can.key ? [] : ['key' as const]), ...(can.weighted ? [] : ['carried' as const])]}
        why="This page does not hold what that needs for this head"
        onChange={(v) => store.set({ norm: v === 'key' ? 'key' : 'row', weighted: v === 'carried' })}
      />
      {!signed && <PalettePick store={store} palette={state.palette} />}
      {children}
    </div>
  );
  if (!narrow) return switches;
  return (
    <details class="switches">
      <summary>View, compare, save</summary>
      {compare}
      {switches}
    </details>
  );
}
