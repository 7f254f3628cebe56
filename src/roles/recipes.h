// The recipes by which heads are tested, each on its own samples: one function per recipe family, which runs the model
// on sample k and gives every head a score in 0..1. Definitions and sources: docs/roles.md. Everything that is drawn
// comes from SplitMix64(seed, {recipe family, sample}). Next: head_roles.cc, which makes means and roles of it.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bareattn/head_roles.h"
#include "bareattn/model.h"
#include "base/random.h"

namespace bareattn::observing {

/// Scores of one recipe: [sample][L Hq]. A sample that could not be scored is left out.
using SampleScores = std::vector<std::vector<double>>;

/// What all recipes run on. `advance` is called with the tokens that were run; it throws Cancelled.
struct RecipeRun {
  std::shared_ptr<const Model> model;
  uint64_t seed = 0;
  int threads = 0;
  std::vector<int32_t> corpus;           // tokens of all sentences in a row
  std::vector<int64_t> sentence_starts;  // where they begin, ascending, first 0
  std::function<void(int64_t tokens)> advance;

  int heads() const { return model->config().layers * model->config().heads; }
};

inline constexpr int repeat_length = 50;  // tokens of X
/// [BOS] X X (without BOS where the model has none: its end-of-sequence token, else token 0), X `repeat_length`
/// different ordinary tokens, all equally likely.
std::vector<int32_t> repeat_tokens(const RecipeRun& run, uint64_t stream, int sample);

struct RepeatScores {
  std::vector<double> induction, duplicate, previous;  // [L Hq]
};
/// Scores of one run over [BOS] X X of any X.
RepeatScores score_repeat(const RecipeRun& run, std::span<const int32_t> tokens);

inline constexpr int passage_length = 256;
inline constexpr int local_from = 128;  // rows from which `local` is taken: before, 64 tokens are most of the text
inline constexpr int sink_rows = 64;    // Gu et al.: T
/// The tokens of each sentence of the corpus, in random order.
std::vector<std::span<const int32_t>> shuffled_sentences(const RecipeRun& run, base::SplitMix64& random);
/// [BOS] and a piece of the corpus, sentences in random order.
std::vector<int32_t> passage_tokens(const RecipeRun& run, int sample);

struct PassageScores {
  std::vector<double> self, local, sink, broad;  // [L Hq]
  std::vector<std::vector<int64_t>> distance;    // [L Hq][passage_length]: rows >= 1 by distance of the strongest key
};
PassageScores score_passage(const RecipeRun& run, std::span<const int32_t> tokens);
/// Share of rows at each head's one distance, per sample; and that distance: the commonest over all samples, the
/// nearer on a tie.
SampleScores score_positional(const std::vector<PassageScores>& samples, std::vector<int>& distance);

/// A sentence of chance words hidden in a haystack, and the question for it with its answer.
struct Needle {
  std::vector<int32_t> tokens;  // up to the answer's last token but one
  int64_t begin = 0, end = 0;   // the answer's words inside the needle
  int64_t answer = 0;           // row that shall say the answer's first token
};
Needle needle_tokens(const RecipeRun& run, int sample);

struct NeedleScores {
  std::vector<double> retrieval;  // [L Hq]
  double said = 0;                // share of the answer's tokens that the model itself would say
};
NeedleScores score_needle(const RecipeRun& run, const Needle& needle);

inline constexpr int copied_words = 4;  // per sample
inline constexpr int copied_top = 5;
/// Positions in a passage of words to copy: different tokens that begin with a space and a letter.
std::vector<int64_t> copy_positions(const RecipeRun& run, std::span<const int32_t> tokens, int sample);
/// For each head the share of the positions whose own token is among the `copied_top` that W_U norm(W_O W_V norm(x))
/// is largest for, x the residual stream after layer 0.
std::vector<double> score_copying(const RecipeRun& run, std::span<const int32_t> tokens,
                                  std::span<const int64_t> positions);

inline constexpr int ablation_samples = 8;  // texts [BOS] X X per set of heads
AblationCheck check_ablation(const RecipeRun& run, std::vector<HeadId> heads, int draws);

/// The library's own sentences, each with a space before it.
const std::vector<std::string>& corpus_sentences();
/// A user's text cut into sentences at . ! ? and line ends, each with a space before it.
std::vector<std::string> split_sentences(const std::string& text);

/// The token that a text begins with: BOS, else EOS, else 0.
int32_t first_token(const Tokenizer& tokenizer);

}  // namespace bareattn::observing
