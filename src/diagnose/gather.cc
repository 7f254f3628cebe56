// See gather.h.
#include "diagnose/gather.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bareattn/attention.h"
#include "bareattn/scores.h"
#include "diagnose/hypothesis.h"
#include "kernels/convert.h"
#include "model/surprise.h"

namespace bareattn::diagnosing {
namespace {

SessionOptions session_options(const DiagnoseOptions& how, size_t tokens) {
  SessionOptions options;
  options.threads = how.threads;
  options.max_tokens = static_cast<int64_t>(tokens);
  options.table = how.table;
  options.variant = how.variant;
  return options;
}

class BlendSizes final : public Observer {
 public:
  explicit BlendSizes(const ModelConfig& config)
      : heads_(config.heads), sums_(static_cast<size_t>(config.layers) * config.heads) {}
  bool wants(Point point, int) override { return point == Point::z; }
  void see(const Event& event) override {
    const auto& v = event.values;
    for (int64_t r = 0; r < v.shape[0]; ++r)
      for (int64_t h = 0; h < v.shape[1]; ++h)
        for (int64_t d = 0; d < v.shape[2]; ++d) {
          const auto z = static_cast<double>(v.at(r, h, d));
          sums_[static_cast<size_t>(event.layer) * heads_ + static_cast<size_t>(h)] += z * z;
        }
    if (event.layer == 0) values_ += v.shape[0] * v.shape[2];
  }
  std::vector<double> sizes() const {
    std::vector<double> all;
    for (const double sum : sums_) all.push_back(std::sqrt(sum / static_cast<double>(values_)));
    return all;
  }

 private:
  size_t heads_;
  int64_t values_ = 0;
  std::vector<double> sums_;
};

class LseKeeper final : public Observer {
 public:
  LseKeeper(const ModelConfig& config, size_t tokens)
      : heads_(static_cast<size_t>(config.heads)),
        tokens_(tokens),
        lse(static_cast<size_t>(config.layers) * heads_ * tokens) {}
  bool wants(Point, int) override { return false; }
  void see(const Event&) override {}
  const AttentionStatistics* attention_statistics(int layer, int64_t first_row, int64_t) override {
    statistics_ = {};
    statistics_.row_stride = static_cast<int64_t>(tokens_);
    statistics_.lse = lse.data() + static_cast<size_t>(layer) * heads_ * tokens_ + static_cast<size_t>(first_row);
    return &statistics_;
  }

 private:
  size_t heads_, tokens_;
  AttentionStatistics statistics_;

