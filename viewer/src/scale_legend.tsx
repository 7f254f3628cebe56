// The colour bar upon the map: what weight a colour stands for, on the scale in use.
import { useLayoutEffect, useRef } from 'preact/hooks';
import { LOG_FLOOR, css, shade, table } from './colormap';
import { percent } from './format';
import { type State, useDark } from './state';

interface ScaleLegendProps {
  state: State;
  top: number;
  signed: boolean; // a difference: two-sided
  what: string;
}

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
  const most = percent(state.scale === 'linear' ? top : 1);
  const ends = signed
    ? [`\u2212${most}`, '0', `+${most}`]
    : state.scale === 'log'
      ? [percent(2 ** LOG_FLOOR), percent(2 ** (LOG_FLOOR / 2)), '100 %']
      : state.scale === 'linear'
        ? ['0', percent(top / 2), percent(top)]
        : ['weak', 'middle', 'strong'];
  return (
    <div class="scale">
      <canvas ref={bar} width={128} height={8} aria-hidden="true" />
      <p>
        {ends.map((e) => (
          <span key={e}>{e}</span>
        ))}
      </p>
      <p class="what">{what}</p>
    </div>
  );
}
