// The simple role of a head, from its means over one text. Thresholds are documented in docs/measures.md ("Roles");
// `role_thresholds` is where they stand. A role says what a head did on this text, not what it is for.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "bareattn/observation.h"

namespace bareattn::observing {

using Means = std::array<double, measure_count>;  // by Measure

struct RoleThresholds {
  double previous_weight = 0.4;     // previous-token: at least this mean weight on the token before
  double self_weight = 0.4;         // self
  double first_mass = 0.5;          // first-token
  double recent_mass = 0.6;         // local: this mean weight on the last 64 tokens ...
  double relative_distance = 0.5;   // ... and a mean distance at most this share of an even spread's
  double normalized_entropy = 0.6;  // broad
};
inline constexpr RoleThresholds role_thresholds{};

/// Mean distance of rows [1, N) if every row spread its weight evenly: the mean of i / 2, which is N / 4.
inline double even_distance(int64_t tokens) { return static_cast<double>(tokens) / 4; }

/// 0.934 as "93 %".
std::string percent(double share);

/// The first that applies of: previous-token, self, first-token, local, broad; else mixed. NaN never applies.
Role role_of(const Means& means, int64_t tokens);

}  // namespace bareattn::observing
