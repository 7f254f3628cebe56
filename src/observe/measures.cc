// See measures.h.
#include "observe/measures.h"

#include <array>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace bareattn {

const MeasureInfo& measure_info(Measure measure) {
  static constexpr std::array<MeasureInfo, measure_count> infos{{
      {"entropy", "Entropy", "nats",
       "How spread out the weights of a token are: 0 when one earlier token gets everything, larger the more share "
       "it."},
      {"normalized_entropy", "Normalised entropy", "",
       "Entropy as a share of the most there could be at this place in the text: 0 is one token, 1 is all alike."},
      {"effective_context", "Effective context", "tokens",
       "As how many equally weighted tokens the attention counts: 1 is a single token, 100 a spread over a hundred."},
      {"max_weight", "Strongest weight", "", "The largest share that a single token gets."},
      {"max_logit", "Largest score", "",
       "The highest score before softmax; very large ones make attention brittle and are watched in training."},
      {"lse", "Log-sum-exp", "nats",
       "The logarithm of the sum of all exponentiated scores: what every weight of the row is divided by."},
      {"mean_distance", "Mean distance", "tokens", "How far back the head looks, averaged by weight."},
      {"first_mass", "First-token weight", "",
       "The share put on the very first token, where models rest attention that has nowhere to go."},
      {"self_weight", "Self weight", "", "The share a token keeps for itself."},
      {"previous_weight", "Previous-token weight", "", "The share put on the token directly before."},
      {"recent_mass", "Weight on the last 64", "", "The share put on the last 64 tokens, the token itself included."},
  }};
  const int index = static_cast<int>(measure);
  if (index < 0 || index >= measure_count) {
    throw std::invalid_argument("measure " + std::to_string(index) + ": there are " + std::to_string(measure_count));
  }
  return infos[index];
}

namespace observing {

float row_measure(Measure measure, const AttentionStatistics& s, int64_t at, int64_t row) {
  switch (measure) {
    case Measure::entropy:
      return s.entropy[at];
    case Measure::normalized_entropy:
      return row == 0 ? std::numeric_limits<float>::quiet_NaN()
                      : s.entropy[at] / static_cast<float>(std::log(static_cast<double>(row + 1)));
    case Measure::effective_context:
      return std::exp(s.entropy[at]);
    case Measure::max_weight:
      return std::exp(s.max_logit[at] - s.lse[at]);
    case Measure::max_logit:
      return s.max_logit[at];
    case Measure::lse:
      return s.lse[at];
    case Measure::mean_distance:
      return s.mean_distance[at];
    case Measure::first_mass:
      return s.first_mass[at];
    case Measure::self_weight:
      return s.self_weight[at];
    case Measure::previous_weight:
      return s.previous_weight[at];
    case Measure::recent_mass:
      return s.recent_mass[at];
  }
  return std::numeric_limits<float>::quiet_NaN();
}

}  // namespace observing
}  // namespace bareattn
