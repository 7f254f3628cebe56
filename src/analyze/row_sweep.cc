// See row_sweep.h.
#include "analyze/row_sweep.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <stdexcept>

namespace bareattn {

const MeasureInfo& swept_info(Swept measure) {
  static constexpr std::array<MeasureInfo, swept_count> infos{{
      {"keys_90", "Keys for 90 %", "tokens", "The fewest tokens that hold 90 % of the weight together."},
      {"min_logit", "Smallest score", "", "The lowest score before softmax among the tokens that are seen."},
      {"logit_mean", "Mean score", "", "The scores before softmax, averaged over the tokens that are seen."},
      {"logit_deviation", "Spread of scores", "", "Their standard deviation: near 0 the head cannot choose."},
      {"logit_skewness", "Skewness of scores", "", "Above 0 a few tokens stand out upwards; below 0, downwards."},
      {"logit_kurtosis", "Kurtosis of scores", "",
       "How rare and extreme outliers are, 0 for a normal distribution (excess kurtosis)."},
      {"weight_ceiling", "Weight ceiling", "",
       "The largest weight one token could have with scores between these extremes, at this place in the text."},
      {"log_self", "Log self weight", "nats", "The logarithm of the share a token keeps for itself."},
      {"duplicate_weight", "Weight on copies", "",
       "The share put on earlier copies of the token, where there are any."},
      {"induction_weight", "Weight after copies", "",
       "The share put on the tokens that followed earlier copies of the token, where there are any."},
  }};
  const int index = static_cast<int>(measure);
  if (index < 0 || index >= swept_count) {
    throw std::invalid_argument("swept measure " + std::to_string(index) + ": there are " +
                                std::to_string(swept_count));
  }
  return infos[static_cast<size_t>(index)];
}

bool SweepGroups::has(Swept measure) const {
  if (measure == Swept::keys_90) return coverage;
  return measure == Swept::duplicate_weight || measure == Swept::induction_weight ? repeats : scores;
}

namespace observing {

Repeats::Repeats(const std::vector<int32_t>& tokens) : begin_(tokens.size()), rank_(tokens.size()) {
  std::map<int32_t, std::vector<int32_t>> of;
  for (size_t i = 0; i < tokens.size(); ++i) {
    auto& places = of[tokens[i]];
    rank_[i] = static_cast<int32_t>(places.size());
    places.push_back(static_cast<int32_t>(i));
  }
  for (const auto& [token, places] : of) {
    for (const int32_t place : places) begin_[static_cast<size_t>(place)] = static_cast<int32_t>(places_.size());
    places_.insert(places_.end(), places.begin(), places.end());
  }
}

std::span<const int32_t> Repeats::duplicates(int64_t row) const {
  const auto at = static_cast<size_t>(row);
  return std::span(places_).subspan(static_cast<size_t>(begin_[at]), static_cast<size_t>(rank_[at]));
}

std::vector<int32_t> Repeats::followers(int64_t row) const {
  const auto before = duplicates(row);
  std::vector<int32_t> all(before.begin(), before.end());
  for (int32_t& place : all) ++place;
  return all;
}

// By halving: the largest part that still lacks 90 % is kept whole, the part in which it is reached is halved again.
void RowSweep::coverage(const float* weights, int64_t row) {
  constexpr double wanted = 0.9;
  scratch_.assign(weights, weights + row + 1);
  if (std::any_of(scratch_.begin(), scratch_.end(), [](float w) { return std::isnan(w); }))
    return put(Swept::keys_90, std::numeric_limits<double>::quiet_NaN());
  auto begin = scratch_.begin(), end = scratch_.end();
  double held = 0;
  while (end - begin > 1) {
    const auto middle = begin + (end - begin) / 2;
    std::nth_element(begin, middle, end, std::greater<>());
    double upper = 0;
    for (auto w = begin; w != middle; ++w) upper += static_cast<double>(*w);
    if (held + upper >= wanted) {
      end = middle;
    } else {
      held += upper;
      begin = middle;
    }
  }
  put(Swept::keys_90, static_cast<double>(begin - scratch_.begin() + 1));
}

void RowSweep::scores(const float* scores, int64_t row, double lse) {
  // What is not seen (a window's far keys) is -inf and no score.
  constexpr float unseen = -std::numeric_limits<float>::infinity();
  double sum = 0, least = std::numeric_limits<double>::infinity(), most = -least, count = 0;
  for (int64_t j = 0; j <= row; ++j) {
    if (scores[j] == unseen) continue;
    const double s = static_cast<double>(scores[j]);
    sum += s, count += 1;
    least = std::min(s, least), most = std::max(s, most);
  }
  if (std::isnan(sum)) least = most = sum;
  const double mean = sum / count;
  double second = 0, third = 0, fourth = 0;
  for (int64_t j = 0; j <= row; ++j) {
    if (scores[j] == unseen) continue;
    const double d = static_cast<double>(scores[j]) - mean, square = d * d;
    second += square, third += square * d, fourth += square * square;
  }
  second /= count, third /= count, fourth /= count;
  put(Swept::min_logit, least);
  put(Swept::logit_mean, mean);
  put(Swept::logit_deviation, std::sqrt(second));
  put(Swept::logit_skewness, third / (second * std::sqrt(second)));
  put(Swept::logit_kurtosis, fourth / (second * second) - 3);
  put(Swept::weight_ceiling, 1 / (1 + (count - 1) * std::exp(least - most)));
  put(Swept::log_self, static_cast<double>(scores[row]) - lse);
}

void RowSweep::repeats(const float* weights, int64_t row, const Repeats& repeats) {
  const auto sum = [&](const auto& places) {
    double all = 0;
    for (const int32_t j : places) all += static_cast<double>(weights[j]);
    return all;
  };
  if (repeats.duplicates(row).empty()) return;
  put(Swept::duplicate_weight, sum(repeats.duplicates(row)));
  put(Swept::induction_weight, sum(repeats.followers(row)));
}

}  // namespace observing
}  // namespace bareattn
