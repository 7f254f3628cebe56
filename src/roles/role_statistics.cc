// See role_statistics.h.
#include "roles/role_statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace bareattn::observing {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

double quantile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

std::vector<double> ranks(std::span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> rank(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (size_t i = begin; i < end; ++i) rank[order[i]] = static_cast<double>(begin + end - 1) / 2;
    begin = end;
  }
  return rank;
}

}  // namespace

std::vector<int32_t> bootstrap_indices(int samples, base::SplitMix64 random) {
  std::vector<int32_t> indices(static_cast<size_t>(samples) * bootstrap_draws);
  for (int32_t& i : indices) i = static_cast<int32_t>(random.below(samples));
  return indices;
}

RoleScore bootstrap_score(std::span<const double> values, std::span<const int32_t> indices) {
  if (values.empty()) return {nan, nan, nan};
  const size_t count = values.size();
  std::vector<double> means;
  for (size_t first = 0; first + count <= indices.size(); first += count) {
    double sum = 0;
    for (size_t i = 0; i < count; ++i) sum += values[static_cast<size_t>(indices[first + i])];
    means.push_back(sum / static_cast<double>(count));
  }
  std::sort(means.begin(), means.end());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(count);
  return {mean, std::min(mean, quantile(means, 0.025)), std::max(mean, quantile(means, 0.975))};
}

double rank_correlation(std::span<const double> a, std::span<const double> b) {
  const auto is_nan = [](double value) { return std::isnan(value); };
  if (a.size() != b.size() || a.size() < 2 || std::any_of(a.begin(), a.end(), is_nan) ||
      std::any_of(b.begin(), b.end(), is_nan)) {
    return nan;
  }
  const auto x = ranks(a), y = ranks(b);
  const double centre = static_cast<double>(a.size() - 1) / 2;
  double xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xy += (x[i] - centre) * (y[i] - centre);
    xx += (x[i] - centre) * (x[i] - centre);
    yy += (y[i] - centre) * (y[i] - centre);
  }
  return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : nan;
}

}  // namespace bareattn::observing
