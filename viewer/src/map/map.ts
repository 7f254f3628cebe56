// The deep-zoom map of one head: two canvases (cells below, edges and cross above) and a minimap. d3-zoom turns wheel,
// pinch and drag into a transform; keys and buttons go the same way. Only what is visible is drawn or computed: pooled
// cells at once, exact ones as they are ready. Knows nothing of Preact: see map_panel.tsx for who owns it.
import { select } from 'd3-selection';
import { type ZoomTransform, zoom, zoomIdentity } from 'd3-zoom';
import type { Colours } from '../draw/colormap';
import { NOTHING, alike, drawnIn } from './drawn';
import { fly } from './flight';
import { type Gauge, rankCounts } from '../draw/gauge';
import { FIGURES_PX, type Frame, type Scene, drawScene } from './gutters';
import type { Canvases, Cell, Events, Shown, Subject } from './map_types';
import { type Whole, drawMinimap } from './minimap';
import type { Picture } from '../draw/picture';
import { type Camera, type Renderer, makeRenderer, paint } from '../draw/render';
import type { Look, Patches } from '../source/source';
import { type View, reducedMotion } from '../state/state';
import { type Patch, TILE } from '../draw/tiles';

const MAX_PX = 64; // CSS pixels a token at the deepest zoom
const MAX_EXACT_TILES = 700;
const EXACT_BELOW = 16; // tokens a pixel from which on the pooled map does, also where it is finer
const CELLS_ACROSS = 18; // where a person asks for cells; fewer where their figures would not fit

/** A map on its canvases. */
export class MapView {
  readonly renderer: Renderer;
  private frame: Frame = { width: 0, height: 0, left: 0, bottom: 0 };
  private transform: ZoomTransform = zoomIdentity;
  private readonly zooming = zoom<HTMLCanvasElement, unknown>();
  private levels: Patch[] = [];
  private exact: Patches | null = null;
  private patches: Patch[] = [];
  private colours: Colours;
  private thumb: Whole | null = null;
  private dirty = 0;
  private settle = 0;
  private animation = 0;
  private readonly observer: ResizeObserver;
  private wanted: View | null;
  private density = 0; // device pixels to one of CSS that the canvases are made for
  private silent = false; // the transform is set by us: no event
  private asked = false; // exact patches are wanted for what is in view
  private told = NOTHING;
  private under: Cell | null = null; // what was last told of the pointer
  private pointer = ''; // and where it was
  private readonly cells: HTMLCanvasElement;
  private readonly over: HTMLCanvasElement;
  private readonly mini: HTMLCanvasElement;
  private readonly picture: Picture;
  private readonly tokens: string[];
  private readonly gauge: Gauge;

  constructor(
    { cells, over, mini }: Canvases,
    { picture, tokens, gauge }: Subject,
    private shown: Shown,
    view: View | null,
    private readonly events: Events,
  ) {
    [this.cells, this.over, this.mini] = [cells, over, mini];
    [this.picture, this.tokens, this.gauge] = [picture, tokens, gauge];
    this.renderer = makeRenderer(cells, () => this.events.lost());
    this.wanted = view;
    this.colours = { ...shown, signed: picture.signed, top: 1, cdf: gauge.cdf(), version: 0 };
    this.rebuild();
    this.zooming.on('zoom', (event: { transform: ZoomTransform; sourceEvent: unknown }) => {
      this.transform = event.transform;
      if (event.sourceEvent) window.cancelAnimationFrame(this.animation);
      // At the whole map one finger scrolls the page; two zoom. Zoomed in, one finger pans.
      this.over.style.touchAction = event.transform.k > 1.01 ? 'none' : 'pan-y';
      if (!this.silent) this.events.view(this.view());
      this.redraw();
    });
    this.zooming.filter((e: Event) => {
      if (e.type === 'touchstart' && this.transform.k <= 1.01 && (e as TouchEvent).touches.length < 2) return false;
      return !(e as MouseEvent).button;
    });
    select(over).call(this.zooming);
    over.addEventListener('pointermove', this.onMove);
    over.addEventListener('pointerdown', this.onMove);
    over.addEventListener('pointerleave', this.onLeave);
    over.addEventListener('click', this.onClick);
    mini.addEventListener('pointerdown', this.onMini);
    mini.addEventListener('pointermove', this.onMini);
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(over);
    window.addEventListener('resize', this.onWindow); // to a screen of another density, with the same box
    this.resize();
  }

