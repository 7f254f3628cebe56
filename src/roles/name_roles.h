// From scores to names, by the thresholds of roles.h. Pure. The first recipe in the order of Recipe that reaches its
// threshold names the head; NaN never applies.
#pragma once
#include <array>
#include <string>

#include "bareattn/head_roles.h"

namespace bareattn::observing {

std::string role_name(const std::array<double, recipe_count>& means);
/// Fills name, sure, all and evidence from the scores.
void name_role(HeadRole& role);

}  // namespace bareattn::observing
