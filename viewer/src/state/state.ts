// What the person has chosen, and nothing else: one plain object, its subscribers, and its twin in the URL fragment.
// A fragment comes from strangers too: every field is checked against the data before it is believed.
import { useEffect, useState } from 'preact/hooks';
import { putFragment } from './address';
import type { Palette, Pool, Scale } from '../draw/colormap';
import { type PageData, headName } from '../data/data';
import { lastSeen } from '../data/format';
import type { Like } from '../data/likeness';
import type { Source } from '../source/source';
import { STEPS } from '../tour/tour_steps';
import { chooseTheme, darkQuery, isDark } from '../draw/theme';

/** What of the map is in view. */
export interface View {
  x: number; // token at the middle, as a key
  y: number; // as a row
  span: number; // tokens across
}
/** Which of two runs is shown. */
export type Runs = 'first' | 'second' | 'side' | 'difference';
/** All that a person has chosen. */
export interface State {
  head: number | null; // null: the grid
  row: number;
  key: number; // -1: the strongest of the row
  view: View | null; // null: the whole map
  measure: number;
  order: 'layer' | 'measure';
  scale: Scale;
  pool: Pool;
  first: boolean; // the first token's weight is shown
  palette: Palette;
  role: string | null; // heads of other roles are dimmed
  find: string;
  norm: 'row' | 'key'; // parts of what a row gives, or of what a key receives
  weighted: boolean; // times the size of what a key carries
  other: number | null; // the head compared with
  compare: 'side' | 'difference';
  against: Source | null; // a second run over the same tokens; not in the address
  runs: Runs; // which of the two runs is shown; 'first' where there is one
  layers: readonly [number, number] | null; // two layers beside each other, where no head is open
  like: Like; // by what their heads are compared
  tour: number | null; // step of the tour, from 1
}

/** Holds the state, tells of changes, and writes it into the address. */
export class Store {
  private state!: State;
  private readonly listeners = new Set<(s: State) => void>();
  private timer = 0;

  readonly data: PageData;

  constructor(readonly source: Source) {
    this.data = source.data;
    this.state = this.parse(location.hash);
    window.addEventListener('hashchange', () => this.restore());
    window.addEventListener('popstate', () => this.restore());
  }

  get(): State {
    return this.state;
  }

  set(change: Partial<State>): void {
    const before = this.state;
    const next = { ...before, ...change };
    if ((Object.keys(change) as (keyof State)[]).every((k) => before[k] === next[k])) return;
    this.state = next;
    const opened = (s: State): unknown[] => [s.head, s.tour === null, s.layers === null];
    if (opened(next).some((v, i) => v !== opened(before)[i])) {
      window.clearTimeout(this.timer);
      putFragment(this.fragment(), 'push');
    } else {
      // Browsers limit how often the address may change: write it when the hand is still.
      window.clearTimeout(this.timer);
      this.timer = window.setTimeout(() => putFragment(this.fragment(), 'replace'), 250);
    }
    for (const listener of this.listeners) listener(next);
  }

