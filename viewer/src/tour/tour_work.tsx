// The sum of a step, worked with the real numbers: of long sums the terms that count most and the others together, so
// that what is shown adds up.
import { type ComponentChildren, Fragment, type JSX } from 'preact';
import { label, percent, quoted } from '../data/format';
import { type Lesson, type Row, few, figure, num, products, strongest } from '../data/lesson';
import { I, Line, N, O, Power, Rest, Sub } from './tour_math';
import type { StepName } from './tour_steps';

interface WorkProps {
  lesson: Lesson;
  row: number;
  at: number; // the key that is looked at
  result: Row;
  step: StepName;
}

const name = (lesson: Lesson, j: number): string => label(lesson.tokens[j]?.trim() || lesson.tokens[j], 10);

/** The first numbers of a list, and its last. */
function List({ of, at, values }: { of: string; at: string; values: (number | null)[] }) {
  const shown = values.length > 4 ? values.slice(0, 3) : values;
  return (
    <Line>
      <Sub of={of} at={at} />
      <O>=</O>
      <O>(</O>
      {shown.map((x, d) => (
        <mrow key={d}>
          <N x={num(x)} />
          <mspace width="0.6em" />
        </mrow>
      ))}
      {values.length > 4 && (
        <>
          <O>{'\u2026'}</O>
          <mspace width="0.6em" />
          <N x={num(values[values.length - 1])} />
        </>
      )}
      <O>)</O>
    </Line>
  );
}

function Score({ lesson, row, at, result }: WorkProps) {
  const q = lesson.q[row]!;
  const k = lesson.k[at]!;
  const terms = products(q, k);
  const { at: places, others, rest } = few(terms, 4);
  const asks = name(lesson, row);
  const heard = name(lesson, at);
  return (
    <>
      <table class="worked">
        <caption>
          {quoted(asks)} meets {quoted(heard)}: the places that count most
        </caption>
        <thead>
          <tr>
            <th scope="col">Place</th>
            <th scope="col">Query</th>
            <th scope="col">Key</th>
            <th scope="col">Product</th>
          </tr>
        </thead>
        <tbody>
          {places.map((d) => (
            <tr key={d}>
              <th scope="row">{d + 1}</th>
              <td class="number">{figure(num(q[d]))}</td>
              <td class="number">{figure(num(k[d]))}</td>
              <td class="number">
                <data value={String(terms[d])}>{figure(terms[d]!)}</data>
              </td>
            </tr>
          ))}
          {others > 0 && (
            <tr>
              <th scope="row" colSpan={3}>
                the other {others} together
              </th>
              <td class="number">
                <data value={String(rest)}>{figure(rest)}</data>
              </td>
            </tr>
          )}
        </tbody>
        <tfoot>
          <tr>
            <th scope="row" colSpan={3}>
              Sum
            </th>
            <td class="number">
              <data id="tour-dot" value={String(result.dots[at])}>
                {figure(result.dots[at]!)}
              </data>
            </td>
          </tr>
        </tfoot>
      </table>
      <Line>
        <Sub of="s" at={heard} />
        <O>=</O>
        <mfrac>
          <N x={result.dots[at]!} />
          <msqrt>
            <mn>{q.length}</mn>
          </msqrt>
        </mfrac>
        <O>=</O>
        <mn class="outcome" id="tour-score">
          {figure(result.scores[at]!)}
        </mn>
      </Line>
    </>
  );
}

/** a + b + (others), each by its own form. */
function Terms({ values, most, of }: { values: number[]; most: number; of?: (i: number) => JSX.Element }) {
  const { at, others, rest } = few(values, most);
  return (
    <mrow>
      {at.map((i, n) => (
        <Fragment key={i}>
          {n > 0 && <O>+</O>}
          {of ? of(i) : <N x={values[i]!} />}
        </Fragment>
      ))}
      {others > 0 && (
        <>
          <O>+</O>
          <Rest x={rest} what={`${others} other${others === 1 ? '' : 's'}`} />
        </>
      )}
    </mrow>
  );
}

