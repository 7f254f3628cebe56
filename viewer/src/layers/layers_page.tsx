// Two layers, or one with itself: every head of the first (rows) with every head of the second (columns), how alike
// they are. The pairs that agree most and those that differ most are listed; a pair opens as two heads beside each
// other. The matrix itself: layers_matrix.tsx.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { css } from '../draw/colormap';
import { Choice, FIRST, Pick } from '../head/controls';
import { figureOfLayers, layersJson, layersTable } from '../draw/figure_layers';
import { errorText } from '../data/format';
import { HeadThumb } from '../grid/head_thumb';
import { Matrix } from './layers_matrix';
import { LIKES, type Like, type Likeness, type Match, likeness, ranked } from '../data/likeness';
import { origin, pairName, shades, words } from '../data/likeness_words';
import { SaveButtons, fileName, pictures, runOf } from '../save/save_buttons';
import { csvBlob, jsonBlob } from '../save/save';
import type { Source } from '../source/source';
import { type State, type Store, useDark } from '../state/state';
import { useThumbs } from '../state/use_thumbs';

function useLikeness(source: Source, [a, b]: readonly [number, number], first: boolean) {
  const [got, setGot] = useState<{ of: string; found: Likeness | null; failure: string }>();
  const of = `${a}/${b}/${first}`;
  useEffect(() => {
    let current = true;
    const done = (found: Likeness | null, failure: string): void => {
      if (current) setGot({ of, found, failure });
    };
    likeness(source, [a, b], first).then(
      (found) => done(found, ''),
      (error) => done(null, errorText(error)),
    );
    return () => {
      current = false;
    };
  }, [source, of]);
  return got?.of === of ? got : { found: null, failure: '' };
}

interface PairsProps {
  source: Source;
  title: string;
  layers: readonly [number, number];
  like: Like;
  pairs: Match[];
  open: (a: number, b: number) => void;
}

function Pairs({ source, title, layers, like, pairs, open }: PairsProps) {
  const { data } = source;
  const role = (layer: number, h: number): string => data.roles[layer * data.model.heads + h]?.name ?? '';
  return (
    <section class="row-panel pairs">
      <h2>{title}</h2>
      <ol>
        {pairs.map((m) => (
          <li key={`${m.a},${m.b}`}>
            <button type="button" class="link" onClick={() => open(m.a, m.b)}>
              {pairName(data, layers, m).join(' and ')}
            </button>
            <span>
              {role(layers[0], m.a)}, {role(layers[1], m.b)}
            </span>
            <b>{words(like, m.value)}</b>
          </li>
        ))}
      </ol>
    </section>
  );
}

function Legend({ pairs, like, state }: { pairs: Match[]; like: Like; state: State }) {
  const bar = useRef<HTMLCanvasElement>(null);
  const [dark] = useDark();
  const { low, high, of } = shades(pairs, like, state);
  useEffect(() => {
    const c = bar.current!.getContext('2d')!;
    for (let x = 0; x < 120; ++x) {
      c.fillStyle = css(of(low + (x / 119) * (high - low)));
      c.fillRect(x, 0, 1, 10);
    }
  }, [low, high, like, state.palette, dark]);
  return (
    <p class="scale-legend">
      <span>{words(like, low)}</span>
      <canvas ref={bar} width={120} height={10} aria-hidden="true" />
      <span>{words(like, high)}</span>
    </p>
  );
}

const LISTED = 5;

