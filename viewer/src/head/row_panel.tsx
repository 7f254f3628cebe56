// The focused row in words: the strongest keys with their weights, and the rest of the mass, for nothing is excluded.
import { useEffect, useState } from 'preact/hooks';
import { count, percent, quoted, span } from '../data/format';
import type { Head, RowKey, RowView } from '../data/head';
import { inBlocks } from './said';

interface RowPanelProps {
  head: Head;
  tokens: string[];
  view: RowView;
  keyToken: number; // the focused key
  who: string; // which head or run, where there are two
  onRow: ((row: number) => void) | null; // null: another panel has the buttons
  onKey: (key: number) => void;
}

const SHOWN = 10;

/** "the", or for a block of keys the words it begins with. */
function keyText(tokens: string[], k: RowKey): string {
  if (k.from === k.to) return quoted(tokens[k.from], 24);
  return quoted(tokens.slice(k.from, Math.min(k.to + 1, k.from + 12)).join(''), 30);
}

/** The row in one sentence. */
export function sentence(head: Head, tokens: string[], view: RowView): string {
  const top = view.top.slice(0, 3);
  const keys = top.map((k) => `${percent(k.weight)} to ${span(k.from, k.to)} ${keyText(tokens, k)}`).join(', ');
  const rest = view.total - top.reduce((sum, k) => sum + k.weight, 0);
  const blocks = inBlocks(head);
  const others = blocks ? 0 : view.row + 1 - top.length;
  const tail = others > 0 ? `, and ${count(others)} other tokens: ${percent(Math.max(0, rest))}` : '';
  const who = `row ${count(view.row)} ${quoted(tokens[view.row])}`;
  return blocks ? `${who}, mean of rows ${span(...view.rows)}, pooled: ${keys}` : `${who}: ${keys}${tail}`;
}

/** Spoken when the hand rests, not at every step of it; silent where nothing is known yet. */
export function Live({ id, text, spoken = true }: { id: string; text: string; spoken?: boolean }) {
  const [said, setSaid] = useState('');
  useEffect(() => {
    if (!text) return undefined;
    const timer = window.setTimeout(() => setSaid(text), 250);
    return () => window.clearTimeout(timer);
  }, [text]);
  return (
    <p class="visually-hidden" aria-live={spoken ? 'polite' : 'off'} id={id}>
      {said}
    </p>
  );
}

function Step({ by, row, last, onRow }: { by: 1 | -1; row: number; last: number; onRow: (row: number) => void }) {
  const to = row + by;
  return (
    <button
      type="button"
      class="quiet"
      aria-label={by < 0 ? 'Previous row' : 'Next row'}
      disabled={to < 0 || to > last}
      onClick={() => onRow(to)}
    >
      {by < 0 ? '\u2190' : '\u2192'}
    </button>
  );
}

/** The row as a list of its strongest keys, and the rest. */
export function RowPanel({ head, tokens, view, keyToken, who, onRow, onKey }: RowPanelProps) {
  const title = onRow ? 'row-title' : 'row-title-other';
  const shown = view.top.slice(0, SHOWN);
  const rest = Math.max(0, view.total - shown.reduce((sum, k) => sum + k.weight, 0));
  const covered = shown.reduce((sum, k) => sum + (k.to - k.from + 1), 0);
  const others = Math.max(0, (view.exact ? view.row : view.rows[1]) + 1 - covered);
  const widest = Math.max(...shown.map((k) => k.weight), 1e-9);
  return (
    <section class="row-panel" aria-labelledby={title}>
      <div class="row-head">
        {onRow && <Step by={-1} row={view.row} last={head.n - 1} onRow={onRow} />}
        <h2 id={title}>
          {who && <span class="who">{who} </span>}
          Row {count(view.row)} <q dir="auto">{quoted(tokens[view.row]).slice(1, -1)}</q>
          <small>{inBlocks(head) ? ` (pooled: mean of rows ${span(...view.rows)}) looks at` : ' looks at'}</small>
        </h2>
        {onRow && <Step by={1} row={view.row} last={head.n - 1} onRow={onRow} />}
      </div>
      {inBlocks(head) && view.strongest && (
        <p class="strongest">
          Its strongest single key: {count(view.strongest.from)} <bdi>{keyText(tokens, view.strongest)}</bdi>,{' '}
          {percent(view.strongest.weight)} {'\u00B1'} 3 % of that
        </p>
      )}
      <ol class="keys">
        {shown.map((k) => (
          <li key={k.from}>
            <button
              type="button"
              aria-current={keyToken >= k.from && keyToken <= k.to ? 'true' : undefined}
              onClick={() => onKey(k.from)}
            >
              <span class="bar" style={{ width: `${(100 * k.weight) / widest}%` }} />
              <span class="token" dir="auto">
                {keyText(tokens, k).slice(1, -1)}
              </span>
              <span class="at">{span(k.from, k.to)}</span>
              <data class="weight" value={String(k.weight)}>
                {percent(k.weight)}
              </data>
            </button>
          </li>
        ))}
      </ol>
      {others > 0 && (
        <p class="rest">
          and {count(others)} other token{others === 1 ? '' : 's'}: <b>{percent(rest)}</b>
        </p>
      )}
    </section>
  );
}
