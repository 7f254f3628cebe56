// What the tour says: the name, title and words of each step, and its formula.
import type { ComponentChildren } from 'preact';
import { I, Line, N, O, Power, RootD, Sub, SumOver, Whole } from './tour_math';

/** The steps, in their order. */
export const STEPS = ['Sentence', 'Query', 'Keys', 'Scores', 'Weights', 'Blend', 'All at once', 'Try it'] as const;
/** The name of a step. */
export type StepName = (typeof STEPS)[number];

/** What is told at a step. */
export interface Words {
  title: string;
  words: string;
}

/** `asks` and `heard` are tokens of the sentence in quotes; `width` and `dim` the model's W and D. */
export function wordsOf(step: StepName, asks: string, heard: string, width: number, dim: number): Words {
  switch (step) {
    case 'Sentence':
      return {
        title: `What does ${asks} mean here?`,
        words:
          `A token alone knows little: ${asks} has to look around, at everything before it and at itself, never ` +
          'ahead. One head of this model does it here, step by step, with its real numbers. At the end you can read ' +
          'this line:',
      };
    case 'Query':
      return {
        title: 'The query: an intention',
        words:
          `What the model knows of ${asks} so far is a list of ${width} numbers, x. Times a table that it has ` +
          `learnt, W, it becomes a list of ${dim}, the query. It is an intention: what this token is looking for.`,
      };
    case 'Keys':
      return {
        title: 'The keys: what is offered',
        words:
          `Each token, ${asks} too, makes a second list of ${dim}, its key, by another table. It is what the token ` +
          'offers to be found by. Nobody has chosen anyone yet.',
      };
    case 'Scores':
      return {
        title: 'The scores: how well they fit',
        words:
          'Intention meets offer: multiply query and key place by place, and add up. Where both have one sign the ' +
          'score grows, where they differ it falls. Divided by the root of their length it suits the next step.',
      };
    case 'Weights':
      return {
        title: 'The weights: softmax',
        words:
          'Each score becomes a power of e, which is never 0, and is divided by the sum of all. So together they are ' +
          '100 %. This is a weighting, not a spotlight: the whole field stays, some of it only counts less.',
      };
    case 'Blend':
      return {
        title: 'The blend: what is carried',
        words:
          'Each token makes a third list, its value: what it carries, if it is listened to. The values are added up, ' +
          `each times its weight. The sum is the blend: what ${asks} takes along from this head, mostly of ${heard}.`,
      };
    case 'All at once':
      return {
        title: 'Every token asks: the map',
        words:
          'What you saw is one row. Stack all queries into Q, all keys into K, all values into V, and one line does ' +
          'it for every token. Its weights are a map, a row for each who asks; this page shows it for every head.',
      };
    case 'Try it':
      return {
        title: 'Turn the knobs',
        words:
          'A high temperature T evens the weights out, a low one sharpens them. Mute a span by m: it fades, yet ' +
          'stays in the field. Only a mask takes it out, and then the others share its part.',
      };
  }
}

const scaled = (
  <mfrac>
    <mrow>
      <I>q</I>
      <O>{'\u00B7'}</O>
      <Sub of="k" at="j" />
    </mrow>
    <RootD />
  </mfrac>
);

/** What a token asks or offers: its x through a learnt table. */
const projected = (of: string, at: string, table: string) => (
  <Line>
    <Sub of={of} at={at} />
    <O>=</O>
    <Sub of="x" at={at} />
    <Sub of="W" at={table} />
  </Line>
);

/** p_j = e^above / sum e^above */
const softmax = (above: ComponentChildren, other: ComponentChildren) => (
  <Line>
    <Sub of="p" at="j" />
    <O>=</O>
    <mfrac>
      <Power>{above}</Power>
      <mrow>
        <SumOver at="i" />
        <Power>{other}</Power>
      </mrow>
    </mfrac>
  </Line>
);
const warmed = (at: string) => (
  <>
    <Sub of="s" at={at} />
    <O>/</O>
    <I>T</I>
    <O>{'\u2212'}</O>
    <Sub of="m" at={at} />
  </>
);

/** The formula of a step; `scale` is 1 over the root of `dim`, as the engine rounds it. */
export function Formula({ step, asks, dim, scale }: { step: StepName; asks: string; dim: number; scale: number }) {
  switch (step) {
    case 'Sentence':
    case 'All at once':
      return (
        <Line>
          <Whole />
        </Line>
      );
    case 'Query':
      return projected('q', asks, 'Q');
    case 'Keys':
      return projected('k', 'j', 'K');
    case 'Scores':
      return (
        <Line>
          <Sub of="s" at="j" />
          <O>=</O>
          {scaled}
          <mspace width="1.2em" />
          <RootD />
          <O>=</O>
          <msqrt>
            <mn>{dim}</mn>
          </msqrt>
          <O>=</O>
          <N x={1 / scale} />
        </Line>
      );
    case 'Weights':
      return softmax(<Sub of="s" at="j" />, <Sub of="s" at="i" />);
    case 'Blend':
      return (
        <Line>
          <Sub of="z" at={asks} />
          <O>=</O>
          <SumOver at="j" />
          <Sub of="p" at="j" />
          <Sub of="v" at="j" />
        </Line>
      );
    case 'Try it':
      return softmax(warmed('j'), warmed('i'));
  }
}