/** The view of two layers beside each other. */
export function LayersPage({
  store,
  state,
  layers,
}: {
  store: Store;
  state: State;
  layers: readonly [number, number];
}) {
  const { data } = store;
  const { heads } = data.model;
  const [a, b] = layers;
  const within = a === b;
  // Of two runs one at a time.
  const second = state.against !== null && state.runs === 'second';
  const source = second ? state.against! : store.source;
  const run = runOf(state);
  const { found, failure } = useLikeness(source, layers, state.first);
  const thumbs = useThumbs(source);
  const [seen, setSeen] = useState<Match | null>(null);
  const like = found && !found.values[state.like] ? 'common' : state.like;
  const pairs = useMemo(() => (found ? ranked(found, like, within) : []), [found, like, within]);
  const known = found && pairs.length ? found : null;
  const shown = known && (seen ? { ...seen, value: known.values[like]![seen.a * heads + seen.b]! } : pairs[0]!);
  const open = (r: number, c: number): void =>
    store.set({
      head: a * heads + r,
      other: b * heads + c,
      compare: 'side',
      view: null,
      layers: null,
      ...(state.against ? { runs: second ? 'second' : 'first' } : {}),
    });
  const options = Array.from({ length: data.model.layers }, (_, l) => String(l));
  const title = within ? `The heads of layer ${a}` : `Layers ${a} and ${b}`;
  const name = `${fileName(store)}-layers-${a}-${b}${run ? `-${run.toLowerCase()}` : ''}`;
  const what = 'the likenesses';
  const picture = { store, state, source, layers, found: found!, like, pairs, run };
  return (
    <div class="head-page layers" tabIndex={-1}>
      <nav class="head-bar" aria-label="Layers">
        <button type="button" class="back" onClick={() => store.set({ layers: null })}>
          {'\u2190'} All heads
        </button>
        <div class="head-name">
          <h2>
            {title}
            {run && `, run ${run}`}
          </h2>
          <p>
            How alike their heads are: every head of {within ? 'the layer with every other' : `layer ${a} (down) with`}
            {within ? '' : ` every head of layer ${b} (across)`}. Press a cell to see the two maps.
          </p>
        </div>
        <Pick legend="Layer" value={a} options={options} onChange={(l) => store.set({ layers: [l, b] })} />
        <Pick legend="with layer" value={b} options={options} onChange={(l) => store.set({ layers: [a, l] })} />
      </nav>
      <div class="toolbar">
        <Choice
          legend="Likeness"
          value={like}
          options={LIKES}
          disabled={known && !known.values.outputs ? ['outputs'] : []}
          why={
            'Known of one layer, of a run that was made with --measures agreement' +
            (state.first ? '' : ', with the first token shown')
          }
          onChange={(v) => store.set({ like: v })}
        />
        <Choice
          legend="First token"
          value={state.first ? 'shown' : 'hidden'}
          options={FIRST}
          onChange={(v) => store.set({ first: v === 'shown' })}
        />
        {known && (
          <SaveButtons
            kinds={[
              ...pictures('the matrix', name, () => figureOfLayers(picture)),
              { extension: 'csv', what, name, make: () => csvBlob(layersTable(picture)) },
              { extension: 'json', what, name, make: () => jsonBlob(layersJson(picture)) },
            ]}
          />
        )}
      </div>
      {failure && (
        <p class="failure" role="alert">
          {failure}
        </p>
      )}
      {!found && !failure && (
        <p class="waiting" role="status">
          Comparing {heads} {'\u00D7'} {heads} heads
        </p>
      )}
      {found && !known && <p class="waiting">No two heads can be compared here.</p>}
      {known && shown && (
        <div class="columns">
          <section class="panel" aria-label={title}>
            <div class="likeness-box">
              <Matrix
                {...{ store, source, layers, state, found: known, like, pairs, open }}
                onAt={setSeen}
                key={`${a}/${b}`}
              />
            </div>
            <div class="under-grid">
              <p class={known.exact || known.rows ? 'how exact' : 'how'} id="likeness-how">
                {origin(known, like, state.first)}
              </p>
              <Legend pairs={pairs} like={like} state={state} />
            </div>
          </section>
          <div class="side">
            <section class="row-panel pair-shown" aria-label="The pair">
              <p>
                <strong>{pairName(data, layers, shown).join(' and ')}</strong>: {words(like, shown.value)}
              </p>
              <div>
                <HeadThumb thumbs={thumbs} head={a * heads + shown.a} state={state} size={150} />
                <HeadThumb thumbs={thumbs} head={b * heads + shown.b} state={state} size={150} />
              </div>
            </section>
            <Pairs {...{ source, layers, like, open }} title="Most alike" pairs={pairs.slice(0, LISTED)} />
            <Pairs
              {...{ source, layers, like, open }}
              title={like === 'outputs' ? 'Against each other' : 'Least alike'}
              pairs={pairs.slice(-LISTED).reverse()}
            />
            <p class="learner">
              {like === 'outputs'
                ? 'Whether what two heads write points the same way. Below 0 one undoes what the other does: two ' +
                  'parts of one whole in contradiction.'
                : 'Heads that rest on the first token are alike by that alone: hide it to see the rest. Alike in ' +
                  'where they look is not yet alike in what they carry.'}
            </p>
          </div>
        </div>
      )}
    </div>
  );
}
