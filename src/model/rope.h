// Rotary position embedding: the angles of every position, computed once in double and kept as f32 cosines and sines.
// Pair i of a head is (x[2i], x[2i + 1]), the pairing of GGUF llama files (the converter reorders Q and K for it);
// its angle at position p is p * base^(-2i / rope_dim) / factor_i, stretched as the file says (RopeScaling) and as the
// run asks (position_scale). YaRN: Peng et al. 2023 (2309.00071), with the ramp over pairs as in ggml.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "bareattn/model.h"

namespace bareattn::model {

class RopeTable {
 public:
  /// position_scale: what positions are divided by, beyond what the file says.
  RopeTable(const ModelConfig& config, std::span<const float> factors, double position_scale = 1);

  /// Angles for positions [0, count) exist from now on. Not thread-safe.
  void grow(int64_t count);
  /// As kernels::rotate_pairs wants them: [dim].
  const float* cosine(int64_t position) const { return cosine_.data() + position * dim_; }
  const float* sine(int64_t position) const { return sine_.data() + position * dim_; }
  int64_t dim() const { return dim_; }

 private:
  int64_t dim_;
  double size_ = 1;                   // of the cosines and sines: YaRN's attention factor
  std::vector<double> frequency_;     // [dim / 2]
  std::vector<float> cosine_, sine_;  // [positions, dim]
};

/// The tables of a model: one for each kind of layer.
class RopeTables {
 public:
  RopeTables() = default;
  RopeTables(const Architecture& architecture, std::span<const float> factors, double position_scale = 1);
  void grow(int64_t count);
  const RopeTable& of(int layer) const { return tables_[of_layer_[static_cast<size_t>(layer)]]; }

 private:
  std::vector<RopeTable> tables_;
  std::vector<size_t> of_layer_;
};

}  // namespace bareattn::model
