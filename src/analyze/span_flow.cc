// Measures made of the weight on named spans (observation.h): how spans look at each other, lookback ratio, focus
// score.
#include <limits>

#include "bareattn/observation.h"
#include "base/float_environment.h"

namespace bareattn {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

template <class Body>
void for_each_row(const SpanSet& set, const Body& body) {
  for (const NamedSpan& range : set.ranges)
    for (int64_t i = range.begin; i < range.end; ++i) body(i);
}

}  // namespace

double span_flow(const Observation& observation, int from, int to, HeadId head) {
  const base::DefaultFloatEnvironment environment;
  const std::vector<float> mass = observation.span_mass(to, head);
  (void)observation.span_mass(from, head);  // refuses
  const SpanSet rows = observation.span_sets()[static_cast<size_t>(from)];
  double sum = 0;
  for_each_row(rows, [&](int64_t i) { sum += static_cast<double>(mass[static_cast<size_t>(i)]); });
  return base::settled(rows.tokens == 0 ? nan : sum / static_cast<double>(rows.tokens));
}

double lookback_ratio(const Observation& observation, int context, int fresh, HeadId head) {
  const base::DefaultFloatEnvironment environment;
  const std::vector<float> on_context = observation.span_mass(context, head),
                           on_fresh = observation.span_mass(fresh, head);
  const auto sets = observation.span_sets();
  const SpanSet &before = sets[static_cast<size_t>(context)], &rows = sets[static_cast<size_t>(fresh)];
  double sum = 0, seen = 0;
  for_each_row(rows, [&](int64_t i) {
    seen += 1;
    const double c = static_cast<double>(on_context[static_cast<size_t>(i)]) / static_cast<double>(before.tokens);
    const double f = static_cast<double>(on_fresh[static_cast<size_t>(i)]) / seen;
    sum += c / (c + f);
  });
  return base::settled(seen == 0 || before.tokens == 0 ? nan : sum / seen);
}

double focus_score(const Observation& observation, int instruction, int data, HeadId head) {
  const base::DefaultFloatEnvironment environment;
  const double a = static_cast<double>(observation.span_mass(instruction, head).back());
  const double b = static_cast<double>(observation.span_mass(data, head).back());
  return base::settled(a / (a + b));
}

}  // namespace bareattn
