// Names of interventions and heads, and the interventions that are made from a run. See steering.h.
#include <cmath>
#include <set>

#include "bareattn/error.h"
#include "bareattn/steering.h"
#include "base/float_environment.h"

namespace bareattn {
namespace {

struct KindInfo {
  const char* name;
  const char* help;
};
constexpr KindInfo infos[] = {
    {"boost", "multiply the weights on a span by a factor, and renormalise"},
    {"pasta", "multiply the weights outside a span by a factor, and renormalise"},
    {"bias", "add a number to the scores of a span"},
    {"knockout", "cut the edges from rows to a span of keys"},
    {"temperature", "divide the scores by a number: above 1 flattens, below 1 sharpens"},
    {"scale", "multiply what the heads write by a factor; 0 ablates them"},
    {"mean", "replace what the heads write by its mean over a text"},
    {"sink_logit", "add a logit to the softmax's denominator only; 0 is the off-by-one softmax"},
    {"window", "let rows see only so many keys before their own, and the first ones if they are kept"},
};
static_assert(std::size(infos) == intervention_kinds);

// "12" in [0, count), or -1 for "*".
int index_of(const std::string& part, int count, const std::string& pattern, const char* what) {
  if (part == "*") return -1;
  if (part.empty() || part.size() > 6 || part.find_first_not_of("0123456789") != std::string::npos)
    throw InputError("head '" + pattern + "': LAYER.HEAD is needed, each a number from 0 or '*' (5.3, 6.*)");
  const int index = std::stoi(part);
  if (index >= count) {
    throw InputError("head '" + pattern + "': the model has " + std::to_string(count) + " " + what +
                     ", counted from 0");
  }
  return index;
}

class MeanBlend final : public Observer {
 public:
  explicit MeanBlend(const ModelConfig& config) : config_(config), sums_(static_cast<size_t>(config.layers)) {}
  bool wants(Point point, int) override { return point == Point::z; }
  void see(const Event& event) override {
    auto& sum = sums_[static_cast<size_t>(event.layer)];
    sum.resize(static_cast<size_t>(config_.heads) * config_.head_dim);
    if (event.layer == 0) rows_ += event.values.shape[0];
    for (int64_t r = 0; r < event.values.shape[0]; ++r)
      for (int h = 0; h < config_.heads; ++h)
        for (int d = 0; d < config_.head_dim; ++d)
          sum[static_cast<size_t>(h) * config_.head_dim + d] += static_cast<double>(event.values.at(r, h, d));
  }
  float mean(HeadId head, int d) const {
    const auto& sum = sums_[static_cast<size_t>(head.layer)];
    return static_cast<float>(sum[static_cast<size_t>(head.head) * config_.head_dim + d] / static_cast<double>(rows_));
  }

