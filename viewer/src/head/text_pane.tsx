// The running text, every token one span (textContent only), coloured by what the focused row gives to each. Kept out
// of Preact's hands: thousands of spans change colour at once, and only those whose level changed are touched.
import { useEffect, useLayoutEffect, useMemo, useRef } from 'preact/hooks';
import { bright, css } from '../draw/colormap';
import { looksLikeCode } from '../data/code';
import { beginning, count, hasReordering, isBlank, label, plural } from '../data/format';
import type { RowView } from '../data/head';
import { isDark } from '../draw/theme';

const LEVELS = 24;
// A browser lays out a paragraph as a whole: one of 100,000 tokens takes it most of a minute. So a long text stands in
// blocks that end where a line ends anyway, and those out of sight are not laid out at all.
const WHOLE = 4096; // tokens of a text that needs no blocks
const BLOCK = 256; // tokens, then at the next end of a line
const LONGEST_BLOCK = 2048; // tokens, if no line ends before

// A vocabulary from a stranger may hold a token of ten million characters, at which a browser lays out for minutes.
const LONGEST_TOKEN = 2000; // characters that are shown

/** Where the blocks of a text begin, 0 included. */
function blocks(tokens: string[]): number[] {
  const starts = [0];
  if (tokens.length <= WHOLE) return starts;
  for (let i = 1, last = 0; i < tokens.length; ++i) {
    const length = i - last;
    if (length >= LONGEST_BLOCK || (length >= BLOCK && tokens[i - 1]!.endsWith('\n'))) starts.push((last = i));
  }
  return starts;
}

/** About how high a block will be: what the scroll bar is drawn by until the block is seen. */
function height(texts: string[], width: number): string {
  const text = texts.join('');
  const perLine = Math.max(20, width / 7.2);
  const lines = text.split('\n').reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / perLine)), 0);
  return `auto ${Math.round(lines * 24)}px`;
}

const LINE = 24; // pixels

/** Scrolls so that the token is seen: by as little as may be where it is near. False: it was. */
function reveal(pane: HTMLElement, span: HTMLElement): boolean {
  const top = span.getBoundingClientRect().top - pane.getBoundingClientRect().top - pane.clientTop;
  const room = pane.clientHeight;
  if (top >= 0 && top + LINE <= room) return false;
  const before = pane.scrollTop;
  if (top < -room || top > 2 * room) pane.scrollTop += top - room / 2;
  else pane.scrollTop += top < 0 ? top - LINE : top + 2 * LINE - room;
  return pane.scrollTop !== before;
}

interface TextPaneProps {
  tokens: string[];
  row: number; // the focused row
  view: RowView | null; // whose weights colour the text; may be of a hovered row
  signed: Float32Array | null; // of a comparison: the row's differences, which then colour the text instead
  first: boolean; // the first token's weight counts
  matches: number[]; // tokens that the search found
  dark: boolean;
  onFocus: (row: number) => void;
}

/**
 * The weight that is drawn in full colour: the strongest but for the first token, on which most of the weight often
 * rests, so that the rest of the text would be blank.
 */
export function fullColour(weights: Float32Array): number {
  let top = 0;
  for (let j = 1; j < weights.length; ++j) if (Math.abs(weights[j]!) > top) top = Math.abs(weights[j]!);
  return top || Math.abs(weights[0] ?? 0);
}

const LIGHT = { none: [255, 253, 249], full: [255, 160, 40], less: [150, 120, 205] };
const DARK = { none: [21, 24, 30], full: [255, 171, 92], less: [165, 140, 225] };
const LESS = 64; // added to the level of what is less, of a difference

/** Background and text of a level: a mix, and whichever of black and white reads better on it (at least 4.5 : 1). */
function levelColours(level: number): [string, string] {
  if (!level) return ['', ''];
  const { none, full, less } = isDark() ? DARK : LIGHT;
  const to = level > LESS ? less : full;
  const t = 0.08 + (0.92 * (level % LESS)) / LEVELS;
  const mix = none.map((from, c) => Math.round(from + (to[c]! - from) * t));
  return [css(mix), bright(mix) ? '#000' : '#fff'];
}

