// Three hypotheses beside those of hypothesis.cc: keys that are hidden from some row on (evicted from a cache), scores
// that are capped, and a scale so near to one that no single row shows it, only all rows of a layer together. See
// hypothesis.h.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "diagnose/hypothesis.h"

namespace bareattn::diagnosing {
namespace {

constexpr int64_t finest_search = 128;  // spans begin and end at so many places, then the best one's ends are moved

/// The weights that Q and K give, of one sampled row: the s-th of its head.
struct Prefix {
  size_t s = 0;
  double all = 0;
  std::vector<double> upto;  // [N + 1]
};

std::vector<Prefix> prefixes(const Group& group, const Evidence& evidence) {
  std::vector<Prefix> rows;
  for (const HeadEvidence* head : spread(group, most_fitted))
    for (size_t s = 0; s < head->rows.size(); ++s) {
      const RowEvidence& row = head->rows[s];
      Prefix& prefix = rows.emplace_back();
      prefix.s = s;
      prefix.upto.push_back(0);
      for (size_t j = 0; j < row.logits.size(); ++j) {
        if (may_see(evidence.expectations, row.row, static_cast<int64_t>(j)))
          prefix.all += std::exp(static_cast<double>(row.logits[j] - row.lse));
        prefix.upto.push_back(prefix.all);
      }
    }
  return rows;
}

double capped(double difference) { return std::min(1.0, difference * difference); }

/// What is left of all rows if keys [a, b) are hidden from the s-th sampled row on, for the best s of 1 and more.
struct Hidden {
  double cost = 1e300;
  size_t from = 0;  // s
  int64_t begin = 0, end = 1;
};
Hidden hidden(const std::vector<Prefix>& rows, size_t sampled, int64_t a, int64_t b) {
  std::vector<double> seen(sampled), unseen(sampled);
  for (const Prefix& row : rows) {
    const double in = row.upto[static_cast<size_t>(b)] - row.upto[static_cast<size_t>(a)];
    seen[row.s] += capped(std::log(std::max(1e-20, row.all)));
    unseen[row.s] += capped(std::log(std::max(1e-20, row.all - in)));
  }
  Hidden best;
  for (size_t from = 1; from < sampled; ++from) {
    double cost = 0;
    for (size_t s = 0; s < sampled; ++s) cost += s < from ? seen[s] : unseen[s];
    if (cost < best.cost) best = {cost, from, a, b};
  }
  return best;
}

}  // namespace

Explanation explain_evicted(const Group& group, const Evidence& evidence) {
  const auto n = static_cast<int64_t>(evidence.observation->tokens().size());
  const std::vector<Prefix> rows = prefixes(group, evidence);
  const size_t sampled = group[0]->rows.size();
  int64_t step = std::max<int64_t>(1, n / finest_search);
  Hidden best;
  const auto consider = [&](int64_t a, int64_t b) {
    if (a < 0 || b > n || a >= b) return;
    if (Hidden here = hidden(rows, sampled, a, b); here.cost < best.cost) best = here;
  };
  for (int64_t a = 0; a < n; a += step)
    for (int64_t b = a + step; b <= n; b += step) consider(a, b);
  for (; step > 0; step /= 2)
    for (const int64_t by : {-step, step}) {
      consider(best.begin + by, best.end);
      consider(best.begin, best.end + by);
    }
  const auto row_of = [&](size_t s) { return group[0]->rows[s].row; };
  const int64_t last_seeing = row_of(best.from - 1), first_blind = row_of(best.from);
  Explanation why;
  why.check = "keys-evicted";
  why.cost = best.cost / static_cast<double>(rows.size());
  why.token = best.begin;
  why.last = best.end - 1;
  why.value = static_cast<double>(first_blind);
  why.sentence = fmt::format(
      "Tokens {{at}} to {{last}} are hidden from row {{value:.0f}} on in {{heads}}; row {} still sees them.",
      last_seeing);
  why.advice = "A cache dropped or overwrote these keys, or a mask hides them from later rows: check what it keeps.";
  why.residual = [&evidence, best, first_blind](const HeadEvidence&, const RowEvidence& row) {
    double all = 0;
    for (int64_t j = 0; j <= row.row; ++j)
      if (may_see(evidence.expectations, row.row, j) && (row.row < first_blind || j < best.begin || j >= best.end))
        all += std::exp(static_cast<double>(row.logits[static_cast<size_t>(j)] - row.lse));
    return std::log(std::max(1e-20, all));
  };
  return why;
}

Explanation explain_softcap(const Group& group, const Evidence& evidence) {
  const auto make = [&](double cap) {
    Explanation why;
    why.check = "wrong-softcap";
    why.value = cap;
    why.sentence = "The scores of {heads} are capped: s becomes {value:.3g} tanh(s / {value:.3g}).";
    why.advice = "This model was trained without a cap on its scores: turn the soft cap of attention off.";
    why.residual = [&evidence, cap](const HeadEvidence&, const RowEvidence& row) {
      double sum = 0;
      for (int64_t j = 0; j <= row.row; ++j)
        if (may_see(evidence.expectations, row.row, j))
          sum += std::exp(cap * std::tanh(static_cast<double>(row.logits[static_cast<size_t>(j)]) / cap) -
                          static_cast<double>(row.lse));
      return std::log(std::max(1e-20, sum));
    };
    return why;
  };
  const double at =
      least_of(1, 8, 0.25, 1e-3, [&](double power) { return cost_of(group, make(std::exp2(power)).residual); });
  Explanation why = make(std::exp2(at));
  why.cost = cost_of(group, why.residual);
  return why;
}

FineScale fine_scale(const Evidence& evidence) {
  constexpr double least_deviation = 0.004, most_deviation = 0.05;  // beyond, rows show it one by one
  constexpr double least_explained = 0.6;                           // of the weighted squares of what is off
  std::vector<std::pair<double, int>> layers;                       // deviation, layer
  const int count = evidence.observation->model().config().layers;
  for (int layer = 0; layer < count; ++layer) {
    double mr = 0, mm = 0, rr = 0;
    for (const HeadEvidence& head : evidence.heads) {
      if (head.head.layer != layer) continue;
      for (const RowEvidence& row : head.rows) {
        double sum = 0, mean = 0;
        for (int64_t j = 0; j <= row.row; ++j) {
          if (!may_see(evidence.expectations, row.row, j)) continue;
          const auto logit = static_cast<double>(row.logits[static_cast<size_t>(j)]);
          const double w = std::exp(logit - static_cast<double>(row.lse));
          sum += w;
          mean += w * logit;
        }
        const double off = std::log(sum), slope = mean / sum, weight = 1 / (row.tolerance * row.tolerance);
        mr += weight * slope * off;
        mm += weight * slope * slope;
        rr += weight * off * off;
      }
    }
    const double deviation = -mr / mm;
    if (std::abs(deviation) >= least_deviation && std::abs(deviation) <= most_deviation &&
        mr * mr / mm >= least_explained * rr)
      layers.emplace_back(deviation, layer);
  }
  if (layers.empty()) return {};
  std::sort(layers.begin(), layers.end());
  const double middle = layers[layers.size() / 2].first;
  FineScale found;
  found.why = explain_scale(1 + middle, evidence);
  for (const HeadEvidence& head : evidence.heads) {
    const auto of_layer =
        std::find_if(layers.begin(), layers.end(), [&](auto l) { return l.second == head.head.layer; });
    if (of_layer == layers.end() || std::abs(of_layer->first - middle) > 0.001 + 0.2 * std::abs(middle)) continue;
    if (!explains(found.why.residual, head)) return {};  // something else is off there
    found.heads.push_back(&head);
  }
  return found;
}

}  // namespace bareattn::diagnosing
