// Moves the focused row and key, kept inside the text and the triangle.
import type { Store } from './state';

/** In place of a key: the strongest of the row. */
export const STRONGEST = -1;

/** Moves the focus. */
export function focusOn(store: Store, row: number, key: number): void {
  const last = store.data.run.tokens - 1;
  const r = Math.max(0, Math.min(last, row));
  store.set({ row: r, key: key === STRONGEST ? STRONGEST : Math.max(0, Math.min(r, key)) });
}