 private:
  const ModelConfig& config_;
  int64_t rows_ = 0;
  std::vector<std::vector<double>> sums_;  // [L][Hq D]
};

}  // namespace

const char* intervention_name(Intervention::Kind kind) { return infos[static_cast<int>(kind)].name; }
const char* intervention_help(Intervention::Kind kind) { return infos[static_cast<int>(kind)].help; }

std::vector<HeadId> select_heads(const std::vector<std::string>& patterns, const ModelConfig& config) {
  std::vector<HeadId> heads;
  std::set<std::pair<int, int>> seen, patterns_seen;  // a pattern that stands there often is walked once
  for (const std::string& pattern : patterns) {
    const size_t dot = pattern.find('.');
    const bool all = pattern == "*";
    if (!all && dot == std::string::npos)
      throw InputError("head '" + pattern + "': LAYER.HEAD is needed, each a number from 0 or '*' (5.3, 6.*)");
    const int layer = all ? -1 : index_of(pattern.substr(0, dot), config.layers, pattern, "layers");
    const int head = all ? -1 : index_of(pattern.substr(dot + 1), config.heads, pattern, "heads per layer");
    if (!patterns_seen.emplace(layer, head).second) continue;
    for (int l = layer < 0 ? 0 : layer; l < (layer < 0 ? config.layers : layer + 1); ++l)
      for (int h = head < 0 ? 0 : head; h < (head < 0 ? config.heads : head + 1); ++h)
        if (seen.emplace(l, h).second) heads.push_back({l, h});
  }
  if (heads.empty()) throw InputError("no heads given: LAYER.HEAD is needed, each a number from 0 or '*'");
  return heads;
}

Intervention mean_ablation(const std::shared_ptr<const Model>& model, std::span<const int32_t> tokens,
                           std::vector<std::string> heads, int threads, const Progress& progress) {
  const base::DefaultFloatEnvironment environment;
  const ModelConfig& config = model->config();
  Intervention mean;
  mean.kind = Intervention::Kind::mean;
  const auto chosen = select_heads(heads, config);
  mean.heads = std::move(heads);
  if (tokens.empty()) throw InputError("mean ablation: the text is empty");
  MeanBlend observer(config);
  SessionOptions options;
  options.threads = threads;
  options.max_tokens = static_cast<int64_t>(tokens.size());
  Session(model, options).run(tokens, Logits::none, &observer, progress);
  for (const HeadId head : chosen)
    for (int d = 0; d < config.head_dim; ++d) mean.mean.push_back(observer.mean(head, d));
  return mean;
}

std::vector<Intervention> adaptive_temperature(const Observation& observation) {
  const base::DefaultFloatEnvironment environment;
  const ModelConfig& config = observation.model().config();
  std::vector<Intervention> all;
  for (int layer = 0; layer < config.layers; ++layer) {
    for (int head = 0; head < config.heads; ++head) {
      const double h = observation.mean(Measure::entropy, {layer, head});
      if (!(h > 0.5)) continue;
      const double beta = std::max(1.0, (((-0.037 * h + 0.481) * h - 2.3) * h + 4.917) * h - 1.791);
      if (beta == 1) continue;
      Intervention one;
      one.kind = Intervention::Kind::temperature;
      one.heads = {std::to_string(layer) + "." + std::to_string(head)};
      one.value = 1 / beta;
      all.push_back(std::move(one));
    }
  }
  return all;
}

std::vector<Intervention> calibrate(const Observation& control, const std::vector<TokenSpan>& spans,
                                    const std::vector<std::string>& heads) {
  const base::DefaultFloatEnvironment environment;
  const auto length = static_cast<int64_t>(control.tokens().size());
  std::vector<Intervention> all;
  for (const HeadId head : select_heads(heads, control.model().config())) {
    const auto weights = control.row_weights(head, length - 1);
    std::vector<double> mass;
    double total = 0;
    int64_t tokens = 0;
    for (const TokenSpan& span : spans) {
      const int64_t end = span.end < 0 ? length : span.end;
      if (span.begin < 0 || span.begin >= end || end > length)
        throw InputError("calibrate: span " + std::to_string(span.begin) + " to " + std::to_string(end) +
                         " is not in the control's " + std::to_string(length) + " tokens");
      double sum = 0;
      for (int64_t j = span.begin; j < end; ++j) sum += static_cast<double>(weights[static_cast<size_t>(j)]);
      mass.push_back(sum);
      total += sum;
      tokens += end - span.begin;
    }
    for (size_t s = 0; s < spans.size(); ++s) {
      const int64_t end = spans[s].end < 0 ? length : spans[s].end;
      const double fair = total * static_cast<double>(end - spans[s].begin) / static_cast<double>(tokens);
      if (!(mass[s] > 0 && fair > 0)) continue;
      Intervention one;
      one.kind = Intervention::Kind::bias;
      one.heads = {std::to_string(head.layer) + "." + std::to_string(head.head)};
      one.keys = {{spans[s].begin, end}};
      one.value = std::log(fair / mass[s]);
      all.push_back(std::move(one));
    }
  }
  return all;
}

}  // namespace bareattn
