// What a transformer is, as plain data: sizes (ModelConfig), what every layer does, and what may differ from layer to
// layer. A family (src/model/families) makes it from a file's settings, weights.cc finds the tensors that it calls for,
// layer.cc runs it, the score rule (scores.h) reads its part, a trace carries that part. Nobody else knows a family.
// The defaults are a llama. Every field is read: a test changes each and sees the logits change.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "bareattn/model_config.h"
#include "bareattn/scores.h"

namespace bareattn {

enum class Norm : uint8_t { rms, layer };

/// Where a branch (attention, MLP) is normalised: what goes in, what comes out before it is added, or the sum.
enum class NormPlace : uint8_t { before, after, both, sum };

/// Which dimensions of a head rotate together: (2i, 2i + 1) or (i, i + rope_dim / 2).
enum class Pairing : uint8_t { neighbours, halves };

/// RMS norms of queries and keys before the rotation.
enum class QkNorm : uint8_t { none, per_head, whole };

enum class Nonlinearity : uint8_t { silu, gelu, gelu_tanh };

/// What may differ from layer to layer.
struct LayerArchitecture {
  ScoreRule scores;
  bool rotary = true;       // queries and keys are rotated by their positions
  float rope_base = 0;      // 0: the model's
  bool rope_scaled = true;  // by the model's RopeScaling and factors
};

struct Architecture : ModelConfig {
  Architecture() = default;
  explicit Architecture(ModelConfig config) : ModelConfig(std::move(config)) {}

  // How a token enters.
  float embedding_scale = 1;
  bool learned_positions = false;  // a vector for each position is added
  bool token_type = false;         // the vector of the first type is added
  bool embedding_norm = false;
  // Every layer.
  Norm norm = Norm::rms;
  bool norm_bias = false;
  NormPlace norm_place = NormPlace::before;
  Pairing pairing = Pairing::neighbours;
  QkNorm qk_norm = QkNorm::none;
  bool qkv_bias = false, output_bias = false, mlp_bias = false;
  Nonlinearity activation = Nonlinearity::silu;
  bool gated = true;              // f(gate) * up; else f(up)
  bool parallel = false;          // attention and MLP read the same stream
  float residual_multiplier = 1;  // of what a branch adds
  // How logits leave.
  float logit_multiplier = 1;
  float logit_softcap = 0;  // c: c tanh(x / c); 0: none
  bool tied = false;        // the unembedding is the embedding

  std::vector<LayerArchitecture> per_layer;  // [L]; empty: every layer is LayerArchitecture()

  const LayerArchitecture& layer(int layer) const {
    static const LayerArchitecture plain;
    return per_layer.empty() ? plain : per_layer.at(static_cast<size_t>(layer));
  }
};

}  // namespace bareattn
