// The small controls that several views share: a choice of a few (radio group), and a choice of many (select).
import { useId } from 'preact/hooks';
import type { Palette } from '../draw/colormap';
import type { Store } from '../state/state';

interface ChoiceProps<T extends string> {
  legend: string;
  value: T;
  options: readonly (readonly [T, string, string?])[]; // each with what it does, for those who ask
  onChange: (value: T) => void;
  disabled?: readonly T[]; // what cannot be chosen here
  why?: string; // and why
}

/** A choice of a few, all of which are seen. */
export function Choice<T extends string>({ legend, value, options, onChange, disabled, why }: ChoiceProps<T>) {
  const name = useId();
  return (
    <fieldset class="choice">
      <legend>{legend}</legend>
      <div class="options">
        {options.map(([id, text, does]) => (
          <label key={id} class={id === value ? 'on' : ''} title={disabled?.includes(id) ? why : does}>
            <input
              type="radio"
              name={name}
              value={id}
              checked={id === value}
              disabled={disabled?.includes(id) ?? false}
              onChange={() => onChange(id)}
            />
            <span>{text}</span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}

interface PickProps {
  legend: string;
  value: number;
  options: string[];
  title?: string; // what is chosen, for those who ask
  onChange: (index: number) => void;
}

/** A choice of many, one of which is seen. */
export function Pick({ legend, value, options, title, onChange }: PickProps) {
  const id = useId();
  return (
    <div class="choice" title={title}>
      <label class="legend" for={id}>
        {legend}
      </label>
      <select id={id} value={String(value)} onChange={(e) => onChange(Number(e.currentTarget.value))}>
        {options.map((text, i) => (
          <option key={text} value={String(i)}>
            {text}
          </option>
        ))}
      </select>
    </div>
  );
}

const PALETTES: readonly Palette[] = ['viridis', 'cividis', 'magma'];

/** The choice of the maps’ colours. */
export function PalettePick({ store, palette }: { store: Store; palette: Palette }) {
  return (
    <Pick
      legend="Palette"
      title="Colours of the maps; Cividis is made for eyes that tell few colours apart"
      value={PALETTES.indexOf(palette)}
      options={['Viridis', 'Cividis', 'Magma']}
      onChange={(i) => store.set({ palette: PALETTES[i] ?? 'viridis' })}
    />
  );
}

/** What may be done about the first token. */
export const FIRST = [
  ['shown', 'Shown', 'With the weight that rests on the first token'],
  ['hidden', 'Hidden', 'Without the first token, on which much weight often rests: the rest is seen better'],
] as const;
