// The server that sent this page as a source. Sections come as they are in the file but unpacked; tiles, rows and the
// description by the interface of docs/page-format.md ("Served"). Requests for what is no longer on screen are aborted.
// The only module that may ask a network, and only the origin it came from: the page's policy holds it to that.
import { ABSENT, NOT_A_NUMBER } from '../draw/colormap';
import { type PageData, checkPageData, headName, headOf, layerOf, secondData } from '../data/data';
import { floats, halfValue } from '../data/quant';
import type { Cells, Intervention, Live, Look, Patches, RunState, Source } from './source';
import { PatchStore, type Patch, type Tile, tilesInView } from '../draw/tiles';
import { AnotherRun, Silence, answered, report, settle } from '../live/trouble';

const AT_ONCE = 6; // as many as a browser lets one origin have

/** A server on the same machine that has not begun to answer after this long is silent. */
const PATIENCE_MS = 20_000;

/** What fetch says of a server that is gone; giving up is no silence. */
async function heard<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    throw error instanceof TypeError ? new Silence('the server does not answer') : error;
  }
}

/** The token of this start: in the fragment once, for the tab afterwards, never in an address again. */
function takeToken(): string | null {
  const p = new URLSearchParams(location.hash.slice(1));
  const given = p.get('token');
  if (given !== null) {
    p.delete('token');
    history.replaceState(null, '', `#${p.toString()}`);
    sessionStorage.setItem('bareattn-token', given);
  }
  return sessionStorage.getItem('bareattn-token');
}

/** An address with a new token, pasted into the open tab, changes the fragment alone: the server was started anew. */
function followToken(): void {
  window.addEventListener('hashchange', () => {
    if (!new URLSearchParams(location.hash.slice(1)).has('token')) return;
    takeToken();
    location.reload();
  });
}

class Api {
  /** The run that is shown, once it is known: a server that shows another by now refuses instead of mixing the two. */
  run = '';

  constructor(
    private readonly base: string,
    private readonly token = takeToken(),
  ) {}

  /** The same server, further down. */
  under(part: string): Api {
    return new Api(`${this.base}/${part}`, this.token);
  }

  async ask(path: string, options: RequestInit = {}): Promise<Response> {
    const late = new AbortController();
    const timer = window.setTimeout(() => late.abort(new Silence('the server does not answer')), PATIENCE_MS);
    const response = await heard(
      fetch(`${this.base}/${path}`, {
        ...options,
        signal: options.signal ? AbortSignal.any([options.signal, late.signal]) : late.signal,
        headers: {
          ...(this.token === null ? {} : { Authorization: `Bearer ${this.token}` }),
          ...options.headers,
        },
        credentials: 'same-origin',
        redirect: 'error',
      }),
    ).finally(() => window.clearTimeout(timer));
    if (response.ok) {
      answered();
      return response;
    }
    const said: unknown = await response.json().catch(() => null);
    const reason = said && typeof said === 'object' && 'error' in said ? String(said.error) : response.statusText;
    const text = `the server refused ${path}: ${response.status} ${reason}`;
    throw response.status === 410 ? new AnotherRun(text) : new Error(text);
  }

  /** A path about the run that is shown. */
  named(path: string): string {
    return this.run ? `${path}${path.includes('?') ? '&' : '?'}v=${this.run}` : path;
  }

  async bytes(path: string, size: number, signal?: AbortSignal): Promise<Uint8Array> {
    const answer = await this.ask(this.named(path), signal ? { signal } : {});
    const bytes = new Uint8Array(await heard(answer.arrayBuffer()));
    if (bytes.length !== size) throw new Error(`the server sent ${bytes.length} bytes for ${path}, not ${size}`);
    return bytes;
  }
}

/** Exact tiles, fetched nearest to the middle first. */
class ServedPatches implements Patches {
  private readonly store = new PatchStore();
  private queue: Tile[] = [];
  private readonly flying = new Map<string, AbortController>();
  private readonly refused = new Set<string>();
  missing = 0;
  private stopped = false;

