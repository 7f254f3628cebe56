// The map as a table: the strongest cells of what is in view, for those who read rather than look.
import { ABSENT, NOT_A_NUMBER, type Pool } from '../draw/colormap';
import { percentSigned, span } from '../data/format';
import { type Frame, cellsInView } from '../map/gutters';
import type { Camera } from '../draw/render';
import type { Patch } from '../draw/tiles';
import { Token } from './token';

/** One cell of the map as a line of its table. */
export interface CellRow {
  row: number;
  key: number;
  cell: number; // tokens a side
  value: number;
  exact: boolean;
}

/** The strongest cells in view: of the exact patches where there are any, otherwise of the pooled ones. */
export function strongestCells(
  patches: Patch[],
  camera: Camera,
  frame: Frame,
  pool: Pool,
  signed = false,
  most = 20,
): CellRow[] {
  const exact = patches.filter((p) => p.exact);
  const which = pool === 'sum' ? 0 : 1;
  const best: CellRow[] = [];
  for (const p of exact.length ? exact : patches) {
    const { r0, r1, c0, c1 } = cellsInView(p, camera, frame);
    for (let r = r0; r < r1; ++r) {
      for (let c = c0; c < c1; ++c) {
        const v = p.values[2 * (r * p.width + c) + which]!;
        if (v === ABSENT) continue;
        const known = signed ? 2 * v - 1 : v;
        const value = v === NOT_A_NUMBER ? Infinity : known; // what is not a number is first to be told
        const size = Math.abs(value);
        if (best.length === most && size <= Math.abs(best[most - 1]!.value)) continue;
        let at = best.length;
        while (at > 0 && Math.abs(best[at - 1]!.value) < size) --at;
        best.splice(at, 0, { row: p.y + r * p.cell, key: p.x + c * p.cell, cell: p.cell, value, exact: p.exact });
        if (best.length > most) best.pop();
      }
    }
  }
  return best;
}

interface CellsTableProps {
  of: string; // which map, where there are two
  cells: CellRow[];
  tokens: string[];
  what: string; // what the figures are
  onFocus: (row: number, key: number) => void;
}

/** The strongest cells in view as a table. */
export function CellsTable({ of, cells, tokens, what, onFocus }: CellsTableProps) {
  const last = tokens.length - 1;
  const name = (from: number, size: number) => {
    const to = Math.min(last, from + size - 1);
    return (
      <>
        {span(from, to)} <Token text={tokens.slice(from, Math.min(to + 1, from + 6)).join('')} most={22} />
      </>
    );
  };
  return (
    <table>
      <caption>
        {of && `${of}: `}The {cells.length} strongest cells in view, {cells[0]?.exact ? 'exact' : 'pooled'}
        {(cells[0]?.cell ?? 1) > 1 ? `, ${cells[0]!.cell} tokens a side` : ''}
      </caption>
      <thead>
        <tr>
          <th scope="col">Looks (row)</th>
          <th scope="col">Looked at (key)</th>
          <th scope="col">{what}</th>
        </tr>
      </thead>
      <tbody>
        {cells.map((c) => (
          <tr key={`${c.row}/${c.key}`}>
            <th scope="row">
              <button type="button" class="link" onClick={() => onFocus(c.row, c.key)}>
                {name(c.row, c.cell)}
              </button>
            </th>
            <td>{name(c.key, c.cell)}</td>
            <td class="number">{c.value === Infinity ? 'not a number' : percentSigned(c.value)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
