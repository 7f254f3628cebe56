// The tour: one head on a short sentence, step by step from query to blend, every number real. The words of a step
// stand beside its formula, the formula beside its numbers. By keyboard the focus stays where it is and the new step
// is spoken; only Play moves by itself, and not where the system asks for less motion.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { Pick } from '../head/controls';
import { headName } from '../data/data';
import { label, percent, quoted } from '../data/format';
import { type Lesson, NO_PLAY, type Play, computeRow, figure } from '../data/lesson';
import { type State, type Store, reducedMotion } from '../state/state';
import { Knobs } from './tour_knobs';
import { Stage } from './tour_stage';
import { Formula, STEPS, wordsOf } from './tour_steps';
import { Work } from './tour_work';

const READ_MS = 9000; // for the words of a step
const KEY_MS = 1200; // for one key meeting the query

const inField = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement && /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName);

/** Where the tour ends: in the view that it was opened from. */
function cameFrom({ data }: Store, { head, layers }: State): string {
  if (head !== null) return `Head ${headName(data, head)}`;
  if (!layers) return 'All heads';
  const [a, b] = layers;
  return a === b ? `Layer ${a}` : `Layers ${a} and ${b}`;
}

/** Goes on by itself: from step to step, and through the keys where each meets the query. */
function usePlay(step: number, at: number, row: number, go: (to: number) => void, setAt: (key: number) => void) {
  const [playing, setPlaying] = useState(false);
  const [met, setMet] = useState(-1); // the last key that has met the query
  const meets = STEPS[step] === 'Scores' && met < row;
  useEffect(() => {
    if (!playing) return undefined;
    const next = (): void => {
      if (meets) {
        setMet(met + 1);
        setAt(met + 1);
      } else if (step + 1 < STEPS.length) {
        setMet(-1);
        go(step + 1);
      } else setPlaying(false);
    };
    const timer = window.setTimeout(next, meets && met >= 0 ? KEY_MS : READ_MS);
    return () => window.clearTimeout(timer);
  }, [playing, step, at, meets, met]);
  return { playing, setPlaying };
}

/** The tour. */
export function Tour({ store, state, lesson }: { store: Store; state: State; lesson: Lesson }) {
  const step = Math.min((state.tour ?? 1) - 1, STEPS.length - 1);
  const here = STEPS[step]!;
  const [row, setRow] = useState(lesson.row);
  const [at, setAt] = useState(lesson.key);
  const [knobs, setKnobs] = useState<Play>(NO_PLAY);
  const title = useRef<HTMLHeadingElement>(null);
  const name = (j: number): string => lesson.tokens[j]!.trim() || lesson.tokens[j]!;
  const own = useMemo(() => computeRow(lesson, row, NO_PLAY), [lesson, row]);
  const turned = useMemo(() => computeRow(lesson, row, knobs), [lesson, row, knobs]);
  const result = here === 'Try it' ? turned : own;
  const heaviest = own.weights.indexOf(Math.max(...own.weights));
  const dim = lesson.q[0]!.length;
  const told = wordsOf(here, quoted(name(row)), quoted(name(Math.max(heaviest, 0))), lesson.width, dim);
  const go = (to: number): void => {
    if (to >= 0 && to < STEPS.length) store.set({ tour: to + 1 });
  };
  const { playing, setPlaying } = usePlay(step, at, row, go, setAt);
  const turn = (to: number): void => {
    setPlaying(false);
    go(to);
  };
  const ask = (r: number): void => {
    setRow(r);
    setAt(Math.min(at, r));
  };

  useEffect(() => title.current?.focus({ preventScroll: true }), []);
  useEffect(() => {
    const onKey = (e: KeyboardEvent): void => {
      if (inField(e.target) || e.altKey || e.ctrlKey || e.metaKey) return;
      if (e.key === 'ArrowRight') turn(step + 1);
      else if (e.key === 'ArrowLeft') turn(step - 1);
      else if (e.key === 'Escape') store.set({ tour: null });
      else return;
      e.preventDefault();
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, [step]);

  const last = step + 1 === STEPS.length;
  const pair =
    here === 'Scores'
      ? `${quoted(name(row))} with ${quoted(name(at))}: ${figure(own.scores[at]!)}.`
      : here === 'Weights' || here === 'Blend'
        ? `Most, ${percent(own.weights[heaviest]!)}, for ${quoted(name(heaviest))}; least, ` +
          `${percent(Math.min(...own.weights))}.`
        : '';
  return (
    <div class="tour">
      <nav class="tour-steps" aria-label="Steps of the tour">
        <button type="button" class="back" onClick={() => store.set({ tour: null })}>
          {'\u2190'} {cameFrom(store, state)}
        </button>
        <ol>
          {STEPS.map((s, i) => (
            <li key={s}>
              <button type="button" aria-current={i === step ? 'step' : undefined} onClick={() => turn(i)}>
                <b>{i + 1}</b> <span>{s}</span>
              </button>
            </li>
          ))}
        </ol>
        <div class="tour-next">
          <button type="button" class="quiet" aria-disabled={step === 0} onClick={() => turn(step - 1)}>
            Back
          </button>
          {!reducedMotion() && (
            <button type="button" class="quiet" aria-pressed={playing} onClick={() => setPlaying(!playing)}>
              {playing ? 'Pause' : 'Play'}
            </button>
          )}
          <button type="button" class="primary" onClick={() => turn(last ? 0 : step + 1)}>
            {last ? 'From the beginning' : `Next: ${STEPS[step + 1]}`}
          </button>
        </div>
      </nav>
      <p role="status" class="visually-hidden" id="tour-said">
        Step {step + 1} of {STEPS.length}. {told.title}. {told.words} {pair}
      </p>
      <div class="tour-body">
        <section class="panel tour-words" aria-labelledby="tour-title">
          <h2 id="tour-title" tabIndex={-1} ref={title}>
            {told.title}
          </h2>
          <p>{told.words}</p>
          <div class="formula">
            <Formula step={here} asks={label(name(row), 10)} dim={dim} scale={lesson.scale} />
          </div>
        </section>
        <section class="panel tour-stage" aria-label="The head at work">
          <Pick
            legend="Who asks"
            value={row - 1}
            options={lesson.tokens.slice(1).map((t, i) => `${i + 1} ${label(t)}`)}
            onChange={(i) => ask(i + 1)}
          />
          {here === 'Sentence' && (
            <p class="sentence" dir="auto">
              {lesson.tokens.map((token, j) => (
                <span key={j} class={j === row ? 'asks' : j > row ? 'later' : ''}>
                  {label(token, 40)}
                </span>
              ))}
            </p>
          )}
          <Stage {...{ lesson, row, at, ask, result }} choose={setAt} own={own.weights} step={here} />
          {pair && <p class="pair-said">{pair}</p>}
        </section>
        {here !== 'Sentence' && (
          <section class="panel tour-work" aria-label="With the numbers">
            <Work {...{ lesson, row, at, result }} step={here} />
            {last && <Knobs lesson={lesson} row={row} play={knobs} set={setKnobs} result={result} />}
          </section>
        )}
        <div class="tour-foot">
          {(here === 'All at once' || last) && (
            <button
              type="button"
              class="quiet"
              onClick={() => {
                const head = lesson.layer * store.data.model.heads + lesson.head;
                store.set({ tour: null, head, layers: null });
              }}
            >
              This head on the whole text
            </button>
          )}
          <p class="how">
            Layer {lesson.layer}, head {lesson.head} of {store.data.model.name}, run on this sentence by the engine: its
            own numbers, rounded only to be shown
          </p>
        </div>
      </div>
    </div>
  );
}
