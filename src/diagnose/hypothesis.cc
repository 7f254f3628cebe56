// See hypothesis.h.
#include "diagnose/hypothesis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "diagnose/gather.h"

namespace bareattn::diagnosing {
namespace {

template <class Seen>
double log_sum(const RowEvidence& row, double scale, const Seen& seen) {
  double sum = std::exp(static_cast<double>(row.sink) - static_cast<double>(row.lse));
  for (size_t j = 0; j < row.logits.size(); ++j)
    if (seen(static_cast<int64_t>(j)))
      sum += std::exp(scale * static_cast<double>(row.logits[j]) - static_cast<double>(row.lse));
  return sum > 0 ? std::log(sum) : -50;
}

void consider(Explanation& best, Explanation&& candidate, const Group& group) {
  candidate.cost = cost_of(group, candidate.residual);
  if (candidate.cost < best.cost) best = std::move(candidate);
}

void future(Explanation& best, const Group& group, const Evidence& evidence) {
  for (const int64_t more : {1, 2, 3, 4, 8, 16, 1 << 30}) {
    Explanation why;
    why.check = "future-leak";
    why.value = static_cast<double>(more);
    why.sentence = more == 1 << 30
                       ? "Rows see the future: in {heads} the weights sum to one only if all later tokens are counted."
                       : "Rows see the future: in {heads} the weights sum to one only if {value:.0f} later tokens are "
                         "counted.";
    why.advice = "The causal mask lets keys past the row's own through: check its comparison and its alignment.";
    why.residual = [&evidence, more](const HeadEvidence&, const RowEvidence& row) {
      return log_sum(row, 1, [&](int64_t j) {
        return may_see(evidence.expectations, row.row, j) || (j > row.row && j <= row.row + more);
      });
    };
    consider(best, std::move(why), group);
  }
}

void documents(Explanation& best, const Group& group, const Evidence& evidence) {
  const auto& document = evidence.expectations.document;
  if (document.empty()) return;
  const bool padding = std::find(document.begin(), document.end(), -1) != document.end();
  Explanation why;
  why.check = padding ? "padding-leak" : "cross-document-leak";
  why.sentence = padding ? "Padding is attended to: in {heads} the weights sum to one only if the padding is counted."
                         : "Documents see each other: in {heads} the weights sum to one only if the documents before "
                           "are counted.";
  why.advice = padding ? "Mask the padding keys in every layer."
                       : "Mask keys of other documents, or give the pass their boundaries.";
  why.residual = [](const HeadEvidence&, const RowEvidence& row) {
    return log_sum(row, 1, [&](int64_t j) { return j <= row.row; });
  };
  double most = 0;
  for (const HeadEvidence* head : group)
    for (const RowEvidence& row : head->rows) {
      double hidden = 0;
      for (int64_t j = 0; j <= row.row; ++j)
        if (!may_see(evidence.expectations, row.row, j))
          hidden += std::exp(static_cast<double>(row.logits[static_cast<size_t>(j)] - row.lse));
      most = std::max(most, hidden);
    }
  why.value = most;
  consider(best, std::move(why), group);
}

void windows(Explanation& best, const Group& group, const Evidence& evidence) {
  const auto n = static_cast<int64_t>(evidence.observation->tokens().size());
  const int64_t declared = evidence.expectations.window;
  const int64_t furthest = group[0]->rows.back().row;  // no sampled row tells longer windows from the whole text
  for (int64_t window = 0; window <= std::min(n, furthest); ++window) {
    Explanation why;
    why.check = "wrong-window";
    why.value = static_cast<double>(window);
    why.sentence =
        declared < 0 ? "Only a row's own token and {value:.0f} before it are seen in {heads}, where all should be."
        : window >= furthest ? fmt::format("The whole text is seen in {{heads}}, where the window is {}.", declared)
                             : fmt::format(
                                   "{{value:.0f}} tokens before a row's own are seen in {{heads}}, where the "
                                   "window is {}.",
                                   declared);
    why.advice = "Check the window's length (off by one: does it count the token itself?) and which layers have one.";
    why.residual = [window](const HeadEvidence&, const RowEvidence& row) {
      return log_sum(row, 1, [&](int64_t j) { return j <= row.row && j >= row.row - window; });
    };
    consider(best, std::move(why), group);
  }
}

void scales(Explanation& best, const Group& group, const Evidence& evidence) {
  const double at = least_of(-4, 4, 0.125, 1e-4, [&](double power) {
    return cost_of(group, explain_scale(std::exp2(power), evidence).residual);
  });
  if (std::abs(at) > 0.005) consider(best, explain_scale(std::exp2(at), evidence), group);  // one explains nothing
}

void drifts(Explanation& best, const Group& group, const Evidence& evidence) {
  const auto make = [&](double drift) {
    Explanation why;
    why.check = "temperature-drift";
    why.value = drift;
    why.sentence =
        "Attention tires: the scores of {heads} shrink with position, by {value:.2f} of their size per 512 "
        "tokens.";
    why.advice = "Something multiplies scores by a number that depends on the position: remove it, or divide by it.";
    why.residual = [&evidence, drift](const HeadEvidence&, const RowEvidence& row) {
      return row_sum(evidence, row, std::max(0.05, 1 - drift * static_cast<double>(row.row) / 512));
    };
    return why;
  };
  const double at = least_of(-4, 4, 0.25, 1e-3, [&](double drift) { return cost_of(group, make(drift).residual); });
  if (std::abs(at) > 0.05) consider(best, make(at), group);
}

void sinks(Explanation& best, const Group& group, const Evidence& evidence) {
  std::vector<double> logits;
  for (const HeadEvidence* head : group)
    for (const RowEvidence& row : head->rows) {
      const double missing = 1 - std::exp(row_sum(evidence, row));
      if (missing > 0.01) logits.push_back(std::log(missing) + static_cast<double>(row.lse));
    }
  if (logits.empty()) return;
  std::nth_element(logits.begin(), logits.begin() + static_cast<int64_t>(logits.size() / 2), logits.end());
  Explanation why;
  why.check = "extra-denominator";
  why.value = logits[logits.size() / 2];
  why.sentence = "A logit of {value:.2f} that is no token's joins the denominator of {heads}.";
  why.advice = "A sink logit or an off-by-one softmax is in the pass; this model was not trained with one.";
  why.residual = [&evidence, value = why.value](const HeadEvidence&, const RowEvidence& row) {
    return std::log(std::exp(row_sum(evidence, row)) + std::exp(value - static_cast<double>(row.lse)));
  };
  consider(best, std::move(why), group);
}

// Every query head reading another key-value head: the whole map is found head by head.
void maps(Explanation& best, const Group& group, const Evidence& evidence) {
  const Observation& o = *evidence.observation;
  const ModelConfig& config = o.model().config();
  if (config.kv_heads < 2 || o.q_f16({0, 0}).empty()) return;
  const int dim = config.head_dim;
  const auto sum_with = [&evidence, dim](const ScoreRule& rule, const RowEvidence& row, const std::vector<float>& q,
                                         const std::vector<float>& k) {
    double sum = std::exp(static_cast<double>(row.sink) - static_cast<double>(row.lse));
    for (int64_t j = 0; j <= row.row; ++j) {
      if (!may_see(evidence.expectations, row.row, j)) continue;
      double dot = 0;
      for (int d = 0; d < dim; ++d)
        dot += static_cast<double>(q[static_cast<size_t>(row.row * dim + d)]) *
               static_cast<double>(k[static_cast<size_t>(j * dim + d)]);
      sum += std::exp(rule.score(dot, row.row, j) - static_cast<double>(row.lse));
    }
    return sum > 0 ? std::log(sum) : -50.0;
  };
  // Which key-value head fits each of the group's heads, from layer to layer the same for one query head.
  std::vector<std::vector<std::vector<double>>> sums;  // [fitted][kv][row]
  std::vector<std::vector<double>> cost(static_cast<size_t>(config.heads),
                                        std::vector<double>(static_cast<size_t>(config.kv_heads)));
  const Group fitted = spread(group, most_fitted);
  for (const HeadEvidence* one : fitted) {
    const HeadEvidence& head = *one;
    const auto q = widened(o.q_f16(head.head));
    const ScoreRule rule = o.score_rule(head.head.layer).of_head(head.head.head);
    auto& of_head = sums.emplace_back();
    for (int kv = 0; kv < config.kv_heads; ++kv) {
      const auto k = widened(o.k_f16(head.head.layer, kv));
      auto& of_kv = of_head.emplace_back();
      for (const RowEvidence& row : head.rows) {
        of_kv.push_back(sum_with(rule, row, q, k));
        cost[static_cast<size_t>(head.head.head)][static_cast<size_t>(kv)] +=
            std::min(1.0, of_kv.back() * of_kv.back());
      }
    }
  }
  std::vector<int> map;
  std::string said;
  for (const auto& c : cost) {
    map.push_back(static_cast<int>(std::min_element(c.begin(), c.end()) - c.begin()));
    said += (said.empty() ? "" : ", ") + std::to_string(map.back());
  }
  double total = 0, count = 0;
  for (size_t i = 0; i < fitted.size(); ++i)
    for (const double r : sums[i][static_cast<size_t>(map[static_cast<size_t>(fitted[i]->head.head)])])
      total += std::min(1.0, r * r), ++count;
  if (total / count >= best.cost) return;
  best = {};
  best.check = "wrong-gqa-map";
  best.cost = total / count;
  best.sentence =
      "Another key-value head than head / (Hq / Hkv) is read in {heads}: the keys that fit are those of " + said + ".";
  best.advice = "Keys and values must be repeated per group (repeat_interleave), not tiled.";
  best.value = static_cast<double>(config.kv_heads);
  best.residual = [sum_with, &o, map](const HeadEvidence& head, const RowEvidence& row) {
    return sum_with(o.score_rule(head.head.layer).of_head(head.head.head), row, widened(o.q_f16(head.head)),
                    widened(o.k_f16(head.head.layer, map[static_cast<size_t>(head.head.head)])));
  };
}

}  // namespace

double least_of(double from, double to, double step, double finest, const std::function<double(double)>& cost) {
  double at = 0, least = 1e300;
  const auto consider = [&](double x) {
    if (const double here = cost(x); here < least) least = here, at = x;
  };
  for (double x = from; x <= to; x += step) consider(x);
  for (step /= 2; step > finest; step /= 2)
    for (const double x : {at - step, at + step}) consider(x);
  return at;
}

Explanation explain_scale(double scale, const Evidence& evidence) {
  Explanation why;
  why.check = "wrong-scale";
  why.value = scale;
  why.sentence = "The scores of {heads} are multiplied by {value:.3f} beyond 1 / sqrt(D).";
  why.advice = "Check that the scores are scaled by 1 / sqrt(head dimension), once.";
  why.residual = [&evidence, scale](const HeadEvidence&, const RowEvidence& row) {
    return row_sum(evidence, row, scale);
  };
  return why;
}

bool may_see(const Expectations& e, int64_t row, int64_t key) {
  if (key > row) return false;
  if (e.window >= 0 && key < row - e.window && key >= e.sinks) return false;
  if (e.document.empty() || key == row) return true;
  const int32_t of_key = e.document[static_cast<size_t>(key)];
  return of_key >= 0 && of_key == e.document[static_cast<size_t>(row)];
}

double row_sum(const Evidence& evidence, const RowEvidence& row, double scale) {
  return log_sum(row, scale, [&](int64_t j) { return may_see(evidence.expectations, row.row, j); });
}

bool explains(const Residual& residual, const HeadEvidence& head) {
  return residual && std::all_of(head.rows.begin(), head.rows.end(), [&](const RowEvidence& row) {
           return std::abs(residual(head, row)) <= row.tolerance;
         });
}

Group at_odds(const Evidence& evidence) {
  Group group;
  for (const HeadEvidence& head : evidence.heads)
    if (head.excess > 1 && std::all_of(head.rows.begin(), head.rows.end(),  // what is not finite, check_finite() says
                                       [](const RowEvidence& row) { return std::isfinite(row.lse); }))
      group.push_back(&head);
  return group;
}

Group spread(const Group& group, size_t most) {
  Group some;
  const size_t step = (group.size() + most - 1) / most;
  for (size_t i = 0; i < group.size(); i += step) some.push_back(group[i]);
  return some;
}

double cost_of(const Group& group, const Residual& residual) {
  double sum = 0, count = 0;
  for (const HeadEvidence* head : spread(group, most_fitted))
    for (const RowEvidence& row : head->rows) {
      const double r = residual(*head, row);
      sum += std::min(1.0, r * r), ++count;
    }
  return sum / count;
}

Explanation explain(const Group& group, const Evidence& evidence) {
  Explanation best;
  future(best, group, evidence);
  documents(best, group, evidence);
  windows(best, group, evidence);
  scales(best, group, evidence);
  drifts(best, group, evidence);
  sinks(best, group, evidence);
  maps(best, group, evidence);
  // Caps, spans and evictions have more numbers to fit with: they must be clearly better, or explain clearly more
  // heads.
  const auto explained = [&](const Explanation& why) {
    return std::count_if(group.begin(), group.end(),
                         [&](const HeadEvidence* head) { return explains(why.residual, *head); });
  };
  for (auto* fit : {explain_softcap, explain_span, explain_evicted}) {
    Explanation other = fit(group, evidence);
    const auto by_other = explained(other), by_best = explained(best);
    if (by_other > by_best + by_best / 5 || (by_other >= by_best && other.cost < 0.5 * best.cost))
      best = std::move(other);
  }
  return best;
}

}  // namespace bareattn::diagnosing
