// The largest weights of a row: what top_keys() of every Observation is made of.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

namespace bareattn::observing {

/// (key, weight) of at most `count` keys, largest weight first, the lower key on a tie; NaN comes first, so that it
/// shows. std::invalid_argument for a negative count.
std::vector<std::pair<int32_t, float>> strongest(const std::vector<float>& weights, int count);

}  // namespace bareattn::observing
