// The copying test of Wang et al. (2211.00593): what a head would write if it looked at a word, read out as logits. The
// residual stream after layer 0 goes through the head's W_V and W_O, the final norm and the unembedding; a head copies
// a word that comes out among the top 5 of the vocabulary. No attention weight enters. See recipes.h.
#include <algorithm>

#include "base/thread_pool.h"
#include "model/layer.h"
#include "model/loaded_model.h"
#include "roles/recipes.h"

namespace bareattn::observing {
namespace {

constexpr uint64_t copy_stream = 4;

class AfterFirstLayer final : public Observer {
 public:
  bool wants(Point point, int layer) override { return point == Point::resid_post && layer == 0; }
  void see(const Event& event) override {
    for (int64_t row = 0; row < event.values.shape[0]; ++row) {
      const float* at = event.values.data + row * event.values.stride[0];
      rows.emplace_back(at, at + event.values.shape[1]);
    }
  }
  std::vector<std::vector<float>> rows;  // [N][W]
};

bool is_word(std::string_view piece) {
  return piece.size() >= 2 && piece[0] == ' ' && ((piece[1] | 32) >= 'a' && (piece[1] | 32) <= 'z');
}

}  // namespace

std::vector<int64_t> copy_positions(const RecipeRun& run, std::span<const int32_t> tokens, int sample) {
  base::SplitMix64 random(run.seed, {copy_stream, static_cast<uint64_t>(sample)});
  std::vector<int64_t> order;
  for (int64_t i = 1; i < static_cast<int64_t>(tokens.size()); ++i) order.push_back(i);
  random.shuffle(order);
  std::vector<int64_t> positions;
  const auto used = [&](int32_t id) {
    return std::any_of(positions.begin(), positions.end(),
                       [&](int64_t p) { return tokens[static_cast<size_t>(p)] == id; });
  };
  for (const int64_t at : order) {
    const int32_t id = tokens[static_cast<size_t>(at)];
    if (static_cast<int>(positions.size()) < copied_words && is_word(run.model->tokenizer().piece(id)) && !used(id)) {
      positions.push_back(at);
    }
  }
  return positions;
}

std::vector<double> score_copying(const RecipeRun& run, std::span<const int32_t> tokens,
                                  std::span<const int64_t> positions) {
  const model::LoadedModel& model = model::loaded(*run.model, "score_copying");
  const Architecture& config = model.architecture();
  const int64_t words = static_cast<int64_t>(positions.size()), heads = config.heads, vocabulary = config.vocab_size;

  AfterFirstLayer stream;
  {
    const int64_t needed = *std::max_element(positions.begin(), positions.end()) + 1;
    SessionOptions options;
    options.threads = run.threads;
    options.max_tokens = needed;
    Session session(run.model, options);
    session.run(tokens.first(static_cast<size_t>(needed)), Logits::none, &stream);
    run.advance(needed);
  }

  base::ThreadPool pool(run.threads);
  const model::RopeTables no_rope;
  const model::Watch nobody(nullptr, config.layers);
  const model::AttentionSteps steps;
  const ScoreRules no_scores;  // no attention weight enters
  const model::Pass pass{config, model.weights(), no_rope, nobody, pool, no_scores, steps};
  model::HeadWrites writes(pass, words);
  model::Rows x(words, config.width), normed(heads, config.width);
  for (int64_t w = 0; w < words; ++w) {
    const std::vector<float>& row = stream.rows[static_cast<size_t>(positions[static_cast<size_t>(w)])];
    std::copy(row.begin(), row.end(), x.row(w));
  }
  std::vector<float> logits(static_cast<size_t>(heads * vocabulary));
  std::vector<double> scores(static_cast<size_t>(config.layers * heads));
  for (int layer = 0; layer < config.layers; ++layer) {
    writes.take(layer, x, words);
    for (int64_t w = 0; w < words; ++w) {
      model::unembed(pass, writes.of(w), {0, heads}, normed, logits.data());
      const int32_t id = tokens[static_cast<size_t>(positions[static_cast<size_t>(w)])];
      for (int64_t h = 0; h < heads; ++h) {
        const float* row = logits.data() + h * vocabulary;
        const auto ahead = std::count_if(row, row + vocabulary, [&](float value) { return !(value <= row[id]); });
        if (ahead < copied_top) scores[static_cast<size_t>(layer * heads + h)] += 1.0 / static_cast<double>(words);
      }
    }
    run.advance(words * heads / 2);  // about what unembedding costs, in tokens
  }
  return scores;
}

}  // namespace bareattn::observing
