// See strongest.h.
#include "observe/strongest.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace bareattn::observing {

std::vector<std::pair<int32_t, float>> strongest(const std::vector<float>& weights, int count) {
  if (count < 0) throw std::invalid_argument("count: needs 0 or more, got " + std::to_string(count));
  std::vector<std::pair<int32_t, float>> keys(weights.size());
  for (size_t j = 0; j < weights.size(); ++j) keys[j] = {static_cast<int32_t>(j), weights[j]};
  const size_t kept = std::min(keys.size(), static_cast<size_t>(count));
  const auto value = [](float w) { return std::isnan(w) ? INFINITY : w; };
  std::partial_sort(keys.begin(), keys.begin() + static_cast<int64_t>(kept), keys.end(),
                    [&](const auto& a, const auto& b) {
                      const float wa = value(a.second), wb = value(b.second);
                      return wa != wb ? wa > wb : a.first < b.first;
                    });
  keys.resize(kept);
  return keys;
}

}  // namespace bareattn::observing
