// The simple role of a head, from its means over one text, and the thresholds of all roles. They are documented in
// docs/measures.md ("Roles") and docs/roles.md; `role_thresholds` is where they stand. A role by one text says what a
// head did on this text, not what it is for. Next: recipes.h, which tests heads on texts made for it.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "bareattn/observation.h"

namespace bareattn::observing {

using Means = std::array<double, measure_count>;  // by Measure

/// Every threshold of every role: of role_of() below, which judges one text, and of the recipes (head_roles.h). Where
/// both know a role they share its threshold.
struct RoleThresholds {
  double previous_weight = 0.4;     // previous-token: at least this mean weight on the token before
  double self_weight = 0.4;         // self
  double first_mass = 0.5;          // first-token, on one text
  double recent_mass = 0.6;         // local: this mean weight on the last 64 tokens ...
  double relative_distance = 0.5;   // ... and, on one text, a mean distance at most this share of an even spread's
  double normalized_entropy = 0.6;  // broad
  // Of the recipes alone.
  double induction = 0.4;
  double duplicate = 0.4;
  double positional = 0.9;  // Voita et al. 2019: the strongest key stands at one distance in 90 % of the rows
  double retrieval = 0.1;   // Wu et al. 2024
  double copying = 0.2;     // Wang et al. 2022: an average head stays below it
  double sink = 0.3;        // Gu et al. 2024
};
inline constexpr RoleThresholds role_thresholds{};

/// Mean distance of rows [1, N) if every row spread its weight evenly: the mean of i / 2, which is N / 4.
inline double even_distance(int64_t tokens) { return static_cast<double>(tokens) / 4; }

/// 0.934 as "93 %".
std::string percent(double share);

/// The first that applies of: previous-token, self, first-token, local, broad; else mixed. NaN never applies.
Role role_of(const Means& means, int64_t tokens);

}  // namespace bareattn::observing