  dispose(): void {
    this.observer.disconnect();
    window.removeEventListener('resize', this.onWindow);
    this.gauge.remove(this);
    this.exact?.stop();
    window.cancelAnimationFrame(this.dirty);
    window.cancelAnimationFrame(this.animation);
    window.clearTimeout(this.settle);
    select(this.over).on('.zoom', null);
    this.over.removeEventListener('pointermove', this.onMove);
    this.over.removeEventListener('pointerdown', this.onMove);
    this.over.removeEventListener('pointerleave', this.onLeave);
    this.over.removeEventListener('click', this.onClick);
    this.mini.removeEventListener('pointerdown', this.onMini);
    this.mini.removeEventListener('pointermove', this.onMini);
    this.renderer.dispose();
  }

  show(shown: Shown): void {
    const before = this.shown;
    this.shown = shown;
    const { first, norm, weighted } = before;
    if (first !== shown.first || norm !== shown.norm || weighted !== shown.weighted) this.rebuild();
    else if (before.pool !== shown.pool || before.scale !== shown.scale || before.palette !== shown.palette)
      this.recolour();
    this.redraw();
  }

  // ---- levels and colours

  private rebuild(): void {
    this.exact?.stop();
    const { first, norm, weighted } = this.shown;
    const look: Look = { first, norm, weighted };
    this.levels = this.picture.levels(look);
    this.exact = this.picture.patches(look, () => this.redraw());
    this.recolour();
  }

  private get which(): 0 | 1 {
    return this.shown.pool === 'sum' ? 0 : 1;
  }

  private recolour(): void {
    this.weigh([]);
    this.adopt();
  }

  /**
   * Brings to the scale what this map has: of the exact cells in view, where there are any. A block's share says
   * little of the single weights in it.
   */
  private weigh(exact: Patch[]): boolean {
    const seen = exact.length ? exact : [this.levels[0]!];
    let top = 0;
    for (const { values } of seen)
      for (let i = this.which; i < values.length; i += 2) {
        const v = values[i]!;
        if (v >= 0) top = Math.max(top, this.picture.signed ? Math.abs(2 * v - 1) : v);
      }
    const counts = rankCounts(seen, this.which);
    return this.gauge.put(this, { top, counts, changed: () => (this.adopt(), this.redraw()) });
  }

  private adopt(): void {
    const { top } = this.gauge;
    this.colours = { ...this.colours, ...this.shown, top, cdf: this.gauge.cdf(), version: this.colours.version + 1 };
    const patch = this.levels.find((l) => l.width <= 256) ?? this.levels[0]!;
    // Blocks know no largest part of what a key receives, nor the largest of what is carried: the share stands for it.
    const { norm, weighted } = this.shown;
    const pool = norm === 'key' || weighted ? 'sum' : this.colours.pool;
    this.thumb = { image: paint(patch, { ...this.colours, pool }), patch, n: this.picture.n };
  }

  get palette(): Colours {
    return this.colours;
  }

  /** The theme has changed. */
  retheme(): void {
    if (this.picture.signed) this.recolour();
    this.redraw();
  }

  // ---- geometry

  private get plot(): { width: number; height: number; unit: number } {
    const width = Math.max(1, this.frame.width - this.frame.left);
    const height = Math.max(1, this.frame.height - this.frame.bottom);
    return { width, height, unit: Math.min(width, height) / this.picture.n };
  }

  camera(): Camera {
    const { k, x, y } = this.transform; // of the whole canvas, as the pointer is: the cells begin behind the gutter
    const scale = k * this.plot.unit;
    return { x: (this.frame.left * (1 - k) - x) / scale, y: -y / scale, scale };
  }

  view(): View | null {
    if (this.transform.k <= 1.001) return null;
    const { width, height } = this.plot;
    const camera = this.camera();
    return {
      x: camera.x + width / 2 / camera.scale,
      y: camera.y + height / 2 / camera.scale,
      span: width / camera.scale,
    };
  }

  private resize(): void {
    const box = this.over.getBoundingClientRect();
    if (!box.width || !box.height) return;
    // The observer also calls when it begins: nothing has changed, and a movement on its way must not be stopped.
    const dpr = window.devicePixelRatio || 1;
    if (box.width === this.frame.width && box.height === this.frame.height && dpr === this.density) return;
    this.density = dpr;
    const keep = this.frame.width ? this.view() : this.wanted;
    const gutter = box.width < 520 ? 62 : 96;
    this.frame = { width: box.width, height: box.height, left: gutter, bottom: gutter - 12 };
    const { width, height, unit } = this.plot;
    this.over.width = Math.round(box.width * dpr);
    this.over.height = Math.round(box.height * dpr);
    this.cells.style.left = `${gutter}px`;
    this.cells.style.width = `${width}px`;
    this.cells.style.height = `${height}px`;
    this.cells.width = Math.round(width * dpr);
    this.cells.height = Math.round(height * dpr);
    const mini = this.mini.getBoundingClientRect();
    this.mini.width = Math.round((mini.width || 1) * dpr);
    this.mini.height = this.mini.width;
    const side = unit * this.picture.n;
    this.zooming
      .extent(this.extent(width, height))
      // As wide as the box: the map stands at its left, beside the rows' names, not in the middle.
      .translateExtent(this.extent(Math.max(side, width), Math.max(side, height)))
      .scaleExtent([1, Math.max(1, MAX_PX / unit)]);
    this.go(keep, false);
    this.wanted = null;
    this.draw();
  }

