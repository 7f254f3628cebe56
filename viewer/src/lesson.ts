// The arithmetic of the tour: one head on one short sentence, in the open. Scores, weights and the blend of a row, with
// a temperature and a muted span. With temperature 1 and nothing muted the weights are the engine's own.
export interface Lesson {
  tokens: string[]; // [n]
  layer: number;
  head: number;
  row: number; // who asks
  key: number; // who is heard
  q: (number | null)[][]; // [n][D]
  k: (number | null)[][];
  v: (number | null)[][];
  weights: number[][]; // [n][i + 1], the engine's
}

export interface Play {
  temperature: number; // scores are divided by it
  from: number; // muted tokens [from, to]; from > to: none
  to: number;
  mute: number; // taken from their scores
  masked: boolean; // not muted but taken away: a score of minus infinity
}
export const NO_PLAY: Play = { temperature: 1, from: 1, to: 0, mute: 0, masked: false };

export interface Row {
  dots: number[]; // q . k_j
  scores: number[]; // q . k_j / sqrt(D), by temperature and muting
  powers: number[]; // exp(score - greatest)
  weights: number[];
  blend: number[]; // [D]
}

const num = (x: number | null | undefined): number => x ?? NaN;

export function computeRow(lesson: Lesson, row: number, play: Play): Row {
  const q = lesson.q[row]!;
  const root = Math.sqrt(q.length);
  const dots = lesson.k.slice(0, row + 1).map((k) => k.reduce<number>((sum, x, d) => sum + num(x) * num(q[d]), 0));
  const scores = dots.map((dot, j) => {
    const muted = j >= play.from && j <= play.to;
    if (muted && play.masked) return -Infinity;
    return dot / root / play.temperature - (muted ? play.mute : 0);
  });
  const top = Math.max(...scores);
  const powers = scores.map((s) => (top === -Infinity ? 0 : Math.exp(s - top)));
  const sum = powers.reduce((a, b) => a + b, 0);
  const weights = powers.map((p) => (sum > 0 ? p / sum : 0));
  const blend = q.map((_, d) => weights.reduce((total, w, j) => total + w * num(lesson.v[j]![d]), 0));
  return { dots, scores, powers, weights, blend };
}

export interface Step {
  name: string;
  title: string;
  formula: string;
  words: string;
}

/// `it` asks, `cat` is heard: the names of the lesson's own tokens stand in for them.
export function steps(asks: string, heard: string): Step[] {
  return [
    {
      name: 'Sentence',
      title: `What does ${asks} mean here?`,
      formula: '',
      words:
        `A token alone knows little. ${asks} has to look around. One attention head lets it look at itself and at ` +
        'everything before it, never ahead. What follows is one real head of this model, with its real numbers.',
    },
    {
      name: 'Query',
      title: 'The query: an intention',
      formula: 'q = x W_Q',
      words:
        `From its own state ${asks} makes a list of numbers, its query. It is an intention: what this token is ` +
        'looking for. Orange is above zero, purple below.',
    },
    {
      name: 'Keys',
      title: 'The keys: what is offered',
      formula: 'k = x W_K',
      words:
        'Every token before makes a list of the same length, its key: what it offers to be found by. Nobody has ' +
        'chosen anyone yet.',
    },
    {
      name: 'Scores',
      title: 'The scores: how well intention and offer fit',
      formula: 's = q \u00B7 k / \u221AD',
      words:
        'Multiply the two lists place by place and add up: where both agree in sign the score grows, where they ' +
        `disagree it falls. Divided by \u221AD it stays in a range that the next step can use. ${heard} fits well.`,
    },
    {
      name: 'Weights',
      title: 'The weights: softmax',
      formula: 'p = e^s / \u03A3 e^s',
      words:
        'Each score becomes a power of e, and each power is divided by the sum of all. So every weight is above ' +
        'zero and together they are 100 %. This is a weighting, not a spotlight: the field stays whole, some of it ' +
        'only counts less.',
    },
    {
      name: 'Blend',
      title: 'The blend: what is carried',
      formula: 'z = \u03A3 p v\nall rows at once: softmax(QK\u1D40/\u221AD) V',
      words:
        'Each token also makes a value: what it carries, if it is listened to. The values are added up, each by its ' +
        `weight. The sum is what ${asks} takes along from this head. Other heads ask other questions at the same time.`,
    },
    {
      name: 'Try it',
      title: 'Turn the knobs',
      formula: 'p = e^(s/T) / \u03A3 e^(s/T)',
      words:
        'A high temperature evens the weights out, a low one sharpens them. Mute a span and it fades, yet it stays ' +
        'in the field, as small as you like. Only a mask takes it away, and then the others share its part.',
    },
  ];
}
