// A broken run with a finding's remedy applied, and what that brings back, measured: perplexity over a cache, and where
// the weight rests. See faults.h; remedy.cc for what is proposed.
#include <algorithm>
#include <cmath>

#include "bareattn/faults.h"
#include "base/float_environment.h"
#include "diagnose/gather.h"

namespace bareattn {
namespace {

struct Measured {
  double perplexity = 0;
  std::vector<std::vector<double>> received;  // [L Hq][the last `common` tokens]
};

Measured measure(const std::shared_ptr<const Model>& model, const std::vector<int32_t>& tokens,
                 std::shared_ptr<const Variant> variant, size_t common, int threads) {
  Measured measured;
  DiagnoseOptions how;
  how.variant = std::move(variant);
  how.threads = threads;
  measured.perplexity = std::exp(diagnosing::score_in_two(model, tokens, how, common));
  ObservationOptions observation;
  observation.variant = how.variant;
  observation.keep_qk = false;
  const auto seen = observe(model, tokens, observation, threads);
  const ModelConfig& config = model->config();
  for (int layer = 0; layer < config.layers; ++layer)
    for (int head = 0; head < config.heads; ++head) {
      auto all = seen->received({layer, head});
      all.erase(all.begin(), all.end() - static_cast<int64_t>(common));
      measured.received.push_back(std::move(all));
    }
  return measured;
}

// Half the sum of differences over all weight: the part that would have to be carried elsewhere.
double moved(const Measured& from, const Measured& to) {
  double difference = 0, all = 0;
  for (size_t h = 0; h < from.received.size(); ++h)
    for (size_t j = 0; j < from.received[h].size(); ++j) {
      difference += std::abs(from.received[h][j] - to.received[h][j]) / 2;
      all += from.received[h][j];
    }
  return all > 0 ? difference / all : 0;
}

}  // namespace

void add_control(BrokenRun& broken, const std::shared_ptr<const Model>& model, int threads) {
  ObservationOptions options;
  options.variant = broken.meant;
  options.keep_qk = false;
  broken.options.control = observe(model, broken.meant_tokens, options, threads);
}

BrokenRun restore(const BrokenRun& broken, const Remedy& remedy, const ModelConfig& config) {
  BrokenRun run = broken;
  if (!remedy.tokens.empty()) run.tokens = remedy.tokens;
  Variant variant = remedy.variant != nullptr ? *remedy.variant : *broken.options.variant;
  if (!remedy.interventions.empty()) {
    run.bias.insert(run.bias.end(), remedy.interventions.begin(), remedy.interventions.end());
    variant.table = make_table(run.bias, config, static_cast<int64_t>(run.tokens.size()));
  }
  run.options.variant = std::make_shared<const Variant>(std::move(variant));
  run.what = remedy.what;
  return run;
}

Restoration measure_restoration(const std::shared_ptr<const Model>& model, const BrokenRun& broken,
                                const BrokenRun& restored, int threads) {
  const base::DefaultFloatEnvironment environment;
  const size_t common = std::min({broken.meant_tokens.size(), broken.tokens.size(), restored.tokens.size()});
  const Measured meant = measure(model, broken.meant_tokens, broken.meant, common, threads);
  const Measured bad = measure(model, broken.tokens, broken.options.variant, common, threads);
  const Measured good = measure(model, restored.tokens, restored.options.variant, common, threads);
  Restoration all;
  all.meant.perplexity = meant.perplexity;
  all.broken = {bad.perplexity, moved(meant, bad)};
  all.restored = {good.perplexity, moved(meant, good)};
  return all;
}

}  // namespace bareattn
