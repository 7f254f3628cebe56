// See rope.h. f32 angles would be off by 2^-24 of the angle: 1e-4 rad at position 2,000, which shows in the logits.
#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace bareattn::model {

namespace {

// How far pair i of `dim / 2` is left alone, 1 for fast pairs to 0 for slow ones.
class YarnRamp {
 public:
  YarnRamp(const RopeScaling& scaling, double dim, double base) {
    const auto pair_with = [&](double turns) {  // the pair that turns so often within the original context
      return dim * std::log(scaling.original_context / (turns * 2 * std::numbers::pi)) / (2 * std::log(base));
    };
    low_ = std::max(0.0, std::floor(pair_with(scaling.beta_fast)));
    high_ = std::min(dim - 1, std::ceil(pair_with(scaling.beta_slow)));
  }
  double operator()(int64_t pair) const {
    return 1 - std::clamp((static_cast<double>(pair) - low_) / std::max(0.001, high_ - low_), 0.0, 1.0);
  }

 private:
  double low_, high_;
};

}  // namespace

RopeTable::RopeTable(const ModelConfig& config, std::span<const float> factors, double position_scale)
    : dim_(config.rope_dim) {
  const RopeScaling& scaling = config.rope_scaling;
  const bool yarn = scaling.type == RopeScaling::Type::yarn;
  const double stretch = scaling.type == RopeScaling::Type::none ? 1.0 : scaling.factor;
  const auto dim = static_cast<double>(dim_);
  const YarnRamp ramp(scaling, dim, config.rope_base);
  size_ = scaling.attention_factor * (yarn ? 1 + 0.1 * std::log(stretch) : 1.0);
  for (int64_t i = 0; i < dim_ / 2; ++i) {
    const double factor = factors.empty() ? 1.0 : factors[static_cast<size_t>(i)];
    const double own = std::pow(static_cast<double>(config.rope_base), -2.0 * static_cast<double>(i) / dim) / factor;
    const double left = yarn ? ramp(i) : 0;
    frequency_.push_back((own / stretch * (1 - left) + own * left) / position_scale);
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
      const auto c = static_cast<float>(size_ * std::cos(angle));
      const auto s = static_cast<float>(size_ * std::sin(angle));
      const auto at = static_cast<size_t>(position * dim_ + 2 * i);
      cosine_[at] = cosine_[at + 1] = c;
      sine_[at] = -s;
      sine_[at + 1] = s;
    }
  }
}

RopeTables::RopeTables(const Architecture& architecture, std::span<const float> factors, double position_scale) {
  std::vector<std::pair<float, bool>> kinds;  // base, scaled
  for (int i = 0; i < architecture.layers; ++i) {
    const LayerArchitecture& layer = architecture.layer(i);
    const std::pair kind{layer.rope_base > 0 ? layer.rope_base : architecture.rope_base, layer.rope_scaled};
    const auto at = std::find(kinds.begin(), kinds.end(), kind);
    of_layer_.push_back(static_cast<size_t>(at - kinds.begin()));
    if (at != kinds.end()) continue;
    kinds.push_back(kind);
    ModelConfig config = architecture;
    config.rope_base = kind.first;
    if (!kind.second) config.rope_scaling = {};
    tables_.emplace_back(config, kind.second ? factors : std::span<const float>(), position_scale);
  }
}

void RopeTables::grow(int64_t count) {
  for (RopeTable& table : tables_) table.grow(count);
}

}  // namespace bareattn::model
