// The first view: all heads at once, how to read them, the most telling ones, and the text itself.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { css, table } from '../draw/colormap';
import { Choice, FIRST, PalettePick, Pick } from '../head/controls';
import { headName, headOf, layerOf } from '../data/data';
import { count, plain, value } from '../data/format';
import { Grid } from './grid';
import { SaveHeads } from '../save/save_buttons';
import { RunsChoice } from '../live/runs';
import { seen } from '../state/seen';
import { type State, type Store, useDark, useStore } from '../state/state';
import { type Thumbs, drawTile, loadThumbs, places, thumbDifference, thumbImage, tint } from '../draw/thumbs';
import { report } from '../live/trouble';

function MeasureLegend({ store, state }: { store: Store; state: State }) {
  const bar = useRef<HTMLCanvasElement>(null);
  const [dark] = useDark();
  const { measure, values, signed } = seen(store, state);
  const { low, high } = places(values, signed);
  useLayoutEffect(() => {
    const c = bar.current?.getContext('2d');
    if (!c) return;
    for (let x = 0; x < 120; ++x) {
      c.fillStyle = css(tint(x / 119, dark, signed));
      c.fillRect(x, 0, 1, 10);
    }
  }, [dark, signed, low]);
  if (Number.isNaN(low)) return <p class="scale-legend">{measure.title}: no head has a number</p>;
  return (
    <p class="scale-legend">
      <span>{value(low, measure.unit)}</span>
      <canvas ref={bar} width={120} height={10} aria-hidden="true" />
      <span>{value(high, measure.unit)}</span>
    </p>
  );
}

function Roles({ store, state }: { store: Store; state: State }) {
  const { roles } = seen(store, state).data;
  const counts = useMemo(() => {
    const out = new Map<string, number>();
    for (const role of roles) out.set(role.name, (out.get(role.name) ?? 0) + 1);
    return [...out].sort((a, b) => b[1] - a[1]);
  }, [roles]);
  return (
    <div class="roles" role="group" aria-label="Show heads of one role">
      {counts.map(([name, n]) => (
        <button
          type="button"
          key={name}
          class="chip"
          title={state.role === name ? 'Shows all heads again' : 'Dims all heads but those of this role'}
          aria-pressed={state.role === name}
          onClick={() => store.set({ role: state.role === name ? null : name })}
        >
          <b aria-hidden="true">{name === 'mixed' ? '\u00B7' : name[0]?.toUpperCase()}</b> {name} <span>{n}</span>
        </button>
      ))}
    </div>
  );
}

