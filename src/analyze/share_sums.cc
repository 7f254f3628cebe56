// See share_sums.h.
#include "analyze/share_sums.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "observe/measures.h"

namespace bareattn::observing {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

double mean_of(double sum, int64_t rows) { return rows == 0 ? nan : sum / static_cast<double>(rows); }

}  // namespace

ShareSums::ShareSums(std::vector<SpanSet> sets, int64_t length)
    : sets_(std::move(sets)),
      mass_(sets_.size()),
      flow_(sets_.size() * sets_.size()),
      seeing_(sets_.size()),
      rows_from_(sets_.size()) {
  for (const SpanSet& set : sets_) {
    std::vector<bool>& in = in_.emplace_back(static_cast<size_t>(length));
    for (const NamedSpan& range : set.ranges)
      for (int64_t j = range.begin; j < range.end; ++j) in[static_cast<size_t>(j)] = true;
  }
}

void ShareSums::add(const float* shares, int64_t row) {
  ++rows_;
  add_measures(shares, row);
  add_spans(shares, row);
}

void ShareSums::add_measures(const float* shares, int64_t row) {
  double entropy = 0, largest = 0, distance = 0, recent = 0, squares = 0, far_squares = 0, all = 0;
  for (int64_t j = 0; j <= row; ++j) {
    const double p = static_cast<double>(shares[j]), away = static_cast<double>(row - j);
    all += p;
    if (p > 0) entropy -= p * std::log(p);
    largest = std::max(largest, p);
    distance += p * away;
    far_squares += p * away * away;
    squares += p * p;
    if (row - j < recent_window) recent += p;
  }
  if (std::isnan(all)) entropy = largest = nan;  // comparisons hide it
  const auto add = [&](Measure measure, double value) { sums_[static_cast<size_t>(measure)] += value; };
  add(Measure::entropy, entropy);
  add(Measure::normalized_entropy, entropy / std::log(static_cast<double>(row + 1)));
  add(Measure::effective_context, std::exp(entropy));
  add(Measure::max_weight, largest);
  add(Measure::max_logit, nan);
  add(Measure::lse, nan);
  add(Measure::mean_distance, distance);
  add(Measure::first_mass, static_cast<double>(shares[0]));
  add(Measure::self_weight, static_cast<double>(shares[row]));
  add(Measure::previous_weight, static_cast<double>(shares[row - 1]));
  add(Measure::recent_mass, recent);
  add(Measure::participation, 1 / squares);
  const double spread = far_squares - distance * distance;
  add(Measure::distance_spread, std::sqrt(spread < 0 ? 0.0 : spread));
}

void ShareSums::add_spans(const float* shares, int64_t row) {
  for (size_t to = 0; to < sets_.size(); ++to) {
    double mass = 0;
    for (const NamedSpan& range : sets_[to].ranges)
      for (int64_t j = range.begin; j < std::min<int64_t>(range.end, row + 1); ++j)
        mass += static_cast<double>(shares[j]);
    if (!sets_[to].ranges.empty() && row >= sets_[to].ranges.front().begin) {
      mass_[to] += mass;
      ++seeing_[to];
    }
    for (size_t from = 0; from < sets_.size(); ++from)
      if (in_[from][static_cast<size_t>(row)]) flow_[from * sets_.size() + to] += mass;
  }
  for (size_t from = 0; from < sets_.size(); ++from) rows_from_[from] += in_[from][static_cast<size_t>(row)] ? 1 : 0;
}

void ShareSums::finish(HeadSweep& head) const {
  for (size_t m = 0; m < sums_.size(); ++m) head.of_shares[m] = mean_of(sums_[m], rows_);
  for (size_t to = 0; to < sets_.size(); ++to) head.spans.push_back(mean_of(mass_[to], seeing_[to]));
  for (size_t at = 0; at < flow_.size(); ++at) head.flow.push_back(mean_of(flow_[at], rows_from_[at / sets_.size()]));
}

}  // namespace bareattn::observing
