// Steering a live run: sliders that change the weighting, after which the server runs the same text once more and the
// page shows both runs and what lies between. The heads are all, the layer's or the one that was shown when they were
// chosen; the span is any piece of the text. What was set can be saved as a steering file for the command line. Where
// the server was given a B there is no steering: that place is taken.
import { useEffect, useRef, useState } from 'preact/hooks';
import { Choice } from '../head/controls';
import { headName, layerOf } from '../data/data';
import { count, quoted, span as range } from '../data/format';
import { Progress } from './live';
import { useRunning } from './running';
import { download, jsonBlob } from '../save/save';
import { findMatches } from '../head/search';
import type { Intervention, Live } from '../source/source';
import type { State, Store } from '../state/state';

const WAIT_MS = 350; // after the last movement of a slider

interface Knobs {
  heads: string; // as in a steering file: "*", "3.*", "3.1"
  temperature: number; // log2
  words: string; // the span, as it stands in the text; empty: the focused key
  key: number | null; // the key that was focused when the span's weights were last changed
  factor: number; // log2 of what the weights on the span are multiplied by; the least mutes it
  blend: number; // what the heads write, times this
}
const NEUTRAL: Knobs = { heads: '*', temperature: 0, words: '', key: null, factor: 0, blend: 1 };
const MUTED = -6;
const CLOSED = [
  ['layer', 'One layer', ''],
  ['head', 'One head', ''],
] as const; // heads to choose where none is open

/** Tokens of the first place where the words stand: those that any letter of it lies in. */
function spanOf(tokens: string[], words: string): [number, number] | null {
  const found = findMatches(tokens, words);
  if (!found.length) return null;
  let end = found[0]! + 1;
  for (let text = ''; end <= tokens.length; ++end) {
    text = tokens.slice(found[0], end).join('');
    if (text.toLowerCase().includes(words.toLowerCase())) break;
  }
  return [found[0]!, Math.min(end, tokens.length)];
}

const headsSaid = (heads: string): string =>
  heads === '*' ? 'All' : heads.endsWith('.*') ? `Layer ${parseInt(heads)}` : `Head ${heads}`;

const headsSteered = (heads: string): string =>
  heads === '*'
    ? 'every head of the model'
    : heads.endsWith('.*')
      ? `all heads of layer ${parseInt(heads)}`
      : `head ${heads} alone`;

function interventions(knobs: Knobs, span: [number, number] | null): Intervention[] {
  const heads = [knobs.heads];
  const out: Intervention[] = [];
  if (knobs.temperature !== 0) out.push({ kind: 'temperature', heads, value: 2 ** knobs.temperature });
  if (span && knobs.factor <= MUTED) out.push({ kind: 'knockout', heads, keys: [span] });
  else if (span && knobs.factor !== 0) out.push({ kind: 'boost', heads, keys: [span], value: 2 ** knobs.factor });
  if (knobs.blend !== 1) out.push({ kind: 'scale', heads, value: knobs.blend });
  return out;
}

interface KnobProps {
  id: string;
  name: string;
  value: number;
  least: number;
  most: number;
  step: number;
  said: string;
  disabled?: boolean;
  onInput: (value: number) => void;
}

function Knob({ id, name, value, least, most, step, said, disabled = false, onInput }: KnobProps) {
  return (
    <div class="knob">
      <label for={id}>{name}</label>
      <input
        id={id}
        type="range"
        min={least}
        max={most}
        step={step}
        value={value}
        disabled={disabled}
        aria-valuetext={said}
        onInput={(e) => onInput(Number(e.currentTarget.value))}
      />
      <output for={id}>{said}</output>
    </div>
  );
}

const times = (x: number): string => `\u00D7 ${x >= 10 ? x.toFixed(0) : x >= 1 ? x.toFixed(1) : x.toFixed(2)}`;

interface SteerProps {
  store: Store;
  state: State;
  live: Live;
  focusedKey: number | null; // none in the grid, and while a head is being read
}

