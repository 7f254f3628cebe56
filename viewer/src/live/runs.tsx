// Two runs over one text: which of them is shown, and what each is. Nothing where there is one run.
import { Choice } from '../head/controls';
import { label } from '../data/format';
import { RUNS } from '../state/seen';
import type { State, Store } from '../state/state';

/** Which of two runs is shown, and what they are. */
export function RunsChoice({ store, state }: { store: Store; state: State }) {
  const { against } = state;
  if (!against) return null;
  const [a, b] = [store.data, against.data];
  const title = (title: string, other: string): string => (title && title !== other ? label(title, 48) : '');
  const models = a.model.name !== b.model.name || a.model.file_type !== b.model.file_type;
  const what = (of: typeof a, other: typeof b): string =>
    [title(of.title, other.title), models ? `${of.model.name}, ${of.model.file_type}` : ''].filter(Boolean).join('; ');
  return (
    <div class="runs">
      <Choice
        legend="Two runs"
        value={state.runs}
        options={RUNS}
        onChange={(runs) => store.set({ runs, ...(runs === 'side' || runs === 'difference' ? { other: null } : {}) })}
      />
      <p>
        <b>A</b> {what(a, b) || 'before'} <b>B</b> {what(b, a) || 'after'}
      </p>
    </div>
  );
}
