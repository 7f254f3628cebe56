// The hypothesis that the weights on one span of keys were multiplied by one factor (0: cut). All spans of up to 64
// keys are tried, by prefix sums: for a row with weights w that Q and K give and LSE, the factor f must make
// sum w + (f - 1) sum of w over the span equal to one. See hypothesis.h.
#include <algorithm>
#include <cmath>

#include "diagnose/hypothesis.h"

namespace bareattn::diagnosing {
namespace {

constexpr int64_t longest_span = 64;

struct Prefix {
  double all = 0;            // sum of weights over what may be seen
  std::vector<double> upto;  // [N + 1]
  double span(int64_t a, int64_t b) const { return upto[static_cast<size_t>(b)] - upto[static_cast<size_t>(a)]; }
};

double residual_of(const Prefix& row, int64_t a, int64_t b, double factor) {
  return std::log(std::max(1e-20, row.all + (factor - 1) * row.span(a, b)));
}

// The factor that fits: the median over the rows that have weight there, each by its own equation.
double factor_of(const std::vector<Prefix>& rows, int64_t a, int64_t b, std::vector<double>& scratch) {
  scratch.clear();
  for (const Prefix& row : rows)
    if (const double in = row.span(a, b); in > 1e-3) scratch.push_back(std::max(0.0, 1 + (1 - row.all) / in));
  if (scratch.size() < 4) return 1;
  const auto middle = scratch.begin() + static_cast<int64_t>(scratch.size() / 2);
  std::nth_element(scratch.begin(), middle, scratch.end());
  return *middle;
}

}  // namespace

Explanation explain_span(const Group& group, const Evidence& evidence) {
  const auto n = static_cast<int64_t>(evidence.observation->tokens().size());
  std::vector<Prefix> rows;
  for (const HeadEvidence* head : spread(group, most_fitted)) {
    for (const RowEvidence& row : head->rows) {
      Prefix& prefix = rows.emplace_back();
      prefix.upto.push_back(0);
      for (int64_t j = 0; j < n; ++j) {
        const bool seen = may_see(evidence.expectations, row.row, j);
        prefix.all += seen ? std::exp(static_cast<double>(row.logits[static_cast<size_t>(j)] - row.lse)) : 0;
        prefix.upto.push_back(prefix.all);
      }
    }
  }
  double least = 1e300, factor = 1;
  int64_t begin = 0, end = 1;
  std::vector<double> scratch;
  for (int64_t a = 0; a < n; ++a) {
    for (int64_t b = a + 1; b <= std::min(n, a + longest_span); ++b) {
      const double f = factor_of(rows, a, b, scratch);
      double sum = 0;
      for (const Prefix& row : rows) {
        const double r = residual_of(row, a, b, f);
        sum += std::min(1.0, r * r);
        if (sum > least) break;
      }
      if (sum < least) least = sum, factor = f, begin = a, end = b;
    }
  }
  Explanation why;
  why.cost = least / static_cast<double>(rows.size());
  why.value = factor;
  why.token = begin;
  why.last = end - 1;
  const bool one = end - begin == 1;
  if (factor < 0.05 && begin == 0 && end <= 4) {
    why.check = "sink-lost";
    why.sentence = "The first token, where heads rest their weight, is not seen by {heads}.";
    why.advice = "Keep the first tokens visible: a window needs them beside it, and no mask may hide key 0.";
  } else if (factor < 1) {
    why.check = "keys-unavailable";
    why.sentence =
        one ? "Token {at} (\u201c{token}\u201d) is taken from {heads}: its weight is multiplied by {value:.2f}."
            : "Tokens {at} to {last} are taken from {heads}: their weight is multiplied by {value:.2f}.";
    why.advice = "Something masks or lowers these keys: check masks, evictions and biases.";
  } else if (one) {
    why.check = "peripheral-made-central";
    why.sentence =
        "Token {at} (\u201c{token}\u201d) is made central in {heads}: its weight is multiplied by {value:.1f} "
        "beyond what query and key say.";
    why.advice = "Remove the bias on this key; what it takes is taken from all others.";
  } else {
    why.check = "noise-as-signal";
    why.sentence = "Tokens {at} to {last} are given {value:.1f} times the weight that query and key say, in {heads}.";
    why.advice = "Remove the bias on this span; what it takes is taken from all others.";
  }
  why.residual = [&evidence, begin, end, factor](const HeadEvidence&, const RowEvidence& row) {
    double all = 0, in = 0;
    for (int64_t j = 0; j <= row.row; ++j) {
      if (!may_see(evidence.expectations, row.row, j)) continue;
      const double w = std::exp(static_cast<double>(row.logits[static_cast<size_t>(j)] - row.lse));
      all += w;
      in += j >= begin && j < end ? w : 0;
    }
    return std::log(std::max(1e-20, all + (factor - 1) * in));
  };
  return why;
}

}  // namespace bareattn::diagnosing