function Telling({ store, state }: { store: Store; state: State }) {
  const shown = seen(store, state);
  const { data, source, before } = shown;
  const [thumbs, setThumbs] = useState<{ now: Thumbs; before: Thumbs | null } | null>(null);
  useEffect(() => {
    let current = true;
    setThumbs(null);
    Promise.all([loadThumbs(source), before && loadThumbs(before)]).then(
      ([now, earlier]) => current && setThumbs({ now, before: earlier }),
      (e: unknown) => current && report(e),
    );
    return () => {
      current = false;
    };
  }, [source, before]);
  // Of two runs those that changed most.
  const { js } = data;
  const why = (head: number) => shown.highlights.get(head);
  const telling = js && before ? [...data.telling].sort((a, b) => (js[b] ?? 1) - (js[a] ?? 1)) : data.telling;
  return (
    <section class="telling" aria-labelledby="telling-title">
      <h2 id="telling-title">{js && before ? 'The heads that changed most' : 'The most telling heads'}</h2>
      <ul>
        {telling.slice(0, 6).map((head) => (
          <li key={head}>
            <button type="button" class="card" onClick={() => store.set({ head, view: null })}>
              <BigThumb thumbs={thumbs} head={head} state={state} store={store} />
              <strong>
                Layer {layerOf(data, head)}, head {headOf(data, head)}
              </strong>
              <span class="role">
                {data.roles[head]?.name}
                {why(head) && ` \u00B7 ${why(head)!.title.toLowerCase()}`}
              </span>
              <span class="evidence">{plain(why(head)?.evidence ?? data.roles[head]?.evidence ?? '')}</span>
              <span class="how">{data.exact.includes(head) ? 'exact to the cell' : 'pooled'}</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

interface BigThumbProps {
  thumbs: { now: Thumbs; before: Thumbs | null } | null;
  head: number;
  state: State;
  store: Store;
}

function BigThumb({ thumbs, head, state, store }: BigThumbProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [dark] = useDark();
  useLayoutEffect(() => {
    const node = canvas.current!;
    const size = 160;
    const dpr = window.devicePixelRatio || 1;
    node.width = node.height = size * dpr;
    const c = node.getContext('2d')!;
    c.scale(dpr, dpr);
    const { values, signed } = seen(store, state);
    const { at } = places(values, signed);
    const image =
      thumbs &&
      (thumbs.before
        ? thumbDifference(thumbs.before, thumbs.now, head, state.first)
        : thumbImage(thumbs.now, head, state.palette, state.first));
    const colour = tint(at[head] ?? NaN, dark, signed);
    drawTile(c, { head, x: 0, y: 0, size, tint: colour, badge: '', dot: false, dim: false }, image);
  }, [thumbs, head, state.palette, state.first, state.measure, state.runs, state.against, dark, store]);
  return <canvas ref={canvas} class="big-thumb" aria-hidden="true" />;
}

function MapLegend({ state, differ }: { state: State; differ: boolean }) {
  const [dark] = useDark();
  const bar = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    const c = bar.current!.getContext('2d')!;
    const lut = table(differ ? 'difference' : state.palette);
    for (let x = 0; x < 120; ++x) {
      const i = 4 * Math.round((x / 119) * 255);
      c.fillStyle = css([lut[i]!, lut[i + 1]!, lut[i + 2]!]);
      c.fillRect(x, 0, 1, 10);
    }
  }, [state.palette, differ, dark]);
  return (
    <p class="scale-legend">
      <span>{differ ? '\u2212100 %' : '0.2 %'}</span>
      <canvas ref={bar} width={120} height={10} aria-hidden="true" />
      <span>{differ ? '+100 %' : '100 %'} of a row’s weight</span>
    </p>
  );
}

/** What stands on the squares beside map and colour. */
function Marks({ store, state }: { store: Store; state: State }) {
  const { data, highlights } = seen(store, state);
  const { block } = data.pool;
  const exact = data.exact.length;
  const all = exact === data.means.length;
  const pooled = block > 1 ? `pooled ${block} \u00D7 ${block}` : 'pooled';
  return (
    <p class="marks">
      <span>The letter: its role.</span>
      {exact > 0 && !all && (
        <span>
          <i class="dot" aria-hidden="true" /> exact: each cell from Q and K. Without: {pooled}.
        </span>
      )}
      {all && <span>All are exact: each cell from Q and K.</span>}
      {!exact && <span>All are {pooled}.</span>}
      {highlights.size > 0 && (
        <span>
          <span class="word" aria-hidden="true">
            word
          </span>{' '}
          worth a look first; the line above says why.
        </span>
      )}
    </p>
  );
}

interface ToldProps {
  store: Store;
  state: State;
  head: number;
  hidden?: boolean; // only for the room that it takes
}

/** The line of the head under the pointer. */
function Told({ store, state, head, hidden = false }: ToldProps) {
  const { data, measure, values, signed, highlights } = seen(store, state);
  const why = highlights.get(head);
  return (
    <p class={hidden ? 'longest' : 'told'} aria-hidden={hidden ? 'true' : undefined}>
      <strong>{headName(data, head)}</strong> {data.roles[head]?.name}: {data.roles[head]?.evidence}.{' '}
      {signed ? 'Change of ' : ''}
      {measure.title} <b>{value(values[head], measure.unit)}</b>
      {why && (
        <>
          . <b>{why.title}</b>: {plain(why.evidence)}.
        </>
      )}
      {data.recipe_roles && <span class="recipe-role"> Tested by recipes: {data.recipe_roles[head]?.name}</span>}
    </p>
  );
}

interface OverviewProps {
  store: Store;
  back: number | null; // the head that was left for the grid
}

/** The first view. */
export function Overview({ store, back }: OverviewProps) {
  const state = useStore(store);
  const { data, measures, measure, signed, before, highlights } = seen(store, state);
  const [hover, setHover] = useState<number | null>(null);
  const shown = hover ?? data.telling[0] ?? 0;
  const longest = useMemo(() => {
    const lengths = data.means.map((_, h) => {
      const why = highlights.get(h);
      return (data.roles[h]?.evidence.length ?? 0) + (why ? why.title.length + why.evidence.length : 0);
    });
    return lengths.indexOf(lengths.reduce((most, length) => Math.max(most, length), 0));
  }, [data, before]);
  const exact = data.exact.length;
  const all = data.means.length;
  const { block } = data.pool;
  return (
    <div class="overview">
      <section aria-labelledby="grid-title" class="panel">
        <div class="panel-head">
          <h2 id="grid-title">All {count(all)} heads</h2>
          <p class="read">
            Each square is one head. <b>Lower left</b>: its map, every row a token that looks, every column a token
            looked at{before ? '; orange where B gives more than A, purple where less' : ''}. <b>Upper right</b>:{' '}
            {signed ? `change from A to B of: ${measure.description}` : measure.description}
          </p>
        </div>
        <RunsChoice store={store} state={state} />
        <div class="toolbar">
          <Pick
            legend="Colour by"
            title={measure.description}
            value={measures.indexOf(measure)}
            options={measures.map((m) => m.title)}
            onChange={(i) => store.set({ measure: i })}
          />
          {!before && <PalettePick store={store} palette={state.palette} />}
          <Choice
            legend="Order"
            value={state.order}
            options={[
              ['layer', 'By layer', 'Layers and heads as the model has them'],
              ['measure', 'By measure', 'All heads from the highest measure to the lowest'],
            ]}
            onChange={(order) => store.set({ order })}
          />
          <Choice
            legend="First token"
            value={state.first ? 'shown' : 'hidden'}
            options={FIRST}
            onChange={(v) => store.set({ first: v === 'shown' })}
          />
          <SaveHeads store={store} state={state} />
          <button
            type="button"
            class="quiet"
            onClick={() => store.set({ layers: [layerOf(data, shown), layerOf(data, shown)] })}
          >
            Compare layers
          </button>
        </div>
        <Roles store={store} state={state} />
        <div>
          <Grid store={store} state={state} back={back} onHover={setHover} />
          <div class="hovered">
            <Told store={store} state={state} head={shown} />
            <Told store={store} state={state} head={longest} hidden />
          </div>
        </div>
        <div class="under-grid">
          <Marks store={store} state={state} />
          <div class="legends">
            <MapLegend state={state} differ={before !== null} />
            <MeasureLegend store={store} state={state} />
          </div>
        </div>
      </section>
      <Telling store={store} state={state} />
      <section class="panel prose" aria-labelledby="about-title">
        <h2 id="about-title">What one sees</h2>
        <p>
          Attention is a weighting, not a spotlight: every token keeps some weight.{' '}
          {before
            ? 'Here the two runs are subtracted: orange cells have more weight in B than in A, purple ones less, and ' +
              'where nothing changed there is none. What one row gains somewhere it loses elsewhere, for each row ' +
              'adds up to the same: an orange first column is a head that rests on the first token more than before, ' +
              'an orange or purple stripe a token that many others look at more, or less.'
            : 'Bright cells carry more of it, dark ones less, and none is left out. A bright first column is a head ' +
              'that rests on the first token; a bright diagonal looks at the token itself or the one before; stripes ' +
              'down the map are tokens that many others look at.'}
        </p>
        {data.model.warnings.map((warning) => (
          <p key={warning} class="warning">
            The model file: {warning}
          </p>
        ))}
        <p>
          {exact === all
            ? `All ${count(all)} heads are exact: the page holds Q, K and log-sum-exp of each and recomputes any cell.`
            : exact === 0
              ? `No head is exact here: every map is pooled ${block} \u00D7 ${block}: sums and maxima of blocks.`
              : `${count(exact)} of ${count(all)} heads ${exact === 1 ? 'is' : 'are'} exact: the page holds ` +
                `${exact === 1 ? 'its' : 'their'} Q, K and log-sum-exp and ` +
                `recomputes any cell. The others are pooled ${block} \u00D7 ${block}: sums and maxima of blocks.`}{' '}
          Nothing here asks a network for anything. Open a head by its square, for instance{' '}
          <button type="button" class="link" onClick={() => store.set({ head: data.telling[0] ?? 0, view: null })}>
            {headName(data, data.telling[0] ?? 0)}
          </button>
          .
        </p>
        {!data.lesson && (
          <p class="no-tour">
            There is a guided tour of one head, from query to blend with the numbers of this model, on pages that know
            the model that made the run:{' '}
            {data.source ? (
              <code>bareattn serve RUN -m MODEL.gguf</code>
            ) : (
              <>
                <code>bareattn page RUN -m MODEL.gguf</code>, or in a notebook{' '}
                <code>bareattn.show(trace, model="MODEL.gguf")</code>
              </>
            )}
            .
          </p>
        )}
      </section>
    </div>
  );
}
