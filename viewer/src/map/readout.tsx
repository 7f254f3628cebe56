// The number under the map: of the cell under the pointer, or of the focused one; of two maps what both say there.
import { type Pair, differenceName, differenceOf } from '../head/compare';
import { count } from '../data/format';
import type { Head, RowView } from '../data/head';
import { type Asked, blockOf, cellValue, inBlocks, inBoth, said } from '../head/said';
import { Token } from '../head/token';

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

/** The same cell of both, and what lies between. */
function ReadoutPair({ head, view, asked, other, otherView, pair }: ReadoutProps & { other: Head; pair: Pair }) {
  const { as, unit, plain, signed } = inBoth(head, other, asked);
  const a = cellValue(head, view, asked, as);
  const b = cellValue(other, otherView, asked, as);
  return (
    <p class="readout both" id="readout">
      <Where asked={asked} />
      {a !== null && b !== null ? (
        <span class="values">
          {pair.beside[0]}:{' '}
          <data value={String(a)} id="cell-weight">
            {plain(a)}
          </data>
          ; {pair.beside[1]}:{' '}
          <data value={String(b)} id="cell-other">
            {plain(b)}
          </data>
          ; {pair.kind === 'runs' ? differenceName(pair) : 'difference'}:{' '}
          <data value={String(differenceOf(pair, a, b))} id="cell-difference">
            {signed(differenceOf(pair, a, b))}
          </data>
          {unit}
        </span>
      ) : (
        <span>{'\u2026'}</span>
      )}
    </p>
  );
}

/** The number under the map. */
export function Readout(props: ReadoutProps) {
  const { head, view, asked, other, pair } = props;
  if (other && pair) return <ReadoutPair {...props} other={other} pair={pair} />;
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
