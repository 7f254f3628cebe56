// Formulas of the tour, typeset by the browser (MathML): small pieces that steps and worked numbers are made of. Names
// of tokens come from the sentence and go in as text.
import type { ComponentChildren } from 'preact';
import { figure } from '../data/lesson';

type Children = { children: ComponentChildren };

/** A line of its own. */
export const Line = ({ children }: Children) => (
  <div class="math">
    <math display="block">{children}</math>
  </div>
);

/** A name in a formula. */
export const I = ({ children }: Children) => <mi>{children}</mi>;
/** A sign in a formula. */
export const O = ({ children }: Children) => <mo>{children}</mo>;
/** A number in a formula. */
export const N = ({ x }: { x: number }) => <mn>{figure(x)}</mn>;

/** A name with a small one under it: q of "it". */
export const Sub = ({ of, at }: { of: string; at: string }) => (
  <msub>
    <mi>{of}</mi>
    {at.length === 1 ? <mi>{at}</mi> : <mtext>{at}</mtext>}
  </msub>
);
/** e to the power of what it holds. */
export const Power = ({ children }: Children) => (
  <msup>
    <mi>e</mi>
    <mrow>{children}</mrow>
  </msup>
);
/** The sum over all that may be heard. */
export const SumOver = ({ at }: { at: string }) => (
  <munder>
    <mo>{'\u2211'}</mo>
    <mi>{at}</mi>
  </munder>
);
/** The square root of D. */
export const RootD = () => (
  <msqrt>
    <mi>D</mi>
  </msqrt>
);

/** A number that stands for several, with what they are under a brace. */
export const Rest = ({ x, what }: { x: number; what: string }) => (
  <munder>
    <munder>
      <mn>{x < 0 ? `(${figure(x)})` : figure(x)}</mn>
      <mo>{'\u23DF'}</mo>
    </munder>
    <mtext>{what}</mtext>
  </munder>
);

/** softmax(Q K^T / sqrt(D)) V */
export const Whole = () => (
  <mrow>
    <mi>softmax</mi>
    <mrow>
      <mo>(</mo>
      <mfrac>
        <mrow>
          <mi>Q</mi>
          <msup>
            <mi>K</mi>
            <mi mathvariant="normal">T</mi>
          </msup>
        </mrow>
        <RootD />
      </mfrac>
      <mo>)</mo>
    </mrow>
    <mi>V</mi>
  </mrow>
);
