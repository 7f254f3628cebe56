// Numbers, tokens and texts as people read them: percentages, labels of tokens that would not be seen or would lie, what
// is a program and what is prose, where a piece of the text stands, and which texts were run.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './load.mjs';

const format = await load('data/format.ts');
const { looksLikeCode } = await load('data/code.ts');
const { findMatches } = await load('head/search.tsx');
const { textsOf } = await load('live/texts.ts');

test('a weight is said in three figures, none as none, and what is no number as that', () => {
  const said = [0, 1e-7, 0.00123, 0.0123, 0.123, 0.9994, 0.9996, NaN].map(format.percent);
  assert.deepEqual(said, ['0 %', '< 0.001 %', '0.123 %', '1.23 %', '12.3 %', '99.9 %', '100 %', 'not a number']);
  assert.equal(format.percentSigned(-0.5), '\u221250.0 %');
});

test('a label shows what would not be seen, and is never cut within a character', () => {
  assert.equal(format.label('  '), '\u2423\u2423');
  assert.equal(format.label('\n'), '\u23CE');
  assert.equal(format.label(''), '\u22EF');
  assert.equal(format.label('a\u202Eb'), 'a\u2039U+202E\u203Ab');
  assert.equal(format.beginning('a\u{1F98A}b', 2), 'a');
  assert.equal(format.label('abcdefgh', 4), 'abc\u2026');
});

test('the last token that can be seen is not the line end of the file', () => {
  assert.equal(format.lastSeen(['The', ' cat', '.', '\n']), 2);
  assert.equal(format.lastSeen(['The', ' cat']), 1);
  assert.equal(format.lastSeen(['\n', ' ']), 1, 'where none can be seen, the last');
});

test('programs look like programs, prose, verse and lists do not', () => {
  const programs = [
    'def f(x):\n    if x > 1:\n        return f(x - 1) * x\n    return 1\n',
    '#include <cstdio>\nint main() {\n  std::printf("%d\\n", 4);\n  return 0;\n}\n',
    "const a = (x) => {\n  return [x, 'y'];\n};\nexport { a };\n",
    '{\n  "name": "a",\n  "sizes": [1, 2, 3],\n  "deep": {"b": null}\n}\n',
  ];
  const others = [
    'Alice was beginning to get very tired of sitting by her sister on the bank,\nand of having nothing to do:\nonce or twice she had peeped into the book.\n',
    'The fox\n    jumps over\n        the dog,\n    and sleeps.\n',
    '- one thing, and another;\n- a second thing (of two);\n- a third.\n',
    'x = 1',
    '',
  ];
  for (const text of programs) assert.equal(looksLikeCode(text), true, text);
  for (const text of others) assert.equal(looksLikeCode(text), false, text);
});

test('a piece of the text is found where it begins, also across tokens, whatever its case', () => {
  const tokens = ['The', ' cat', ' sat', '. The', ' cat'];
  assert.deepEqual(findMatches(tokens, 'the C'), [0, 3]);
  assert.deepEqual(findMatches(tokens, 'at s'), [1]);
  assert.deepEqual(findMatches(tokens, '  '), []);
});

test('the box holds what was typed, and what was run before is known', () => {
  const tokens = ['The', ' cat'];
  assert.deepEqual(textsOf(tokens, []), { before: [], present: 'The cat' });
  assert.deepEqual(textsOf(tokens, ['A dog', 'The cat']), { before: ['A dog'], present: 'The cat' });
  // A template stands around it.
  assert.deepEqual(textsOf(['<user>', 'The cat', '</user>'], ['The cat']), { before: [], present: 'The cat' });
  // Somebody else has run another text meanwhile.
  assert.deepEqual(textsOf(tokens, ['A dog']), { before: ['A dog'], present: 'The cat' });
});
