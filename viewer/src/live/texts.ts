// The texts that were run in this tab, for as long as it is open: the page begins anew with each run, and the box that
// it was typed into is to hold it still, and the text before is to be had again. A run that somebody else began is told
// by its tokens. Where a browser keeps nothing for a page the present text alone is known.
const KEPT = 'bareattn-texts';
const MOST = 20; // texts
const LONGEST = 200_000; // characters of a text that is put into a box, and kept

/** The texts before the one that is shown, oldest first, and that one; '' where it is too long for a box. */
export interface Texts {
  before: string[];
  present: string;
}

function kept(): string[] {
  try {
    const all: unknown = JSON.parse(sessionStorage.getItem(KEPT) ?? '[]');
    return Array.isArray(all) ? all.filter((text): text is string => typeof text === 'string') : [];
  } catch {
    return [];
  }
}

function keep(texts: string[]): void {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(texts.filter((text) => text.length <= LONGEST).slice(-MOST)));
  } catch {
    // Without room for it the page works all the same.
  }
}

/** What is known of the page's text, which is these tokens: as it was typed, where it was typed here. */
export function textsOf(tokens: string[], texts: string[] = kept()): Texts {
  const whole = tokens.join('');
  const last = texts.at(-1);
  // A chat template stands around what was typed.
  if (last && whole.includes(last)) return { before: texts.slice(0, -1), present: last };
  return { before: texts, present: whole.length <= LONGEST ? whole : '' };
}

/** From now on `text` is shown, after those before it. */
export const showNow = ({ before, present }: Texts, text: string): void =>
  keep([...before, ...(present ? [present] : []), text]);

/** From now on the last text before is shown again. */
export const showBefore = ({ before }: Texts): void => keep(before);