 public:
  std::vector<float> lse;
};

// What rounding can do to a row's log sum of weights: each logit is off by at most rounding * sum |q k| * scale, and
// the sum of weights by their mean under the weights (twice, since the weights that average are themselves rounded).
double tolerance(const Evidence& one, const RowEvidence& row, const std::vector<float>& size, double rounding) {
  double top = -INFINITY, sum = 0, mean = 0;
  for (int64_t j = 0; j <= row.row; ++j)
    if (may_see(one.expectations, row.row, j))
      top = std::max(top, static_cast<double>(row.logits[static_cast<size_t>(j)]));
  for (int64_t j = 0; j <= row.row; ++j) {
    if (!may_see(one.expectations, row.row, j)) continue;
    const double w = std::exp(static_cast<double>(row.logits[static_cast<size_t>(j)]) - top);
    sum += w;
    mean += w * static_cast<double>(size[static_cast<size_t>(j)]);
  }
  return std::max(row_limit, 2 * rounding * mean / sum);
}

}  // namespace

std::vector<float> widened(const std::vector<uint16_t>& half) {
  std::vector<float> wide(half.size());
  kernels::f32_from_f16(half.data(), wide.data(), static_cast<int64_t>(half.size()));
  return wide;
}

std::vector<HeadEvidence> sample_rows(const Observation& o, const Expectations& expectations, const ScoreTable* table,
                                      double rounding) {
  const ModelConfig& config = o.model().config();
  const auto n = static_cast<int64_t>(o.tokens().size());
  const int dim = config.head_dim;
  const ScoreRules rules(o.model().architecture(), {}, table, n);  // a run's own window is among the expectations
  Evidence one;                                                    // for row_sum
  one.expectations = expectations;
  std::vector<HeadEvidence> all;
  for (int layer = 0; layer < config.layers; ++layer) {
    for (int head = 0; head < config.heads; ++head) {
      HeadEvidence evidence;
      evidence.head = {layer, head};
      const auto q = widened(o.q_f16({layer, head}));
      const auto k = widened(o.k_f16(layer, head / (config.heads / config.kv_heads)));
      const auto lse = o.rows(Measure::lse, {layer, head});
      ScoreRule rule = rules.head(layer, head);
      rule.right_window = -1;  // what may leak is looked at, too
      for (int s = 1; s <= sampled_rows; ++s) {
        RowEvidence row;
        row.row = s * n / sampled_rows - 1 - (s == sampled_rows ? n / 16 : 0);  // the last rows have no future to leak
        row.lse = lse[static_cast<size_t>(row.row)];
        row.logits.resize(static_cast<size_t>(n));
        std::vector<float> size(static_cast<size_t>(n));
        for (int64_t j = 0; j < n; ++j) {
          float sum = 0, absolute = 0;
          for (int d = 0; d < dim; ++d) {
            const float product = q[static_cast<size_t>(row.row * dim + d)] * k[static_cast<size_t>(j * dim + d)];
            sum += product;
            absolute += std::abs(product);
          }
          row.logits[static_cast<size_t>(j)] = sum;
          size[static_cast<size_t>(j)] = absolute * rule.scale;
        }
        rule.score_row(row.row, row.logits);
        if (!rule.sinks.empty()) row.sink = rule.sinks[0];
        row.tolerance = tolerance(one, row, size, rounding);
        const double off = std::abs(row_sum(one, row));
        evidence.mismatch = std::isnan(off) ? INFINITY : std::max(evidence.mismatch, off);
        evidence.excess = std::isnan(off) ? INFINITY : std::max(evidence.excess, off / row.tolerance);
        evidence.rows.push_back(std::move(row));
      }
      all.push_back(std::move(evidence));
    }
  }
  return all;
}

double standard_error(const std::vector<double>& a, const std::vector<double>& b) {
  const size_t count = std::min(a.size(), b.size());
  const auto n = static_cast<double>(count);
  double sum = 0, squares = 0;
  for (size_t i = 0; i < count; ++i) {
    sum += a[i] - b[i];
    squares += (a[i] - b[i]) * (a[i] - b[i]);
  }
  return std::sqrt(std::max(0.0, squares / n - sum / n * (sum / n)) / (n - 1));
}

Scored score(const std::shared_ptr<const Model>& model, std::span<const int32_t> tokens, const DiagnoseOptions& how,
             const Scored* to_beat) {
  constexpr double hopeless = 0.3;  // nats per token, and three standard errors
  const auto vocabulary = static_cast<size_t>(model->config().vocab_size);
  BlendSizes sizes(model->config());
  Session session(model, session_options(how, tokens.size()));
  Scored scored;
  double ahead = 0;  // nats more than what is to be beaten
  const auto run = [&](size_t begin, size_t end) {
    const TensorView<const float> logits = session.run(tokens.subspan(begin, end - begin), Logits::all, &sizes);
    for (size_t i = begin; i < end && i + 1 < tokens.size(); ++i) {
      const float* row = logits.data + (i - begin) * vocabulary;
      scored.surprise.push_back(model::surprise({row, vocabulary}, tokens[i + 1]));
      scored.nll += scored.surprise.back();
      if (to_beat != nullptr) ahead += scored.surprise.back() - to_beat->surprise[i];
    }
  };
  const size_t first = to_beat == nullptr ? tokens.size() : tokens.size() / 3;
  run(0, first);
  if (to_beat != nullptr) {
    const double mean = ahead / static_cast<double>(first);
    if (mean > hopeless + 3 * standard_error(scored.surprise, to_beat->surprise)) {
      scored.nll = to_beat->nll + mean;
      return scored;
    }
    run(first, tokens.size());
  }
  scored.nll /= static_cast<double>(tokens.size() - 1);
  scored.blend_size = sizes.sizes();
  return scored;
}

double score_in_two(const std::shared_ptr<const Model>& model, std::span<const int32_t> tokens,
                    const DiagnoseOptions& how, size_t common) {
  const auto vocabulary = static_cast<size_t>(model->config().vocab_size);
  const size_t first_scored = tokens.size() - common;  // the token there is predicted by what comes before, if anything
  Session session(model, session_options(how, tokens.size()));
  double sum = 0, count = 0;
  const size_t half = tokens.size() / 2;
  for (const size_t begin : {size_t{0}, half}) {
    const auto part = begin == 0 ? tokens.first(half) : tokens.subspan(half);
    const TensorView<const float> logits = session.run(part, Logits::all);
    for (size_t i = 0; i < part.size() && begin + i + 1 < tokens.size(); ++i) {
      if (begin + i < first_scored) continue;
      sum += model::surprise({logits.data + i * vocabulary, vocabulary}, tokens[begin + i + 1]);
      ++count;
    }
  }
  return sum / count;
}

std::vector<float> observed_lse(const Observation& observation) {
  const ModelConfig& config = observation.model().config();
  std::vector<float> lse;
  for (int layer = 0; layer < config.layers; ++layer)
    for (int head = 0; head < config.heads; ++head) {
      const auto rows = observation.rows(Measure::lse, {layer, head});
      lse.insert(lse.end(), rows.begin(), rows.end());
    }
  return lse;
}

std::vector<float> all_lse(const std::shared_ptr<const Model>& model, std::span<const int32_t> tokens,
                           const DiagnoseOptions& how, bool pieces) {
  LseKeeper keeper(model->config(), tokens.size());
  Session session(model, session_options(how, tokens.size()));
  if (!pieces) {
    session.run(tokens, Logits::none, &keeper);
    return std::move(keeper.lse);
  }
  const size_t half = tokens.size() / 2;
  session.run(tokens.first(half), Logits::none, &keeper);
  for (size_t i = half; i < half + 4; ++i) session.run(tokens.subspan(i, 1), Logits::none, &keeper);
  session.run(tokens.subspan(half + 4), Logits::none, &keeper);
  return std::move(keeper.lse);
}

double largest_difference(std::span<const float> a, std::span<const float> b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) != std::isnan(b[i])) return INFINITY;
    if (a[i] != b[i] && !std::isnan(a[i]))
      largest = std::max(largest, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  }
  return largest;
}

std::vector<double> differences(const std::vector<float>& a, const std::vector<float>& b, int layers) {
  const size_t size = a.size() / static_cast<size_t>(layers);
  std::vector<double> all;
  for (size_t layer = 0; layer < static_cast<size_t>(layers); ++layer)
    all.push_back(
        largest_difference(std::span(a).subspan(layer * size, size), std::span(b).subspan(layer * size, size)));
  return all;
}

}  // namespace bareattn::diagnosing
