// The retrieval test of Wu et al. (2404.15574): chance words in a sentence hidden in a haystack, at 5 depths and in 3
// lengths, and a question for them. The answer is given word by word, so that every step asks the same of the model
// whatever it would have said; a step counts for a head only where the model's own next token is the answer's and the
// head's strongest key is that token inside the needle. See recipes.h.
#include <algorithm>
#include <array>
#include <limits>

#include "bareattn/attention.h"
#include "roles/recipes.h"

namespace bareattn::observing {
namespace {

constexpr uint64_t needle_stream = 3;
constexpr std::array<int64_t, 3> haystack_lengths{150, 300, 600};
constexpr int depths = 5, answer_words = 4;

constexpr std::array<const char*, 12> places{"harbour", "library",     "castle", "garden",  "museum",   "station",
                                             "bakery",  "observatory", "mill",   "theatre", "hospital", "school"};
constexpr std::array<const char*, 40> words{
    "amber",  "falcon", "river",  "seven",  "copper", "lantern", "violet", "anchor", "thunder", "maple",
    "silver", "rabbit", "window", "purple", "castle", "ginger",  "hammer", "island", "jacket",  "kitten",
    "lemon",  "mirror", "needle", "orange", "pepper", "quartz",  "ribbon", "saddle", "ticket",  "umbrella",
    "velvet", "walnut", "yellow", "zebra",  "basket", "candle",  "dragon", "engine", "forest",  "guitar"};

/// The strongest key of each row of one run, [L][Hq, rows]; nothing of rows before `first`.
class StrongestKeys final : public Observer {
 public:
  StrongestKeys(const ModelConfig& config, int64_t rows)
      : keys_(static_cast<size_t>(config.layers)), heads_(config.heads), rows_(rows), statistics_(keys_.size()) {
    for (size_t layer = 0; layer < keys_.size(); ++layer) {
      keys_[layer].resize(static_cast<size_t>(heads_ * rows_));
      statistics_[layer].row_stride = rows_;
      statistics_[layer].max_key = keys_[layer].data();
    }
  }
  bool wants(Point point, int) override { return point == Point::attn_statistics; }
  void see(const Event&) override {}
  const AttentionStatistics* attention_statistics(int layer, int64_t, int64_t) override {
    return &statistics_[static_cast<size_t>(layer)];
  }
  int32_t key(int layer, int64_t head, int64_t row) const {
    return keys_[static_cast<size_t>(layer)][static_cast<size_t>(head * rows_ + row)];
  }

 private:
  std::vector<std::vector<int32_t>> keys_;
  int64_t heads_, rows_;
  std::vector<AttentionStatistics> statistics_;
};

void append(std::vector<int32_t>& to, const std::vector<int32_t>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

Needle needle_tokens(const RecipeRun& run, int sample) {
  const Tokenizer& tokenizer = run.model->tokenizer();
  base::SplitMix64 random(run.seed, {needle_stream, static_cast<uint64_t>(sample)});
  const int64_t length = haystack_lengths[static_cast<size_t>(sample) % haystack_lengths.size()];
  const double depth = static_cast<double>(sample / static_cast<int>(haystack_lengths.size()) % depths) / (depths - 1);

  const std::string place = places[static_cast<size_t>(random.below(places.size()))];
  std::vector<std::string> drawn;
  while (drawn.size() < answer_words) {
    const std::string word = words[static_cast<size_t>(random.below(words.size()))];
    if (word != place && std::find(drawn.begin(), drawn.end(), word) == drawn.end()) drawn.push_back(word);
  }
  const auto more = [&](const std::string& text) {
    return *tokenizer.encode_within(std::numeric_limits<int64_t>::max(), text, {.continues = true});
  };
  const auto answer = more(" " + drawn[0] + " " + drawn[1] + " " + drawn[2] + " " + drawn[3]);

  std::vector<int32_t> hay;
  std::vector<int64_t> breaks{0};  // where a sentence could stand
  for (const std::span<const int32_t> sentence : shuffled_sentences(run, random)) {
    hay.insert(hay.end(), sentence.begin(), sentence.end());
    if (static_cast<int64_t>(hay.size()) >= length) break;
    breaks.push_back(static_cast<int64_t>(hay.size()));
  }
  hay.resize(static_cast<size_t>(std::min<int64_t>(length, static_cast<int64_t>(hay.size()))));
  breaks.push_back(static_cast<int64_t>(hay.size()));
  const double wanted = depth * static_cast<double>(hay.size());
  const int64_t at = *std::min_element(breaks.begin(), breaks.end(), [&](int64_t a, int64_t b) {
    return std::abs(static_cast<double>(a) - wanted) < std::abs(static_cast<double>(b) - wanted);
  });

  Needle needle;
  needle.tokens = {first_token(tokenizer)};
  needle.tokens.insert(needle.tokens.end(), hay.begin(), hay.begin() + at);
  append(needle.tokens, more(" The secret words of the " + place + " are"));
  needle.begin = static_cast<int64_t>(needle.tokens.size());
  append(needle.tokens, answer);
  needle.end = static_cast<int64_t>(needle.tokens.size());
  append(needle.tokens, more("."));
  needle.tokens.insert(needle.tokens.end(), hay.begin() + at, hay.end());
  append(needle.tokens, more("\n\nQuestion: What are the secret words?\nAnswer: The secret words are"));
  needle.answer = static_cast<int64_t>(needle.tokens.size()) - 1;
  needle.tokens.insert(needle.tokens.end(), answer.begin(), answer.end() - 1);
  return needle;
}

NeedleScores score_needle(const RecipeRun& run, const Needle& needle) {
  const ModelConfig& config = run.model->config();
  const std::span<const int32_t> tokens = needle.tokens;
  const int64_t steps = needle.end - needle.begin;
  SessionOptions options;
  options.threads = run.threads;
  options.max_tokens = static_cast<int64_t>(tokens.size());
  Session session(run.model, options);
  session.run(tokens.first(static_cast<size_t>(needle.answer)), Logits::none);
  StrongestKeys strongest(config, steps);
  const auto logits = session.run(tokens.subspan(static_cast<size_t>(needle.answer)), Logits::all, &strongest);

  NeedleScores scores;
  scores.retrieval.resize(static_cast<size_t>(run.heads()));
  for (int64_t step = 0; step < steps; ++step) {
    const int32_t expected = tokens[static_cast<size_t>(needle.begin + step)];
    const float* row = &logits.at(step);
    if (std::max_element(row, row + config.vocab_size) - row != expected) continue;
    scores.said += 1.0 / static_cast<double>(steps);
    for (int layer = 0; layer < config.layers; ++layer)
      for (int head = 0; head < config.heads; ++head) {
        const int64_t key = strongest.key(layer, head, step);
        if (key >= needle.begin && key < needle.end && tokens[static_cast<size_t>(key)] == expected) {
          scores.retrieval[static_cast<size_t>(layer * config.heads + head)] += 1.0 / static_cast<double>(steps);
        }
      }
  }
  run.advance(static_cast<int64_t>(tokens.size()));
  return scores;
}

}  // namespace bareattn::observing
