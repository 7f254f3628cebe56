// The weights that an Architecture calls for, packed for the projections. Q, K and V are one matrix, and so are gate
// and up: one pass over the activations each. Weights are dequantised to f32 row by row, then packed as f32 or bf16.
// Every tensor of the file is accounted for: a missing one, one of another shape, or one that the architecture does not
// use is refused. Where to go next: layer.h, which uses them.
#pragma once
#include <string>
#include <vector>

#include "bareattn/model.h"
#include "base/thread_pool.h"
#include "kernels/gemm.h"
#include "model/tensor_source.h"

namespace bareattn::model {

/// Of a norm; empty: the architecture has none there.
struct NormWeights {
  std::vector<float> weight, bias;  // [width]
};

/// What the architecture does not call for is empty.
struct LayerWeights {
  NormWeights attention_norm, attention_post_norm;  // [W]; of NormPlace::sum the latter
  kernels::PackedMatrix qkv;                        // [(Hq + 2 Hkv) D, W]: rows of Q, then K, then V
  std::vector<float> qkv_bias;
  NormWeights q_norm, k_norm;    // [D], or [Hq D] and [Hkv D]
  kernels::PackedMatrix output;  // [W, Hq D]
  std::vector<float> output_bias;
  NormWeights mlp_norm, mlp_post_norm;  // [W]
  kernels::PackedMatrix gate_up;        // [up_begin + F, W]: gate, zeros up to a panel's edge, up; not gated: [F, W]
  std::vector<float> gate_up_bias;
  kernels::PackedMatrix down;  // [W, F]
  std::vector<float> down_bias;
};

struct Weights {
  /// The embedding as stored, [V, W]; rows become f32 when they are looked up.
  std::vector<std::byte> embedding;
  TensorType embedding_type = TensorType::f32;
  std::vector<LayerWeights> layers;
  std::vector<float> positions;       // [context, W]: learned
  std::vector<float> token_type;      // [W]
  NormWeights embedding_norm;         // [W]
  NormWeights final_norm;             // [W]
  kernels::PackedMatrix unembedding;  // [V, W]; tied models: the embedding
  std::vector<float> rope_factors;    // [rope_dim / 2]: frequencies are divided by them; empty: all 1
  int64_t up_begin = 0;               // F up to a multiple of a panel
  std::vector<std::string> warnings;  // odd, but no reason to refuse: "tensor 'x' holds NaN or infinity"
};

Weights load_weights(const TensorSource& source, const Architecture& architecture, Precision precision,
                     base::ThreadPool& pool);

/// Row `token` of the embedding, to [W].
void look_up(const Weights& weights, int64_t width, int32_t token, float* row);

}  // namespace bareattn::model
