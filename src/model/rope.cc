// See rope.h. f32 angles would be off by 2^-24 of the angle: 1e-4 rad at position 2,000, which shows in the logits.
#include "model/rope.h"

#include <algorithm>
#include <cmath>

namespace bareattn::model {

RopeTable::RopeTable(int64_t dim, double base, std::span<const float> factors) : dim_(dim) {
  for (int64_t i = 0; i < dim / 2; ++i) {
    const double factor = factors.empty() ? 1.0 : factors[static_cast<size_t>(i)];
    frequency_.push_back(std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(dim)) / factor);
  }
}

void RopeTable::grow(int64_t count) {
  const auto have = static_cast<int64_t>(cosine_.size()) / std::max<int64_t>(dim_, 1);
  if (count <= have) return;
  cosine_.resize(static_cast<size_t>(count * dim_));
  sine_.resize(static_cast<size_t>(count * dim_));
  for (int64_t position = have; position < count; ++position) {
    for (int64_t i = 0; i < dim_ / 2; ++i) {
      const double angle = static_cast<double>(position) * frequency_[static_cast<size_t>(i)];
      const auto c = static_cast<float>(std::cos(angle));
      const auto s = static_cast<float>(std::sin(angle));
      const auto at = static_cast<size_t>(position * dim_ + 2 * i);
      cosine_[at] = cosine_[at + 1] = c;
      sine_[at] = -s;
      sine_[at + 1] = s;
    }
  }
}

}  // namespace bareattn::model
