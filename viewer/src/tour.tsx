// The tour: one head on a short sentence, step by step from query to blend, every number real. The table grows a column
// a step; the words beside it say what the step means. Works by keyboard and without motion; each step is announced.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { css, shade, table } from './colormap';
import { Pick } from './controls';
import { label, percent, quoted } from './format';
import { type Lesson, NO_PLAY, type Play, computeRow, steps } from './lesson';
import { type State, type Store, reducedMotion } from './state';
import { Knobs } from './tour_knobs';

const PLAY_MS = 4500;

interface StripProps {
  values: (number | null)[];
  most: number; // the size drawn in full colour
  weight?: number; // values of little weight are drawn faint
  name: string;
}

/// A list of numbers as a strip of colours, and in words.
function Strip({ values, most, weight = 1, name }: StripProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    const c = canvas.current!.getContext('2d')!;
    const lut = table('difference');
    values.forEach((v, i) => {
      c.fillStyle = css(shade(lut, Math.max(0, Math.min(1, 0.5 + (0.5 * (v ?? 0)) / most))));
      c.fillRect(i, 0, 1, 1);
    });
  }, [values, most]);
  const known = values.filter((v): v is number => v !== null);
  return (
    <>
      <canvas
        ref={canvas}
        class="strip"
        width={values.length}
        height={1}
        aria-hidden="true"
        style={{ opacity: 0.15 + 0.85 * Math.sqrt(weight) }}
      />
      <span class="visually-hidden">
        {name}, {values.length} numbers from {Math.min(...known).toFixed(2)} to {Math.max(...known).toFixed(2)}
      </span>
    </>
  );
}

const largest = (rows: (number | null)[][]): number => {
  const sizes = rows.flat().map((v) => Math.abs(v ?? 0));
  sizes.sort((a, b) => a - b);
  return sizes[Math.floor(sizes.length * 0.98)] || 1; // a few outliers may saturate
};

/// The product of one place after the other, as far as a line is long.
function Products({ lesson, row, at, dot }: { lesson: Lesson; row: number; at: number; dot: number }) {
  const q = lesson.q[row]!;
  const k = lesson.k[at]!;
  const terms = [0, 1, 2].map((d) => `${(q[d] ?? NaN).toFixed(2)}\u00B7${(k[d] ?? NaN).toFixed(2)}`);
  return (
    <p class="products">
      {quoted(lesson.tokens[row]?.trim())} with {quoted(lesson.tokens[at]?.trim())}: {terms.join(' + ')} + {'\u2026'} (
      {q.length} products) = {dot.toFixed(2)}; / {'\u221A'}
      {q.length} = <b id="tour-score">{(dot / Math.sqrt(q.length)).toFixed(3)}</b>
    </p>
  );
}