/** The next line of the same sum. */
const Then = ({ children }: { children: ComponentChildren }) => (
  <Line>
    <mspace width="2em" />
    <O>=</O>
    {children}
  </Line>
);

function Weight({ lesson, at, result }: WorkProps) {
  const heard = name(lesson, at);
  return (
    <>
      <Line>
        <Sub of="p" at={heard} />
        <O>=</O>
        <mfrac>
          <Power>
            <N x={result.scores[at]! - result.lift} />
          </Power>
          <mrow>
            <O>{'\u2211'}</O>
            <msup>
              <I>e</I>
              <I>s</I>
            </msup>
          </mrow>
        </mfrac>
      </Line>
      <Then>
        <mfrac>
          <N x={result.powers[at]!} />
          <Terms values={result.powers} most={3} />
        </mfrac>
      </Then>
      <Then>
        <mfrac>
          <N x={result.powers[at]!} />
          <N x={result.sum} />
        </mfrac>
        <O>=</O>
        <mtext class="outcome">{percent(result.weights[at]!)}</mtext>
      </Then>
      {result.lift !== 0 && (
        <p>The greatest score, {figure(result.lift)}, is taken from all first: that changes no weight.</p>
      )}
    </>
  );
}

function Blend({ lesson, row, result }: WorkProps) {
  const d = strongest(result.blend);
  const parts = result.weights.map((w, j) => w * num(lesson.v[j]![d]));
  return (
    <>
      <p>Place {d + 1}, where the blend is largest:</p>
      <Line>
        <Sub of="z" at={name(lesson, row)} />
        <O>=</O>
        <O>{'\u2211'}</O>
        <I>p</I>
        <I>v</I>
      </Line>
      <Then>
        <Terms
          values={parts}
          most={2}
          of={(j) => (
            <mrow>
              <N x={result.weights[j]!} />
              <O>{'\u00B7'}</O>
              <mn>{num(lesson.v[j]![d]) < 0 ? `(${figure(num(lesson.v[j]![d]))})` : figure(num(lesson.v[j]![d]))}</mn>
            </mrow>
          )}
        />
      </Then>
      <Then>
        <mn class="outcome">{figure(result.blend[d]!)}</mn>
      </Then>
    </>
  );
}

function Parts({ lesson }: WorkProps) {
  const n = lesson.tokens.length;
  const dim = lesson.q[0]!.length;
  return (
    <dl class="parts">
      <dt>Q</dt>
      <dd>
        the intentions: a row for each token ({n} {'\u00D7'} {dim})
      </dd>
      <dt>K</dt>
      <dd>what is offered: a row for each token; turned on its side by T, a column</dd>
      <dt>
        QK<sup>T</sup>
      </dt>
      <dd>
        every query with every key: all sums of products ({n} {'\u00D7'} {n})
      </dd>
      <dt>softmax</dt>
      <dd>each row to 100 %, and nothing for what is not yet said</dd>
      <dt>V</dt>
      <dd>what is carried: each row of the result is a blend of its rows</dd>
    </dl>
  );
}

/** The step worked out with its numbers. */
export function Work(props: WorkProps) {
  const { lesson, row, at, step } = props;
  if (step === 'Query' || step === 'Keys')
    return (
      <>
        <List of="q" at={name(lesson, row)} values={lesson.q[row]!} />
        {step === 'Keys' && <List of="k" at={name(lesson, at)} values={lesson.k[at]!} />}
        <p>
          A stripe is a number: orange above zero, purple below. Queries and keys are turned a little by the token's
          place in the sentence, so that near and far differ; here they are so already.
        </p>
      </>
    );
  if (step === 'Scores') return <Score {...props} />;
  if (step === 'Weights') return <Weight {...props} />;
  if (step === 'Blend') return <Blend {...props} />;
  if (step === 'All at once') return <Parts {...props} />;
  return null;
}
