// See roles.h.
#include "observe/roles.h"

#include <fmt/format.h>

#include <cmath>

namespace bareattn::observing {

std::string percent(double share) { return fmt::format("{:.0f} %", 100 * share); }

Role role_of(const Means& means, int64_t tokens) {
  const auto mean = [&](Measure measure) { return means[static_cast<int>(measure)]; };
  const RoleThresholds& limits = role_thresholds;
  const double previous = mean(Measure::previous_weight), self = mean(Measure::self_weight);
  const double first = mean(Measure::first_mass), recent = mean(Measure::recent_mass);
  const double distance = mean(Measure::mean_distance), spread = mean(Measure::normalized_entropy);
  if (previous >= limits.previous_weight) {
    return {"previous-token", previous, fmt::format("puts {} of its weight on the token before", percent(previous))};
  }
  if (self >= limits.self_weight) {
    return {"self", self, fmt::format("puts {} of its weight on the token itself", percent(self))};
  }
  if (first >= limits.first_mass) {
    return {"first-token", first, fmt::format("puts {} of its weight on the first token", percent(first))};
  }
  if (recent >= limits.recent_mass && distance <= limits.relative_distance * even_distance(tokens)) {
    return {
        "local", recent,
        fmt::format("puts {} of its weight on the last 64 tokens, {:.1f} back on average", percent(recent), distance)};
  }
  if (spread >= limits.normalized_entropy) {
    const double context = mean(Measure::effective_context);
    return {"broad", spread, fmt::format("spreads as widely as if evenly over {:.0f} tokens", context)};
  }
  const double leading = std::fmax(std::fmax(first, previous), std::fmax(self, 0.0));
  if (std::isnan(first + previous + self)) return {"mixed", 0, "has no rows to judge by"};
  return {"mixed", leading,
          fmt::format("divides its weight: {} on the first token, {} on the one before, {} on itself", percent(first),
                      percent(previous), percent(self))};
}

}  // namespace bareattn::observing