export function Tour({ store, state, lesson }: { store: Store; state: State; lesson: Lesson }) {
  const step = (state.tour ?? 1) - 1;
  const [row, setRow] = useState(lesson.row);
  const [at, setAt] = useState(lesson.key);
  const [knobs, setKnobs] = useState<Play>(NO_PLAY);
  const [playing, setPlaying] = useState(false);
  const title = useRef<HTMLHeadingElement>(null);
  const all = steps(quoted(lesson.tokens[row]?.trim()), quoted(lesson.tokens[at]?.trim()));
  const here = all[Math.min(step, all.length - 1)]!;
  const play = step === all.length - 1 ? knobs : NO_PLAY;
  const result = useMemo(() => computeRow(lesson, row, play), [lesson, row, play]);
  const most = useMemo(() => ({ q: largest(lesson.q), k: largest(lesson.k), v: largest(lesson.v) }), [lesson]);
  const heaviest = result.weights.indexOf(Math.max(...result.weights));
  const low = Math.min(...result.scores.filter(Number.isFinite));
  const high = Math.max(...result.scores.filter(Number.isFinite));
  const go = (to: number): void => {
    if (to >= 0 && to < all.length) store.set({ tour: to + 1 });
  };

  useEffect(() => {
    if (!playing) return undefined;
    const timer = window.setTimeout(() => (step + 1 < all.length ? go(step + 1) : setPlaying(false)), PLAY_MS);
    return () => window.clearTimeout(timer);
  }, [playing, step]);
  useEffect(() => title.current?.focus({ preventScroll: true }), [step]);

  const onKey = (e: KeyboardEvent): void => {
    if (e.target instanceof HTMLInputElement || e.target instanceof HTMLSelectElement) return;
    if (e.key === 'ArrowRight') go(step + 1);
    else if (e.key === 'ArrowLeft') go(step - 1);
    else if (e.key === 'Escape') store.set({ tour: null });
    else return;
    e.preventDefault();
  };
  const choose = (r: number): void => {
    setRow(r);
    setAt(Math.min(at, r));
  };

  return (
    <div class="tour" onKeyDown={onKey}>
      <nav class="tour-steps" aria-label="Steps of the tour">
        <button type="button" class="back" onClick={() => store.set({ tour: null })}>
          {'\u2190'} All heads
        </button>
        <ol>
          {all.map((s, i) => (
            <li key={s.name}>
              <button type="button" aria-current={i === step ? 'step' : undefined} onClick={() => go(i)}>
                <b>{i + 1}</b> <span>{s.name}</span>
              </button>
            </li>
          ))}
        </ol>
        {!reducedMotion() && (
          <button type="button" class="quiet" aria-pressed={playing} onClick={() => setPlaying(!playing)}>
            {playing ? 'Pause' : 'Play'}
          </button>
        )}
      </nav>
      <div class="tour-body">
        <section class="panel tour-words" aria-labelledby="tour-title">
          <h2 id="tour-title" tabIndex={-1} ref={title}>
            {here.title}
          </h2>
          {here.formula && <p class="formula">{here.formula}</p>}
          <p>{here.words}</p>
          {step === 3 && <Products lesson={lesson} row={row} at={at} dot={result.dots[at] ?? NaN} />}
          {step >= 4 && (
            <p class="sum">
              Together: <b>{percent(result.weights.reduce((a, b) => a + b, 0))}</b>. Most,{' '}
              {percent(result.weights[heaviest]!)}, for {quoted(lesson.tokens[heaviest]?.trim())}; least,{' '}
              {percent(Math.min(...result.weights))}.
            </p>
          )}
          {step === all.length - 1 && <Knobs lesson={lesson} row={row} play={knobs} set={setKnobs} result={result} />}
          <div class="tour-next">
            <button type="button" class="quiet" disabled={step === 0} onClick={() => go(step - 1)}>
              Back
            </button>
            {step + 1 < all.length ? (
              <button type="button" class="primary" onClick={() => go(step + 1)}>
                Next: {all[step + 1]!.name}
              </button>
            ) : (
              <button
                type="button"
                class="primary"
                onClick={() => store.set({ tour: null, head: lesson.layer * store.data.model.heads + lesson.head })}
              >
                This head on the whole text
              </button>
            )}
          </div>
          <p class="how">
            Layer {lesson.layer}, head {lesson.head} of {store.data.model.name}, run on this sentence by the engine
          </p>
        </section>
        <section class="panel tour-stage" aria-label="The head at work">
          <div class="asks">
            <Pick
              legend="Who asks"
              value={row - 1}
              options={lesson.tokens.slice(1).map((t, i) => `${i + 1} ${label(t)}`)}
              onChange={(i) => choose(i + 1)}
            />
            {step >= 1 && (
              <span class="query reveal">
                <span class="legend">query</span>
                <Strip values={lesson.q[row]!} most={most.q} name="Query" />
              </span>
            )}
          </div>
          <table class={`stage step-${step}`}>
            <caption class="visually-hidden">What {quoted(lesson.tokens[row])} looks at</caption>
            <thead>
              <tr>
                <th scope="col">Token</th>
                {step >= 2 && <th scope="col">Key</th>}
                {step >= 3 && <th scope="col">Score</th>}
                {step >= 4 && <th scope="col">Weight</th>}
                {step >= 5 && <th scope="col">Value</th>}
              </tr>
            </thead>
            <tbody>
              {lesson.tokens.map((token, j) => {
                const later = j > row;
                const s = result.scores[j] ?? NaN;
                const w = result.weights[j] ?? 0;
                return (
                  <tr key={j} class={`${later ? 'later' : ''} ${j === row ? 'asking' : ''} ${j === at ? 'at' : ''}`}>
                    <th scope="row" dir="auto">
                      <button type="button" disabled={later} aria-pressed={j === at} onClick={() => setAt(j)}>
                        {label(token.trim() || token, 14)}
                      </button>
                    </th>
                    {later ? (
                      step >= 2 && <td colSpan={Math.min(step - 1, 4)}>not yet said</td>
                    ) : (
                      <>
                        {step >= 2 && (
                          <td class="reveal">
                            <Strip values={lesson.k[j]!} most={most.k} name="Key" />
                          </td>
                        )}
                        {step >= 3 && (
                          <td class="score reveal">
                            <span
                              class="bar"
                              style={{ width: `${high > low ? (100 * Math.max(0, s - low)) / (high - low) : 0}%` }}
                            />
                            <span class="figure">{s === -Infinity ? 'masked' : s.toFixed(2)}</span>
                          </td>
                        )}
                        {step >= 4 && (
                          <td class="score weight reveal">
                            <span class="bar" style={{ width: `${100 * w}%` }} />
                            <data class="figure" value={String(w)}>
                              {percent(w)}
                            </data>
                          </td>
                        )}
                        {step >= 5 && (
                          <td class="reveal">
                            <Strip values={lesson.v[j]!} most={most.v} weight={w} name="Value" />
                          </td>
                        )}
                      </>
                    )}
                  </tr>
                );
              })}
            </tbody>
          </table>
          {step >= 5 && (
            <p class="blend reveal">
              <span class="legend">blend: what {quoted(lesson.tokens[row]?.trim())} takes along</span>
              <Strip values={result.blend} most={most.v} name="Blend" />
            </p>
          )}
        </section>
      </div>
    </div>
  );
}
