// See measures.h.
#include "observe/measures.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "bareattn/error.h"
#include "base/float_environment.h"

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
      {"participation", "Participation", "tokens",
       "As how many equally weighted tokens the attention counts when strong ones count more: 1 / the sum of squares."},
      {"distance_spread", "Distance spread", "tokens",
       "How far from its mean distance the head looks: small when it always looks equally far back."},
  }};
  const int index = static_cast<int>(measure);
  if (index < 0 || index >= measure_count) {
    throw std::invalid_argument("measure " + std::to_string(index) + ": there are " + std::to_string(measure_count));
  }
  return infos[index];
}

bool MeasureGroups::has(Measure measure) const {
  const std::string source = observing::source_of(measure);
  for (const observing::RowArray& array : observing::row_arrays())
    if (source == array.name) return array.group == nullptr || this->*array.group;
  return false;
}

std::vector<float> Observation::span_mass(int set, HeadId) const {
  throw std::invalid_argument("span set " + std::to_string(set) + ": no spans were measured");
}

namespace {

[[noreturn]] void not_measured(const char* what) { throw InputError(std::string("'") + what + "' was not measured"); }
[[noreturn]] void not_kept() { throw std::invalid_argument("Q and K were not kept: no cell can be made again"); }

}  // namespace

ScoreRule Observation::score_rule(int layer) const {
  return ScoreRules(model().architecture(), {}, nullptr, 0).layer(layer);
}
std::vector<float> Observation::carried(HeadId) const { not_measured("values"); }
std::vector<float> Observation::output_cosine(int) const { not_measured("agreement"); }
std::vector<float> Observation::tile(HeadId, TokenRange, TokenRange) const { not_kept(); }
std::vector<float> Observation::scores(HeadId, TokenRange, TokenRange) const { not_kept(); }

double mean_span_mass(const Observation& observation, int set, HeadId head) {
  const base::DefaultFloatEnvironment environment;
  const std::vector<float> mass = observation.span_mass(set, head);
  const auto ranges = observation.span_sets()[static_cast<size_t>(set)].ranges;
  if (ranges.empty()) return std::numeric_limits<double>::quiet_NaN();
  const auto first = static_cast<size_t>(std::max<int64_t>(1, ranges.front().begin));
  double sum = 0;
  for (size_t i = first; i < mass.size(); ++i) sum += static_cast<double>(mass[i]);
  return base::settled(first < mass.size() ? sum / static_cast<double>(mass.size() - first)
                                           : std::numeric_limits<double>::quiet_NaN());
}

namespace observing {

const std::vector<RowArray>& row_arrays() {
  using S = AttentionStatistics;
  using G = MeasureGroups;
  static const std::vector<RowArray> arrays{{"lse", &S::lse, nullptr},
                                            {"max_logit", &S::max_logit, nullptr},
                                            {"row_sum", &S::row_sum, nullptr},
                                            {"entropy", &S::entropy, &G::rows},
                                            {"sum_squares", &S::sum_squares, &G::rows},
                                            {"mean_distance", &S::mean_distance, &G::distance},
                                            {"first_mass", &S::first_mass, &G::spans},
                                            {"self_weight", &S::self_weight, &G::spans},
                                            {"previous_weight", &S::previous_weight, &G::spans},
                                            {"recent_mass", &S::recent_mass, &G::distance},
                                            {"distance_spread", &S::distance_spread, &G::spread},
                                            {"max_key", nullptr, &G::rows}};
  return arrays;
}

std::vector<RowArray> row_arrays(const MeasureGroups& groups) {
  std::vector<RowArray> kept;
  for (const RowArray& array : row_arrays())
    if (array.group == nullptr || groups.*array.group) kept.push_back(array);
  return kept;
}

const char* source_of(Measure measure) {
  switch (measure) {
    case Measure::max_weight:
    case Measure::max_logit:
      return "max_logit";
    case Measure::normalized_entropy:
    case Measure::effective_context:
      return "entropy";
    case Measure::participation:
      return "sum_squares";
    default:
      return measure_info(measure).id;
  }
}

const char* group_of(const std::string& name) {
  using G = MeasureGroups;
  for (const RowArray& array : row_arrays()) {
    if (name != array.name) continue;
    if (array.group == &G::distance) return "distance";
    if (array.group == &G::spans) return "spans";
    return array.group == &G::spread ? "spread" : "rows";
  }
  if (name == "received") return "columns";
  if (name == "carried") return "values";
  if (name == "output_cosine") return "agreement";
  return name == "span_mass" ? "spans" : "map";
}

std::vector<float> span_columns(const std::vector<SpanSet>& sets, int64_t length) {
  std::vector<float> columns(static_cast<size_t>(length) * sets.size());
  for (size_t s = 0; s < sets.size(); ++s)
    for (const NamedSpan& range : sets[s].ranges)
      for (int64_t j = range.begin; j < range.end; ++j) columns[static_cast<size_t>(j) * sets.size() + s] = 1.0F;
  return columns;
}

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
    case Measure::participation:
      return 1.0F / s.sum_squares[at];
    case Measure::distance_spread:
      return s.distance_spread[at];
  }
  return std::numeric_limits<float>::quiet_NaN();
}

}  // namespace observing
}  // namespace bareattn