  /** Moves to a view; null is the whole map. */
  go(view: View | null, animate = true): void {
    const { width, height, unit } = this.plot;
    const limit = (k: number): number => Math.max(1, Math.min(k, MAX_PX / unit));
    const k = view ? limit(width / view.span / unit) : 1;
    const scale = k * unit;
    const to = view
      ? zoomIdentity
          .translate(this.frame.left * (1 - k) + width / 2 - view.x * scale, height / 2 - view.y * scale)
          .scale(k)
      : zoomIdentity;
    window.cancelAnimationFrame(this.animation);
    if (!animate || reducedMotion() || !this.frame.width) {
      this.silent = !animate;
      this.apply(to);
      this.silent = false;
      return;
    }
    fly(
      this.transform,
      to,
      (t) => this.apply(t),
      (frame) => (this.animation = frame),
    );
  }

  /** To where another map of the same text went. */
  follow(view: View | null): void {
    const now = this.view();
    const near = (a: number, b: number): boolean => Math.abs(a - b) < 0.01;
    if (now === view || (now && view && near(now.x, view.x) && near(now.y, view.y) && near(now.span, view.span)))
      return;
    this.go(view, false);
  }

  private apply(t: ZoomTransform): void {
    const { width, height } = this.plot;
    const constrained = this.zooming.constrain()(t, this.extent(width, height), this.zooming.translateExtent());
    select(this.over).call(this.zooming.transform, constrained);
  }

  private extent(width: number, height: number): [[number, number], [number, number]] {
    const { left } = this.frame;
    return [
      [left, 0],
      [left + width, height],
    ];
  }

  zoomBy(factor: number): void {
    const { width } = this.plot;
    const camera = this.camera();
    const span = width / camera.scale / factor;
    const v = this.view() ?? { x: this.picture.n / 2, y: this.picture.n / 2, span };
    // Towards the focused cell when it is on screen.
    const { row, key } = this.shown;
    const seen = this.visible(row, key);
    const pull = seen ? 1 - 1 / factor : 0;
    this.go({ x: v.x + (key + 0.5 - v.x) * pull, y: v.y + (row + 0.5 - v.y) * pull, span });
  }

  /** To single cells around one, as many as can show their figures. */
  toCells(row: number, key: number): void {
    const across = Math.max(4, Math.min(CELLS_ACROSS, Math.floor(this.plot.width / FIGURES_PX)));
    this.go({ x: key + 0.5, y: row + 0.5, span: across });
  }

  panBy(dx: number, dy: number): void {
    const v = this.view();
    if (v) this.go({ ...v, x: v.x + dx * v.span, y: v.y + dy * v.span });
  }

  visible(row: number, key: number): boolean {
    const c = this.camera();
    const { width, height } = this.plot;
    return row >= c.y && key >= c.x && row + 1 <= c.y + height / c.scale && key + 1 <= c.x + width / c.scale;
  }

  reveal(row: number, key: number): void {
    if (this.visible(row, key)) return;
    const v = this.view();
    if (v) this.go({ ...v, x: key + 0.5, y: row + 0.5 });
  }

  /** Tokens that one step of the focus covers: what one sees as a cell. */
  get stride(): number {
    return Math.max(1, Math.round(3 / this.camera().scale));
  }

  // ---- pointer

  private cellAt(event: PointerEvent | MouseEvent): Cell | null {
    const box = this.over.getBoundingClientRect();
    const c = this.camera();
    const x = event.clientX - box.left - this.frame.left;
    const y = event.clientY - box.top;
    const row = Math.floor(c.y + y / c.scale);
    if (y < 0 || y > this.plot.height || row < 0 || row >= this.picture.n) return null;
    const key = x < 0 ? Math.min(this.shown.key, row) : Math.floor(c.x + x / c.scale);
    return key >= 0 && key <= row ? { row, key } : null;
  }

