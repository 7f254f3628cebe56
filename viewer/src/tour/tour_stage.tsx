// The tour's table: the tokens of the sentence, and of each what the step is about, as stripes, bars and numbers. The
// last row is what they come to together. In the step of all tokens: the map.
import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useMemo, useRef } from 'preact/hooks';
import { css, shade, table } from '../draw/colormap';
import { label, percent, quoted } from '../data/format';
import { type Lesson, type Row, figure, num, strongest } from '../data/lesson';
import { useDark } from '../state/state';
import { LOW } from '../draw/thumbs';
import type { StepName } from './tour_steps';

interface StripProps {
  values: (number | null)[];
  most: number; // the size drawn in full colour
  weight?: number; // values of little weight are drawn faint
  name: string;
}

/** A list of numbers as a strip of colours, and in words. */
function Strip({ values, most, weight = 1, name }: StripProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [dark] = useDark();
  useLayoutEffect(() => {
    const c = canvas.current!.getContext('2d')!;
    const lut = table('difference');
    values.forEach((v, i) => {
      c.fillStyle = css(shade(lut, Math.max(0, Math.min(1, 0.5 + (0.5 * (v ?? 0)) / most))));
      c.fillRect(i, 0, 1, 1);
    });
  }, [values, most, dark]);
  const known = values.filter((v): v is number => v !== null);
  return (
    <>
      <canvas
        ref={canvas}
        class="strip"
        width={values.length}
        height={1}
        aria-hidden="true"
        style={{ opacity: 0.12 + 0.88 * Math.sqrt(weight) }}
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

interface StageProps {
  lesson: Lesson;
  row: number;
  at: number; // the key that is looked at
  choose: (key: number) => void;
  ask: (row: number) => void;
  result: Row;
  own: number[]; // the weights as the model has them
  step: StepName;
}
type Column = 'hears' | 'query' | 'key' | 'score' | 'power' | 'weight' | 'value' | 'part';
const COLUMNS: Record<StepName, readonly Column[]> = {
  Sentence: ['hears'],
  Query: ['query'],
  Keys: ['key'],
  Scores: ['key', 'score'],
  Weights: ['score', 'power', 'weight'],
  Blend: ['weight', 'value', 'part'],
  'All at once': [],
  'Try it': ['score', 'weight'],
};

interface MeasureProps {
  value: number;
  text: string;
  part: number; // of the bar's length
  strong?: boolean;
  mark?: number | undefined; // a line at this part
}

/** A number and its bar. */
function Measure({ value, text, part, strong, mark }: MeasureProps) {
  const across = (x: number): string => `${100 * Math.max(0, x) || 0}%`;
  return (
    <div class="measure">
      <data class="figure" value={String(value)}>
        {text}
      </data>
      <span class="track">
        <span class={strong ? 'bar strong' : 'bar'} style={{ width: across(part) }} />
        {mark !== undefined && <span class="own" style={{ left: across(mark) }} />}
      </span>
    </div>
  );
}

/** The tokens and what the step is about. */
export function Stage(props: StageProps) {
  const { lesson, row, at, choose, result, own, step } = props;
  const most = useMemo(() => ({ q: largest(lesson.q), k: largest(lesson.k), v: largest(lesson.v) }), [lesson]);
  const d = strongest(result.blend);
  const finite = result.scores.filter(Number.isFinite);
  const low = Math.min(...finite);
  const high = Math.max(...finite);
  const columns = COLUMNS[step];
  const titles: Record<Column, ComponentChildren> = {
    hears: `For ${quoted(lesson.tokens[row]?.trim())}`,
    query: 'Query',
    key: 'Key',
    score: step === 'Try it' ? 's/T \u2212 m' : 'Score s',
    power: (
      <>
        e<sup>{result.lift ? `s \u2212 ${figure(result.lift)}` : 's'}</sup>
      </>
    ),
    weight: 'Weight p',
    value: 'Value v',
    part: `p \u00B7 v, place ${d + 1}`,
  };
  const cell = (column: Column, j: number) => {
    const s = result.scores[j]!;
    const w = result.weights[j]!;
    switch (column) {
      case 'hears':
        return j === row ? 'looks around, at itself too' : 'may be looked at';
      case 'query':
        return <Strip values={lesson.q[j]!} most={most.q} weight={j === row ? 1 : 0.02} name="Query" />;
      case 'key':
        return <Strip values={lesson.k[j]!} most={most.k} name="Key" />;
      case 'score': {
        const text = s === -Infinity ? 'masked' : figure(s);
        return <Measure value={s} text={text} part={high > low ? (s - low) / (high - low) : 0} />;
      }
      case 'power':
        return (
          <data class="figure" value={String(result.powers[j])}>
            {figure(result.powers[j]!)}
          </data>
        );
      case 'weight':
        return <Measure value={w} text={percent(w)} part={w} strong mark={step === 'Try it' ? own[j] : undefined} />;
      case 'value':
        return <Strip values={lesson.v[j]!} most={most.v} weight={w} name="Value" />;
      case 'part': {
        const part = w * num(lesson.v[j]![d]);
        return (
          <data class="figure" value={String(part)}>
            {figure(part)}
          </data>
        );
      }
    }
  };
  const together = (column: Column) => {
    switch (column) {
      case 'power':
        return <span class="figure">{figure(result.sum)}</span>;
      case 'weight':
        return <span class="figure">{percent(result.weights.reduce((a, b) => a + b, 0))}</span>;
      case 'value':
        return <Strip values={result.blend} most={most.v} name="Blend" />;
      case 'part':
        return <span class="figure">{figure(result.blend[d]!)}</span>;
      default:
        return null;
    }
  };
  const sums = step === 'Weights' || step === 'Blend' || step === 'Try it';
  if (step === 'All at once') return <Map {...props} />;
  return (
    <>
      {(step === 'Keys' || step === 'Scores') && (
        <p class="query-of reveal">
          <span class="legend">query of {quoted(lesson.tokens[row]?.trim())}</span>
          <Strip values={lesson.q[row]!} most={most.q} name="Query" />
        </p>
      )}
      <table class="stage">
        <caption class="visually-hidden">What {quoted(lesson.tokens[row])} looks at</caption>
        <thead>
          <tr>
            <th scope="col">Token</th>
            {columns.map((column) => (
              <th scope="col" key={column}>
                {titles[column]}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {lesson.tokens.map((token, j) => (
            <tr key={j} class={`${j > row ? 'later' : ''} ${j === row ? 'asking' : ''} ${j === at ? 'at' : ''}`}>
              <th scope="row" dir="auto">
                <button type="button" disabled={j > row} aria-pressed={j === at} onClick={() => choose(j)}>
                  {label(token.trim() || token, 14)}
                </button>
              </th>
              {j > row ? (
                <td colSpan={columns.length}>not yet said</td>
              ) : (
                columns.map((column) => (
                  <td key={column} class={`${column} reveal`}>
                    {cell(column, j)}
                  </td>
                ))
              )}
            </tr>
          ))}
        </tbody>
        {sums && (
          <tfoot>
            <tr>
              <th scope="row">{step === 'Blend' ? 'Blend' : 'Together'}</th>
              {columns.map((column) => (
                <td key={column} class={`${column} reveal`}>
                  {together(column)}
                </td>
              ))}
            </tr>
          </tfoot>
        )}
      </table>
    </>
  );
}

/** All weights of the sentence, a row for each token that asks: the engine's own. */
function Map({ lesson, row, at, ask, choose }: StageProps) {
  const lut = table('viridis');
  const colour = (w: number): string => css(shade(lut, w > 0 ? Math.max(0, 1 - Math.log2(w) / LOW) : 0));
  return (
    <>
      <table class="stage whole">
        <caption class="visually-hidden">
          Weight that each token, by row, gives to each token before it, by column
        </caption>
        <thead>
          <tr>
            <th scope="col">Asks</th>
            {lesson.tokens.map((token, j) => (
              <th scope="col" key={j} dir="auto">
                <span>{label(token.trim() || token, 9)}</span>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {lesson.tokens.map((token, i) => (
            <tr key={i} class={i === row ? 'asking' : ''}>
              <th scope="row" dir="auto">
                <button type="button" aria-pressed={i === row} disabled={i === 0} onClick={() => ask(i)}>
                  {label(token.trim() || token, 14)}
                </button>
              </th>
              {lesson.tokens.map((_, j) => {
                const w = lesson.weights[i]![j];
                const looked = i === row && j === at;
                return w === undefined ? (
                  <td key={j} />
                ) : (
                  <td
                    key={j}
                    class={`reveal ${looked ? 'looked' : ''}`}
                    style={{ background: colour(num(w)) }}
                    onClick={() => i > 0 && (ask(i), choose(j))}
                  >
                    <data class="visually-hidden" value={String(w)}>
                      {percent(num(w))}
                    </data>
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
      <p class="pair-said">
        Bright: much weight, dark: little. Each row is 100 %, and none in it is 0. The marked row is the one of the
        steps before.
      </p>
    </>
  );
}
