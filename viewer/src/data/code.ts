// Whether a text is a program rather than prose, read off the shape of its lines: such a text is shown in letters of
// one width, in which its columns stand under each other. A guess from counts, for the look alone.

const ENDS = /([;{}()[\],:]|=>|\*\/|\\)\s*$/; // of a line of a program
const SET_IN = /^(\t| {2,})|[;{}()=]/;
const WORDS = [
  '#include|#define|import |from \\S+ import|def |class |fn |func |function |const |let |var |return\\b',
  'if ?\\(|for ?\\(|while ?\\(|struct |template|public |private |static |//|/\\*|@\\w+|\\}|\\$ ',
];
const BEGINS = new RegExp(`^\\s*(${WORDS.join('|')})`);
const ITEM = /^\s*([-*\u2022]|\d+[.)]) /; // of a list
const SIGNS = /[{}()[\];=<>*&|!/\\_"$#]/g;
const FEWEST = 3; // lines that are not empty: of fewer nothing is said
const LOOKED_AT = 20_000; // characters

/** Whether most lines begin or end as those of programs do, and signs are frequent. */
export function looksLikeCode(text: string): boolean {
  const lines = text
    .slice(0, LOOKED_AT)
    .split('\n')
    .filter((line) => line.trim() !== '');
  if (lines.length < FEWEST) return false;
  const like = lines.filter(
    (line) => !ITEM.test(line) && (BEGINS.test(line) || (ENDS.test(line) && SET_IN.test(line))),
  );
  const letters = lines.join('').replace(/\s/g, '');
  const signs = letters.match(SIGNS)?.length ?? 0;
  return like.length >= 0.5 * lines.length && signs >= 0.05 * letters.length;
}
