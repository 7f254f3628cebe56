// The number under the map: of the cell under the pointer, or of the focused one; of two maps what both say there.
import { type Pair, differenceName, differenceOf } from './compare';
import { count, percent, percentSigned } from './format';
import type { Head, RowView } from './head';
import { type Asked, blockOf, inBlocks, said } from './said';
import { Token } from './token';

interface ReadoutProps {
  head: Head;
  view: RowView;
  asked: Asked;
  other: Head | null;
  otherView: RowView | null;
  pair: Pair | null;
}

function Where({ asked: { tokens, row, key } }: { asked: Asked }) {
  return (
    <span class="pair">
      {count(row)} <Token text={tokens[row]} /> <i aria-hidden="true">{'\u2192'}</i> {count(key)}{' '}
      <Token text={tokens[key]} />
    </span>
  );
}

/// The same cell of both, and what lies between.
function ReadoutPair({ head, view, asked, other, otherView, pair }: ReadoutProps & { other: Head; pair: Pair }) {
  const { row, key, weighted } = asked;
  const known = view.row === row && otherView?.row === row;
  const carries = (h: Head): number => (weighted ? (h.exact?.sizes?.[key] ?? NaN) : 1);
  const a = known ? (view.weights[key] ?? NaN) * carries(head) : NaN;
  const b = known ? (otherView.weights[key] ?? NaN) * carries(other) : NaN;
  const plain = weighted ? (v: number): string => v.toPrecision(3) : percent;
  const signed = weighted ? (v: number): string => v.toPrecision(3).replace('-', '\u2212') : percentSigned;
  return (
    <p class="readout both" id="readout">
      <Where asked={asked} />
      {known ? (
        <span class="values">
          {pair.short[0]}{' '}
          <data value={String(a)} id="cell-weight">
            {plain(a)}
          </data>{' '}
          {pair.short[1]}{' '}
          <data value={String(b)} id="cell-other">
            {plain(b)}
          </data>{' '}
          {differenceName(pair)}{' '}
          <data value={String(differenceOf(pair, a, b))} id="cell-difference">
            {signed(differenceOf(pair, a, b))}
          </data>
          {weighted && ' (weight \u00D7 size carried)'}
          {(inBlocks(head) || inBlocks(other)) && ' (means of blocks)'}
        </span>
      ) : (
        <span>{'\u2026'}</span>
      )}
    </p>
  );
}

export function Readout(props: ReadoutProps) {
  const { head, view, asked, other, pair } = props;
  if (other && pair && asked.norm === 'row') return <ReadoutPair {...props} other={other} pair={pair} />;
  const { value, text } = said(head, view, asked);
  return (
    <p class="readout" id="readout">
      {inBlocks(head) ? (
        <span class="pair">
          rows {blockOf(head, asked.row)} <i aria-hidden="true">{'\u2192'}</i> keys {blockOf(head, asked.key)}
        </span>
      ) : (
        <Where asked={asked} />
      )}
      <data value={String(value)} id="cell-weight">
        {text}
      </data>
    </p>
  );
}