  private readonly onWindow = (): void => this.resize();
  private readonly onMove = (e: PointerEvent): void => {
    // A browser also tells of a pointer that rests, when something moves beneath it.
    const at = `${e.clientX} ${e.clientY}`;
    if (e.type === 'pointermove' && at === this.pointer) return;
    this.pointer = at;
    this.events.hover((this.under = this.cellAt(e)));
  };
  private readonly onLeave = (): void => {
    this.pointer = '';
    this.events.hover((this.under = null));
  };
  /**
   * A click comes in whole pixels, the pointer before it in parts of one, which may be another row: the focus goes to
   * the cell that was told.
   */
  private readonly onClick = (): void => {
    if (this.under) this.events.focus(this.under);
  };
  private readonly onMini = (e: PointerEvent): void => {
    if (e.type === 'pointermove' && !(e.buttons & 1)) return;
    const box = this.mini.getBoundingClientRect();
    const v = this.view();
    const at = (p: number, from: number, size: number): number => ((p - from) / size) * this.picture.n;
    const x = at(e.clientX, box.left, box.width);
    const y = at(e.clientY, box.top, box.height);
    this.go({ x, y, span: v ? v.span : this.picture.n / 6 }, e.type === 'pointerdown');
    this.events.view(this.view());
  };

  // ---- drawing

  redraw(): void {
    if (!this.dirty) this.dirty = window.requestAnimationFrame(() => this.draw());
  }

  private draw(): void {
    window.cancelAnimationFrame(this.dirty);
    this.dirty = 0;
    if (!this.frame.width) return;
    if (this.density !== (window.devicePixelRatio || 1)) return this.resize();
    const { width, height } = this.plot;
    const dpr = this.density;
    const camera = this.camera();
    const tokensPerPx = 1 / camera.scale;
    const pooled = this.levels.find((l) => l.cell >= tokensPerPx) ?? this.levels[this.levels.length - 1]!;
    this.patches = [pooled];
    this.asked = false;
    if (this.exact && tokensPerPx < Math.max(this.picture.block, EXACT_BELOW)) {
      const level = Math.max(0, Math.min(7, Math.ceil(Math.log2(tokensPerPx))));
      const tiles = ((width / camera.scale / TILE) * (height / camera.scale / TILE)) / 2;
      if (tiles <= MAX_EXACT_TILES) {
        this.asked = true;
        this.patches.push(
          ...this.exact.want(
            level,
            camera.x,
            camera.x + width / camera.scale,
            camera.y,
            camera.y + height / camera.scale,
          ),
        );
        // Once all are there, nothing pooled need show through: a block on the diagonal would, above the exact cells.
        if (!this.exact.pending && !this.exact.missing && this.patches.length > 1) this.patches.shift();
      }
    }
    this.renderer.draw(this.patches, this.deviceCamera(), this.colours);
    const context = this.over.getContext('2d')!;
    context.setTransform(dpr, 0, 0, dpr, 0, 0);
    context.clearRect(0, 0, this.frame.width, this.frame.height);
    drawScene({ ...this.scene(), context });
    if (this.thumb) drawMinimap(this.mini, this.thumb, camera, [width, height]);
    const { pending, missing } = this.coming;
    const drawn = drawnIn(this.patches, camera, this.frame, pending, missing);
    if (!alike(drawn, this.told)) this.events.drawn((this.told = drawn));
    window.clearTimeout(this.settle);
    this.settle = window.setTimeout(() => this.settled(), 120);
  }

  /** What is drawn upon and around the cells now. */
  scene(): Scene {
    const { row, key, first } = this.shown;
    const { frame, tokens, picture, colours, patches } = this;
    const context = this.over.getContext('2d')!;
    return { context, frame, camera: this.camera(), tokens, picture, colours, row, key, first, patches };
  }

  /** The same once everything that is to be exact is there, or after a while. */
  async wholeScene(): Promise<Scene> {
    for (let waited = 0; waited < 200; ++waited) {
      this.draw();
      if (!this.exact?.pending) break;
      await new Promise((done) => window.setTimeout(done, 50));
    }
    return this.scene();
  }

  private settled(): void {
    if (this.dirty) return; // patches have come: the drawing of them settles
    if (this.shown.scale !== 'log' && this.weigh(this.patches.filter((p) => p.exact))) {
      this.adopt();
      this.redraw();
      return;
    }
    this.events.settled(this.patches, this.camera(), this.frame, this.coming.pending);
  }

  /** Exact patches for what is in view that are not there. */
  private get coming(): { pending: number; missing: number } {
    return this.asked && this.exact ? this.exact : { pending: 0, missing: 0 };
  }

  private deviceCamera(): Camera {
    const c = this.camera();
    return { ...c, scale: c.scale * this.density };
  }
}