/** The text, coloured by a row. */
export function TextPane({ tokens, row, view, signed, first, matches, dark, onFocus }: TextPaneProps) {
  const box = useRef<HTMLDivElement>(null);
  const spans = useRef<HTMLSpanElement[]>([]);
  const levels = useRef(new Uint8Array(0));
  const marked = useRef<number[]>([]);
  const focused = useRef(-1);
  const code = useMemo(() => looksLikeCode(tokens.slice(0, 5000).join('')), [tokens]);

  useLayoutEffect(() => {
    const node = box.current!;
    const fragment = document.createDocumentFragment();
    const starts = blocks(tokens);
    const all: HTMLSpanElement[] = [];
    starts.forEach((start, b) => {
      const texts = tokens.slice(start, starts[b + 1]);
      let parent: DocumentFragment | HTMLElement = fragment;
      if (starts.length > 1) {
        parent = document.createElement('div');
        parent.className = 'block';
        parent.style.containIntrinsicBlockSize = height(texts, node.clientWidth);
        fragment.append(parent);
      }
      for (const token of texts) {
        const span = document.createElement('span');
        const shown = beginning(token, LONGEST_TOKEN);
        span.textContent = shown;
        if (shown !== token) span.dataset['more'] = `\u2026 ${count(token.length - shown.length)} more characters`;
        span.dataset['i'] = String(all.length);
        // A reordering character may bend its own token, not its neighbours.
        if (hasReordering(token)) span.className = 'alone';
        if (isBlank(token)) {
          span.classList.add(/^[ \u00A0]+$/.test(token) ? 'space' : 'blank');
          span.dataset['sign'] = label(token, 8);
        }
        parent.append(span);
        all.push(span);
      }
    });
    spans.current = all;
    levels.current = new Uint8Array(tokens.length);
    node.replaceChildren(fragment);
  }, [tokens]);

  useEffect(() => {
    levels.current.fill(255); // every level's colours changed
  }, [dark]);

  useEffect(() => {
    const weights = signed ?? view?.weights;
    const top = weights ? fullColour(weights) : 0;
    for (let j = 0; j < tokens.length; ++j) {
      const w = weights && j < weights.length && (first || j > 0) ? weights[j]! : 0;
      // Square root: between the strongest key and an even share lies a factor of a hundred.
      const size = Math.abs(w);
      let level = top > 0 && size > 0 ? Math.round(Math.sqrt(Math.min(1, size / top)) * LEVELS) : 0;
      if (level && w < 0) level += LESS;
      if (levels.current[j] === level) continue;
      levels.current[j] = level;
      const [background, colour] = levelColours(level);
      const style = spans.current[j]!.style;
      style.backgroundColor = background;
      style.color = colour;
    }
  }, [view, signed, first, tokens, dark]);

  useEffect(() => {
    for (const i of marked.current) spans.current[i]?.classList.remove('found');
    for (const i of matches) spans.current[i]?.classList.add('found');
    marked.current = matches;
  }, [matches]);

  useEffect(() => {
    spans.current[focused.current]?.classList.remove('focused');
    const span = spans.current[row];
    span?.classList.add('focused');
    focused.current = row;
    if (!span) return;
    // At once, and never in a glide: the next key would come before its end. Blocks that come into sight are laid out
    // in the next frame and move the rest, so it is looked again until nothing moves any more.
    let frame = 0;
    let quiet = 0;
    const look = (): void => {
      if (!box.current) return;
      quiet = reveal(box.current, span) ? 0 : quiet + 1;
      if (quiet < 3) frame = window.requestAnimationFrame(look);
    };
    look();
    return () => window.cancelAnimationFrame(frame);
  }, [row, tokens]);

  const onKey = (e: KeyboardEvent): void => {
    if (e.altKey || e.metaKey || (e.ctrlKey && e.key.startsWith('Arrow'))) return; // the browser's own
    const moves: Record<string, number> = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    const by = e.key === 'PageDown' ? 50 : e.key === 'PageUp' ? -50 : moves[e.key];
    let next = row + (by ?? 0);
    if (e.key === 'Home') next = 0;
    else if (e.key === 'End') next = tokens.length - 1;
    else if (by === undefined) return;
    e.preventDefault();
    onFocus(Math.max(0, Math.min(tokens.length - 1, next)));
  };

  return (
    <div
      ref={box}
      class={code ? 'text code' : 'text'}
      dir="auto"
      tabIndex={0}
      role="application"
      aria-label={`The text, ${plural(tokens.length, 'token')}. Arrow keys move the row: ${row} ${label(tokens[row])}`}
      onKeyDown={onKey}
      onClick={(e) => {
        const i = (e.target as HTMLElement).dataset['i'];
        if (i !== undefined) onFocus(Number(i));
      }}
    />
  );
}
