// Plain passages: sentences of the corpus in random order, on which positional, self, local, sink and broad heads show.
// Everything comes from the measures of one observed run. See recipes.h.
#include <algorithm>

#include "roles/recipes.h"

namespace bareattn::observing {
namespace {

constexpr uint64_t passage_stream = 2;

double mean_of(const std::vector<float>& rows, int64_t begin, int64_t end) {
  double sum = 0;
  for (int64_t i = begin; i < end; ++i) sum += double{rows[static_cast<size_t>(i)]};
  return sum / static_cast<double>(end - begin);
}

}  // namespace

std::vector<std::span<const int32_t>> shuffled_sentences(const RecipeRun& run, base::SplitMix64& random) {
  const std::span<const int32_t> corpus = run.corpus;
  std::vector<std::span<const int32_t>> sentences;
  for (size_t i = 0; i < run.sentence_starts.size(); ++i) {
    const auto begin = static_cast<size_t>(run.sentence_starts[i]);
    const size_t end =
        i + 1 < run.sentence_starts.size() ? static_cast<size_t>(run.sentence_starts[i + 1]) : corpus.size();
    sentences.push_back(corpus.subspan(begin, end - begin));
  }
  random.shuffle(sentences);
  return sentences;
}

std::vector<int32_t> passage_tokens(const RecipeRun& run, int sample) {
  base::SplitMix64 random(run.seed, {passage_stream, static_cast<uint64_t>(sample)});
  std::vector<int32_t> tokens{first_token(run.model->tokenizer())};
  for (const std::span<const int32_t> sentence : shuffled_sentences(run, random)) {
    tokens.insert(tokens.end(), sentence.begin(), sentence.end());
    if (static_cast<int64_t>(tokens.size()) >= passage_length) break;
  }
  tokens.resize(passage_length);  // the corpus has more than that
  return tokens;
}

PassageScores score_passage(const RecipeRun& run, std::span<const int32_t> tokens) {
  const ModelConfig& config = run.model->config();
  const auto length = static_cast<int64_t>(tokens.size());
  ObservationOptions options;
  options.keep_qk = false;
  const auto seen = observe(run.model, {tokens.begin(), tokens.end()}, options, run.threads);
  PassageScores scores;
  for (int layer = 0; layer < config.layers; ++layer)
    for (int head = 0; head < config.heads; ++head) {
      const HeadId id{layer, head};
      scores.self.push_back(seen->mean(Measure::self_weight, id));
      scores.broad.push_back(seen->mean(Measure::normalized_entropy, id));
      scores.local.push_back(mean_of(seen->rows(Measure::recent_mass, id), local_from, length));
      scores.sink.push_back(mean_of(seen->rows(Measure::first_mass, id), 0, sink_rows));
      std::vector<int64_t> rows(static_cast<size_t>(length));
      const auto strongest = seen->max_key(id);
      for (int64_t i = 1; i < length; ++i) {
        const int64_t key = strongest[static_cast<size_t>(i)];
        if (key >= 0) ++rows[static_cast<size_t>(i - key)];
      }
      scores.distance.push_back(std::move(rows));
    }
  run.advance(length);
  return scores;
}

SampleScores score_positional(const std::vector<PassageScores>& samples, std::vector<int>& distance) {
  SampleScores scores(samples.size());
  const size_t heads = samples.front().distance.size();
  distance.assign(heads, 0);
  for (size_t head = 0; head < heads; ++head) {
    std::vector<int64_t> total(samples.front().distance[head].size());
    for (const PassageScores& one : samples)
      for (size_t d = 0; d < total.size(); ++d) total[d] += one.distance[head][d];
    const auto best = static_cast<size_t>(std::max_element(total.begin(), total.end()) - total.begin());
    distance[head] = static_cast<int>(best);
    for (size_t k = 0; k < samples.size(); ++k) {
      scores[k].push_back(static_cast<double>(samples[k].distance[head][best]) / static_cast<double>(total.size() - 1));
    }
  }
  return scores;
}

}  // namespace bareattn::observing