  subscribe(listener: (s: State) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private restore(): void {
    window.clearTimeout(this.timer);
    this.state = this.parse(location.hash);
    for (const listener of this.listeners) listener(this.state);
  }

  defaults(): State {
    return {
      head: null,
      row: lastSeen(this.data.tokens),
      key: -1,
      view: null,
      // Of two runs first how much each head changed, where that is known: it is one measure more.
      measure: this.source.against?.data.js
        ? this.data.measures.length
        : Math.max(
            0,
            this.data.measures.findIndex((m) => m.id === 'first_mass'),
          ),
      order: 'layer',
      scale: 'log',
      pool: 'sum',
      first: true,
      palette: 'viridis',
      role: null,
      find: '',
      norm: 'row',
      weighted: this.data.value_weighted ?? false,
      other: null,
      compare: 'side',
      against: this.source.against ?? null,
      runs: this.source.against ? 'difference' : 'first',
      layers: null,
      like: 'common',
      tour: null,
    };
  }

  fragment(): string {
    const s = this.state;
    const d = this.defaults();
    const p = new URLSearchParams();
    if (s.tour !== null) p.set('tour', String(s.tour));
    if (s.head !== null) {
      p.set('head', headName(this.data, s.head));
      if (s.row !== d.row) p.set('row', String(s.row));
      if (s.key !== d.key) p.set('key', String(s.key));
      if (s.view) p.set('at', [s.view.x, s.view.y, s.view.span].map((v) => v.toFixed(2)).join(','));
    }
    if (s.head === null && s.layers) {
      p.set('layers', s.layers.join(','));
      if (s.like !== d.like) p.set('like', s.like);
    }
    if (s.measure !== d.measure) p.set('measure', (s.against?.data ?? this.data).measures[s.measure]?.id ?? '');
    for (const name of ['order', 'scale', 'pool', 'palette'] as const) if (s[name] !== d[name]) p.set(name, s[name]);
    if (!s.first) p.set('first', 'hidden');
    if (s.role) p.set('role', s.role);
    if (s.find) p.set('find', s.find);
    if (s.norm !== d.norm) p.set('norm', s.norm);
    if (s.weighted !== d.weighted) p.set('value', s.weighted ? 'weighted' : 'raw');
    if (s.against && s.runs !== d.runs) p.set('runs', s.runs);
    if (s.other !== null) p.set('with', headName(this.data, s.other));
    if (s.other !== null && s.compare !== d.compare) p.set('compare', s.compare);
    return `#${p.toString()}`;
  }

  /** The address of this view over another text: the head and how it is shown, not the tokens. */
  elsewhere(): string {
    const p = new URLSearchParams(this.fragment().slice(1));
    for (const name of ['tour', 'row', 'key', 'at', 'find', 'runs']) p.delete(name);
    return p.size ? `#${p.toString()}` : '';
  }

  private parse(hash: string): State {
    const s = this.defaults();
    const p = new URLSearchParams(hash.replace(/^#/, ''));
    const { model, run, measures, roles } = this.data;
    const inside = (v: number | undefined, limit: number): v is number => Number.isInteger(v) && v! >= 0 && v! < limit;
    const named = (name: string): number | null => {
      const [layer, head] = (p.get(name) ?? '').split('.').map(Number);
      return inside(layer, model.layers) && inside(head, model.heads) ? layer * model.heads + head : null;
    };
    s.head = named('head');
    const [a, b] = p.has('layers') ? p.get('layers')!.split(',').map(Number) : [];
    if (inside(a, model.layers) && inside(b, model.layers) && s.head === null) s.layers = [a, b];
    const row = Number(p.get('row') ?? s.row);
    if (inside(row, run.tokens)) s.row = row;
    const key = Number(p.get('key') ?? -1);
    if (inside(key, run.tokens)) s.key = Math.min(key, s.row);
    const [x, y, across] = (p.get('at') ?? '').split(',').map(Number);
    if ([x, y, across].every((v) => Number.isFinite(v)) && across! >= 1) s.view = { x: x!, y: y!, span: across! };
    const pick = <T extends string>(name: string, allowed: readonly T[], otherwise: T): T =>
      allowed.find((a) => a === p.get(name)) ?? otherwise;
    s.like = pick('like', ['common', 'js', 'outputs'], s.like);
    s.order = pick('order', ['layer', 'measure'], s.order);
    s.scale = pick('scale', ['log', 'linear', 'rank'], s.scale);
    s.pool = pick('pool', ['sum', 'max'], s.pool);
    s.palette = pick('palette', ['viridis', 'cividis', 'magma'], s.palette);
    const known = (this.state?.against ?? this.source.against)?.data.measures ?? measures;
    const measure = known.findIndex((m) => m.id === p.get('measure'));
    if (measure >= 0) s.measure = measure;
    s.first = p.get('first') !== 'hidden';
    s.role = roles.find((r) => r.name === p.get('role'))?.name ?? null;
    s.norm = pick('norm', ['row', 'key'], s.norm);
    s.weighted = pick('value', ['raw', 'weighted'], s.weighted ? 'weighted' : 'raw') === 'weighted';
    s.other = named('with');
    s.compare = pick('compare', ['side', 'difference'], s.compare);
    s.against = this.state?.against ?? s.against;
    if (s.against) s.runs = pick('runs', ['first', 'second', 'side', 'difference'], s.runs);
    const tour = Number(p.get('tour') ?? 0);
    if (this.data.lesson && inside(tour - 1, STEPS.length)) s.tour = tour;
    s.find = (p.get('find') ?? '').slice(0, 200);
    return s;
  }
}

/** The state as a hook. */
export function useStore(store: Store): State {
  const [state, setState] = useState(store.get());
  useEffect(() => {
    setState(store.get());
    return store.subscribe(setState);
  }, [store]);
  return state;
}

/** Whether the system asks for less motion. */
export const reducedMotion = (): boolean => window.matchMedia('(prefers-reduced-motion: reduce)').matches;

/** Whether a media query fits, as a hook. */
export function useMedia(query: string): boolean {
  const [fits, setFits] = useState(() => window.matchMedia(query).matches);
  useEffect(() => {
    const media = window.matchMedia(query);
    const update = (): void => setFits(media.matches);
    update();
    media.addEventListener('change', update);
    return () => media.removeEventListener('change', update);
  }, [query]);
  return fits;
}

/** Whether the theme is dark, and what turns it, as a hook. */
export function useDark(): [boolean, () => void] {
  const [dark, setDark] = useState(isDark());
  useEffect(() => {
    const update = (): void => setDark(isDark());
    darkQuery.addEventListener('change', update);
    window.addEventListener('themechange', update);
    return () => {
      darkQuery.removeEventListener('change', update);
      window.removeEventListener('themechange', update);
    };
  }, []);
  return [dark, () => chooseTheme(isDark() ? 'light' : 'dark')];
}
