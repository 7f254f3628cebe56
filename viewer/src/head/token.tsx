// A token's text within other text: its direction is its own, so that what stands around it keeps its order.
import { quoted } from '../data/format';

/** A token in quotes. */
export const Token = ({ text, most = 18 }: { text: string | undefined; most?: number }) => (
  <bdi>{quoted(text, most)}</bdi>
);