  constructor(
    private readonly api: Api,
    private readonly path: string, // tile/LAYER/HEAD
    private readonly n: number,
    private readonly look: Look,
    private readonly tiles: number[], // cells a side of each level's
    private readonly onReady: () => void,
  ) {}

  get pending(): number {
    return this.queue.length + this.flying.size;
  }

  stop(): void {
    this.stopped = true;
    this.queue = [];
    for (const request of this.flying.values()) request.abort();
    this.store.clear();
  }

  want(level: number, x0: number, x1: number, y0: number, y1: number): Patch[] {
    const side = this.tiles[level];
    this.missing = 0;
    if (side === undefined) {
      this.giveUp(new Set()); // cells this wide are pooled
      return [];
    }
    const out: Patch[] = [];
    const missing: Tile[] = [];
    for (const tile of tilesInView(this.n, side << level, level, [x0, x1], [y0, y1])) {
      const there = this.store.get(tile.id);
      if (there) out.push(there);
      else if (this.refused.has(tile.id)) ++this.missing;
      else missing.push(tile);
    }
    this.giveUp(new Set(missing.map((m) => m.id)));
    this.queue = missing.sort((a, b) => a.far - b.far).filter((m) => !this.flying.has(m.id));
    this.next();
    return out;
  }

  private giveUp(wanted: Set<string>): void {
    this.queue = [];
    for (const [id, request] of this.flying) if (!wanted.has(id)) request.abort();
  }

  private next(): void {
    while (!this.stopped && this.flying.size < AT_ONCE && this.queue.length) void this.load(this.queue.shift()!);
  }

  private async load(w: Tile): Promise<void> {
    const abort = new AbortController();
    this.flying.set(w.id, abort);
    const { first, norm, weighted } = this.look;
    const parts = ['pool=both'];
    if (!first) parts.push('first=hidden');
    if (norm === 'key') parts.push('norm=key');
    if (weighted) parts.push('value=weighted');
    const query = parts.join('&');
    const side = this.tiles[w.level]!;
    try {
      const bytes = await this.api.bytes(
        `${this.path}/${w.level}/${w.tx}/${w.ty}?${query}`,
        4 * side * side,
        abort.signal,
      );
      if (!this.stopped) this.store.add(w.id, this.patch(w, side, bytes));
    } catch (error) {
      if (!abort.signal.aborted) this.refused.add(w.id); // once is enough: the pooled map stays in its place
      if (!abort.signal.aborted) report(error);
    } finally {
      this.flying.delete(w.id);
      if (!this.stopped) {
        this.next();
        this.onReady();
      }
    }
  }

  private patch(w: Tile, side: number, bytes: Uint8Array): Patch {
    const cell = 1 << w.level;
    const x = w.tx * side * cell;
    const y = w.ty * side * cell;
    const cells = side * side;
    const values = new Float32Array(2 * cells);
    const value = (plane: number, i: number): number => {
      const at = 2 * (plane * cells + i);
      const v = halfValue(bytes[at]! | (bytes[at + 1]! << 8));
      return Number.isFinite(v) ? v : NOT_A_NUMBER;
    };
    for (let r = 0; r < side; ++r) {
      for (let c = 0; c < side; ++c) {
        const i = r * side + c;
        // What lies above the diagonal, behind the text or in the hidden first column is no weight at all.
        const absent =
          x + c * cell > y + (r + 1) * cell - 1 ||
          y + r * cell >= this.n ||
          (!this.look.first && cell === 1 && x + c === 0);
        values[2 * i] = absent ? ABSENT : value(0, i);
        values[2 * i + 1] = absent ? ABSENT : value(1, i);
      }
    }
    return { x, y, cell, width: side, height: side, exact: true, values };
  }
}

class ServedCells implements Cells {
  readonly how = 'computed by the server';
  readonly can: Cells['can'];

