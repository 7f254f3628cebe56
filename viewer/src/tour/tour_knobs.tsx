// The knobs of the tour's last step: temperature, and a span of tokens that is muted or masked.
import { Pick } from '../head/controls';
import { label, percent } from '../data/format';
import { type Lesson, NO_PLAY, type Play, type Row } from '../data/lesson';

interface KnobsProps {
  lesson: Lesson;
  row: number;
  play: Play;
  set: (play: Play) => void;
  result: Row;
}

/** What may be turned in the last step. */
export function Knobs({ lesson, row, play, set, result }: KnobsProps) {
  const names = lesson.tokens.slice(0, row + 1).map((t, i) => `${i} ${label(t)}`);
  const span = play.from <= play.to;
  const left = result.weights.slice(play.from, play.to + 1).reduce((a, b) => a + b, 0);
  const from = (i: number): void => {
    if (i === 0) set({ ...play, from: 1, to: 0 });
    else set({ ...play, from: i - 1, to: Math.max(i - 1, span ? play.to : i - 1), mute: play.mute || 3 });
  };
  return (
    <div class="knobs">
      <div class="knob">
        <span>Temperature, T</span> <b>{play.temperature.toFixed(2)}</b>
        <input
          type="range"
          min={-2}
          max={2}
          step={0.05}
          value={Math.log2(play.temperature)}
          aria-valuetext={play.temperature.toFixed(2)}
          aria-label="Temperature"
          onInput={(e) => set({ ...play, temperature: 2 ** Number(e.currentTarget.value) })}
        />
      </div>
      <div class="span">
        <Pick legend="Mute from" value={span ? play.from + 1 : 0} options={['nothing', ...names]} onChange={from} />
        {span && (
          <Pick
            legend="to"
            value={Math.min(play.to, row) - play.from}
            options={names.slice(play.from)}
            onChange={(i) => set({ ...play, to: play.from + i })}
          />
        )}
      </div>
      {span && (
        <>
          <div class="knob">
            <span>By how much, m</span> <b>{play.masked ? 'all' : play.mute.toFixed(1)}</b>
            <input
              type="range"
              min={0}
              max={12}
              step={0.1}
              value={play.mute}
              disabled={play.masked}
              aria-label="By how much"
              onInput={(e) => set({ ...play, mute: Number(e.currentTarget.value) })}
            />
          </div>
          <label class="knob mask">
            <input
              type="checkbox"
              checked={play.masked}
              onChange={(e) => set({ ...play, masked: e.currentTarget.checked })}
            />
            Mask it: take it out of the field
          </label>
          <p role="status" id="tour-left">
            {play.masked
              ? `The span is masked: exactly ${percent(left)} is left to it.`
              : `The span keeps ${percent(left)}: muted, and still in the field.`}
          </p>
        </>
      )}
      <p>The thin blue lines are the weights as the model has them.</p>
      <button type="button" class="quiet" onClick={() => set(NO_PLAY)}>
        As the model has it
      </button>
    </div>
  );
}
