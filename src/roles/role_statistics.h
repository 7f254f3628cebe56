// The statistics of roles: bootstrap intervals and split-half rank correlation. Pure.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "bareattn/head_roles.h"
#include "base/random.h"

namespace bareattn::observing {

inline constexpr int bootstrap_draws = 1000;

/// `bootstrap_draws` draws of `samples` indices with replacement, one after the other.
std::vector<int32_t> bootstrap_indices(int samples, base::SplitMix64 random);
/// Mean of the values and the 2.5 and 97.5 percentiles of the draws' means (linear between order statistics). NaN for
/// no values.
RoleScore bootstrap_score(std::span<const double> values, std::span<const int32_t> indices);

/// Spearman's rank correlation, ties at their mean rank; NaN where one side is constant or fewer than two.
double rank_correlation(std::span<const double> a, std::span<const double> b);

}  // namespace bareattn::observing