  constructor(
    private readonly api: Api,
    private readonly path: string, // LAYER/HEAD
    private readonly n: number,
    private readonly tiles: number[],
    readonly received: Float32Array,
    readonly sizes: Float32Array | null,
  ) {
    this.can = { key: true, weighted: sizes !== null };
  }

  async row(i: number, signal: AbortSignal): Promise<Float32Array> {
    return floats(await this.api.bytes(`row/${this.path}/${i}`, 4 * (i + 1), signal), 0, i + 1);
  }

  patches(look: Look, onReady: () => void): Patches {
    return new ServedPatches(this.api, `tile/${this.path}`, this.n, look, this.tiles, onReady);
  }
}

class HttpLive implements Live {
  constructor(
    private readonly api: Api,
    private readonly page: string,
    private readonly second: () => Promise<Source>,
  ) {}

  private async post(what: object): Promise<void> {
    const body = JSON.stringify({ ...what, page: this.page });
    await this.api.ask('run', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
  }

  start(text: string): Promise<void> {
    return this.post({ text });
  }

  steer(interventions: Intervention[]): Promise<void> {
    return this.post({ steering: { format: 'bareattn-steering', version: 1, interventions }, run: this.api.run });
  }

  steered(): Promise<Source> {
    return this.second();
  }

  async state(): Promise<RunState> {
    return (await (await this.api.ask('run')).json()) as RunState;
  }

  async cancel(): Promise<void> {
    await this.api.ask('run', { method: 'DELETE' });
  }
}

/** One run of the server. */
class HttpRun implements Source {
  constructor(
    readonly data: PageData,
    protected readonly api: Api,
  ) {
    if (data.served) api.run = data.served.run;
  }

  section(name: string, size: number): Promise<Uint8Array> {
    return this.api.bytes(`section/${name}`, size);
  }

  async again(): Promise<void> {
    await this.api.ask(this.api.named('text'));
  }

  async cells(head: number): Promise<Cells | null> {
    const { data, api } = this;
    if (!data.exact.includes(head)) return null;
    const n = data.run.tokens;
    const keys = await this.section(`keys/${headName(data, head)}`, (data.has_sizes ? 8 : 4) * n);
    const sizes = data.has_sizes ? floats(keys, 4 * n, n) : null;
    const path = `${layerOf(data, head)}/${headOf(data, head)}`;
    return new ServedCells(api, path, n, data.source?.tiles ?? [], floats(keys, 0, n), sizes);
  }
}

/** The server that sent the page as a source. */
export class HttpSource extends HttpRun {
  readonly live?: Live;
  readonly against?: Source;

  private constructor(data: PageData, api: Api, against: Source | null) {
    super(data, api);
    if (against) this.against = against;
    if (!data.served) return;
    const page = Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16)).join('');
    if (data.served.live) this.live = new HttpLive(api, page, () => HttpSource.second(api, data));
    // What the server keeps for this page is freed when it goes, and what it runs for it is stopped.
    window.addEventListener('pagehide', () => {
      void api.ask('leave', { method: 'POST', body: page, keepalive: true }).catch(() => undefined);
    });
  }

  /** The run that is shown beside the first. */
  private static async second(api: Api, first: PageData): Promise<Source> {
    const beside = api.under('against');
    const data = checkPageData((await (await beside.ask('text')).json()) as PageData);
    settle(); // what failed was of the second run before this one
    return new HttpRun(secondData(first, data), beside);
  }

  /** `given`: the description that came with the page; its numbers may be left to the server. */
  static async open(given: { source: { base: string } }): Promise<HttpSource> {
    followToken();
    const api = new Api(given.source.base);
    const whole: unknown = 'tokens' in given ? given : await (await api.ask('text')).json();
    const data = checkPageData(whole as PageData);
    return new HttpSource(data, api, data.served?.against ? await HttpSource.second(api, data) : null);
  }
}
