// Finds a token or any piece of the text, also where it spans tokens, and moves the looking row there.
import { count } from '../data/format';
import { STRONGEST, focusOn } from '../state/focus';
import type { Store } from '../state/state';

const MOST = 5000;

/** Tokens in which a match begins. Case is ignored. */
export function findMatches(tokens: string[], query: string): number[] {
  const needle = query.toLowerCase();
  if (!needle.trim()) return [];
  const starts: number[] = [];
  let text = '';
  for (const token of tokens) {
    starts.push(text.length);
    text += token.toLowerCase();
  }
  const out: number[] = [];
  let i = 0;
  for (let at = text.indexOf(needle); at >= 0 && out.length < MOST; at = text.indexOf(needle, at + 1)) {
    while (i + 1 < starts.length && starts[i + 1]! <= at) ++i;
    if (out[out.length - 1] !== i) out.push(i);
  }
  return out;
}

interface SearchProps {
  store: Store;
  find: string;
  matches: number[];
  row: number;
}

/** The field that finds a piece of the text. */
export function Search({ store, find, matches, row }: SearchProps) {
  const at = matches.indexOf(row);
  const all = `${count(matches.length)}${matches.length >= MOST ? '+' : ''}`;
  const go = (by: 1 | -1): void => {
    if (!matches.length) return;
    const next =
      by > 0 ? (matches.find((m) => m > row) ?? matches[0]!) : (matches.findLast((m) => m < row) ?? matches.at(-1)!);
    focusOn(store, next, STRONGEST);
  };
  return (
    <form
      class="search"
      role="search"
      onSubmit={(e) => {
        e.preventDefault();
        go(1);
      }}
    >
      <input
        type="search"
        aria-label="Find in the text"
        placeholder="Find in the text"
        value={find}
        onInput={(e) => store.set({ find: e.currentTarget.value })}
      />
      <button type="button" class="quiet" aria-label="Previous match" disabled={!matches.length} onClick={() => go(-1)}>
        {'\u2191'}
      </button>
      <button type="submit" class="quiet" aria-label="Next match" disabled={!matches.length}>
        {'\u2193'}
      </button>
      <span class="found-count" role="status">
        {!find.trim() ? '' : at >= 0 ? `${count(at + 1)} of ${all}` : `${all} found`}
      </span>
    </form>
  );
}
