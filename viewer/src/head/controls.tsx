// The small controls that several views share: a choice of a few (radio group), and a choice of many (select).
import { useId } from 'preact/hooks';
import type { Palette } from '../draw/colormap';
import type { Store } from '../state/state';

interface ChoiceProps<T extends string> {
  legend: string;
  value: T;
  options: readonly (readonly [T, string])[];
  onChange: (value: T) => void;
  disabled?: readonly T[]; // what cannot be chosen here
  why?: string; // and why
}

export function Choice<T extends string>({ legend, value, options, onChange, disabled, why }: ChoiceProps<T>) {
  const name = useId();
  return (
    <fieldset class="choice">
      <legend>{legend}</legend>
      <div class="options">
        {options.map(([id, text]) => (
          <label key={id} class={id === value ? 'on' : ''} title={disabled?.includes(id) ? why : undefined}>
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
  onChange: (index: number) => void;
}

export function Pick({ legend, value, options, onChange }: PickProps) {
  const id = useId();
  return (
    <div class="choice">
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

export function PalettePick({ store, palette }: { store: Store; palette: Palette }) {
  return (
    <Pick
      legend="Palette"
      value={PALETTES.indexOf(palette)}
      options={['Viridis', 'Cividis', 'Magma']}
      onChange={(i) => store.set({ palette: PALETTES[i] ?? 'viridis' })}
    />
  );
}

export const FIRST = [
  ['shown', 'Shown'],
  ['hidden', 'Hidden'],
] as const;