/** The sliders. */
export function SteerPanel({ store, state, live, focusedKey }: SteerProps) {
  const { data } = store;
  const [knobs, setKnobs] = useState<Knobs>(NEUTRAL);
  const { state: run, failure, running, busy, start, stop } = useRunning(live);
  const timer = useRef(0);
  const wanted = useRef<Knobs | null>(null); // moved while a run is on its way
  const turn = useRef(0); // whose result is waited for; an older one is unwanted
  const { head } = state;
  const offered = head === null ? ['*'] : ['*', `${layerOf(data, head)}.*`, headName(data, head)];
  if (!offered.includes(knobs.heads)) offered.push(knobs.heads); // chosen elsewhere, and still what runs
  const spanFor = (k: Knobs): [number, number] | null => {
    if (k.words) return spanOf(data.tokens, k.words);
    const key = k.factor === 0 ? (focusedKey ?? k.key) : (k.key ?? focusedKey);
    return key === null ? null : [key, key + 1];
  };
  const span = spanFor(knobs);

  const halt = (): void => {
    window.clearTimeout(timer.current);
    wanted.current = null;
    if (busy()) stop();
  };
  /** Nothing is steered any more, whatever is on its way. */
  const undo = (): void => {
    halt();
    ++turn.current;
    store.set({ against: null, runs: 'first' });
  };
  const go = (k: Knobs): void => {
    const all = interventions(k, spanFor(k));
    wanted.current = null;
    if (!all.length) {
      undo();
      return;
    }
    if (busy()) {
      wanted.current = k;
      return;
    }
    const mine = ++turn.current;
    start(
      () => live.steer(all),
      async () => {
        const against = await live.steered();
        if (mine !== turn.current) return;
        const { runs } = store.get();
        store.set({ against, runs: runs === 'first' ? 'difference' : runs, other: null });
      },
    );
  };
  const set = (change: Partial<Knobs>): void => {
    const next = { ...knobs, ...change };
    // What was run stays what is said, wherever the focus goes afterwards.
    if ('factor' in change || 'words' in change) next.key = next.words ? null : (focusedKey ?? knobs.key);
    setKnobs(next);
    window.clearTimeout(timer.current);
    timer.current = window.setTimeout(() => go(next), WAIT_MS);
  };
  useEffect(() => () => window.clearTimeout(timer.current), []);
  useEffect(() => {
    if (!running && wanted.current) go(wanted.current);
  }, [running]);

  const changed = interventions(knobs, span);
  return (
    <details class="live steer" hidden={state.tour !== null}>
      <summary>Steer: change the weighting and see what follows</summary>
      <p class="learner">
        The sliders change how scores become weights; the model then runs the same text again. A is the run as it was, B
        the steered one. Nothing leaves the field unless it is muted.
      </p>
      <div class="steer-knobs">
        <Choice
          legend="Heads"
          value={knobs.heads}
          options={[
            ...offered.map((h) => [h, headsSaid(h), `Steers ${headsSteered(h)}`] as const),
            ...(head === null ? CLOSED : []),
          ]}
          disabled={CLOSED.map(([id]) => id)}
          why="Open a head first"
          onChange={(heads) => set({ heads })}
        />
        <Knob
          id="steer-temperature"
          name="Temperature"
          value={knobs.temperature}
          least={-3}
          most={3}
          step={0.25}
          said={knobs.temperature === 0 ? 'as it is' : `${(2 ** knobs.temperature).toFixed(2)}`}
          onInput={(temperature) => set({ temperature })}
        />
        <div class="knob">
          <label for="steer-words">Span</label>
          <input
            id="steer-words"
            type="text"
            dir="auto"
            autocomplete="off"
            spellcheck={false}
            placeholder={
              focusedKey === null ? 'words of the text' : `the focused key, ${quoted(data.tokens[focusedKey])}`
            }
            value={knobs.words}
            onInput={(e) => set({ words: e.currentTarget.value })}
          />
          <output for="steer-words">
            {span
              ? `token${span[1] - span[0] > 1 ? 's' : ''} ${range(span[0], span[1] - 1)}`
              : knobs.words
                ? 'not in the text'
                : 'type words, or open a head'}
          </output>
        </div>
        <Knob
          id="steer-factor"
          name="Weights on the span"
          value={knobs.factor}
          disabled={span === null}
          least={MUTED}
          most={6}
          step={0.25}
          said={
            span === null
              ? 'no span'
              : knobs.factor <= MUTED
                ? 'muted'
                : knobs.factor === 0
                  ? 'as they are'
                  : times(2 ** knobs.factor)
          }
          onInput={(factor) => set({ factor })}
        />
        <Knob
          id="steer-blend"
          name="What the heads write"
          value={knobs.blend}
          least={0}
          most={2}
          step={0.25}
          said={knobs.blend === 0 ? 'muted' : knobs.blend === 1 ? 'as it is' : times(knobs.blend)}
          onInput={(blend) => set({ blend })}
        />
      </div>
      <div class="live-bar">
        <button type="button" class="quiet" disabled={running || !changed.length} onClick={() => go(knobs)}>
          Run it
        </button>
        {running && (
          <button type="button" class="quiet" onClick={halt}>
            Stop
          </button>
        )}
        <button
          type="button"
          class="quiet"
          onClick={() => {
            setKnobs(NEUTRAL);
            undo();
          }}
        >
          As it was
        </button>
        <button
          type="button"
          class="quiet"
          disabled={!changed.length}
          onClick={() =>
            download('steering.json', jsonBlob({ format: 'bareattn-steering', version: 1, interventions: changed }))
          }
        >
          Save as a steering file
        </button>
      </div>
      {running && run && <Progress state={run} />}
      <p role="status" class="live-said">
        {failure
          ? `It was not run: ${failure}`
          : running
            ? 'Running.'
            : run && !changed.length
              ? state.against
                ? ''
                : 'As it was.'
              : run?.state === 'cancelled'
                ? 'Stopped.'
                : run?.state === 'done'
                  ? `Steered: ${count(changed.length)} change${changed.length === 1 ? '' : 's'}.`
                  : ''}
      </p>
    </details>
  );
}
