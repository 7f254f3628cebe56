// The colour bar under the map: what weight a colour stands for, on the scale in use. Figures stand where their colour
// is.
import { useLayoutEffect, useRef } from 'preact/hooks';
import { type Colours, RANK_BINS, css, place, shade, table } from '../draw/colormap';
import { type State, useDark } from '../state/state';

interface ScaleLegendProps {
  state: State;
  top: number;
  signed: boolean; // a difference: two-sided
  what: string;
}

interface Tick {
  at: number; // on the bar, 0..1
  text: string; // empty: a mark alone
}

const figure = (w: number): string => `${Number((100 * w).toPrecision(3))} %`;

/** Where the bar is marked, and with what. */
export function ticks(scale: State['scale'], top: number, signed: boolean): Tick[] {
  if (!signed && scale === 'rank') return ['weakest', 'middle', 'strongest'].map((text, i) => ({ at: i / 2, text }));
  const linear = scale === 'linear';
  const weights = linear ? [top / 2, top] : [1e-4, 1e-3, 0.01, 0.1, 1];
  const named = signed ? [1e-3, 1] : [1e-4, 0.01, 1];
  const text = (w: number): string => (linear || named.includes(w) ? figure(w) : '');
  const use: Colours = {
    palette: 'viridis',
    pool: 'sum',
    scale: linear ? 'linear' : 'log',
    signed,
    top,
    cdf: new Float32Array(RANK_BINS),
    version: 0,
  };
  if (!signed)
    return [...(linear ? [{ at: 0, text: '0' }] : []), ...weights.map((w) => ({ at: place(w, use), text: text(w) }))];
  const side = (sign: number, mark: string): Tick[] =>
    weights.map((w) => ({ at: place((1 + sign * w) / 2, use), text: text(w) && mark + text(w) }));
  return [...side(-1, '\u2212').reverse(), { at: 0.5, text: '0' }, ...side(1, '+')];
}

/** The colour bar under the map. */
export function ScaleLegend({ state, top, signed, what }: ScaleLegendProps) {
  const [dark] = useDark();
  const bar = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    const c = bar.current!.getContext('2d')!;
    const lut = table(signed ? 'difference' : state.palette);
    for (let x = 0; x < 128; ++x) {
      c.fillStyle = css(shade(lut, (2 * x) / 255));
      c.fillRect(x, 0, 1, 8);
    }
  }, [state.palette, signed, dark]);
  return (
    <div class="scale">
      <canvas ref={bar} width={128} height={8} aria-hidden="true" />
      <p class="ticks">
        {ticks(state.scale, top, signed).map(({ at, text }) => (
          <span key={at} style={{ left: `${100 * at}%` }} class={at === 0 ? 'first' : at === 1 ? 'last' : ''}>
            {text}
          </span>
        ))}
      </p>
      <p class="what">{what}</p>
    </div>
  );
}
