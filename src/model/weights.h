// The weights of a llama-family model, packed for the projections. Q, K and V are one matrix, and so are gate and up:
// one pass over the activations each. Weights are dequantised to f32 row by row, then packed as f32 or bf16.
// Every tensor of the file is accounted for: a missing one, one of another shape, or one that this forward pass would
// not use is refused. Where to go next: layer.h, which uses them.
#pragma once
#include <string>
#include <vector>

#include "bareattn/model.h"
#include "base/thread_pool.h"
#include "files/gguf.h"
#include "kernels/gemm.h"

namespace bareattn::model {

struct LayerWeights {
  std::vector<float> attention_norm;  // [W]
  kernels::PackedMatrix qkv;          // [(Hq + 2 Hkv) D, W]: rows of Q, then K, then V
  kernels::PackedMatrix output;       // [W, Hq D]
  std::vector<float> mlp_norm;        // [W]
  kernels::PackedMatrix gate_up;      // [up_begin + F, W]: gate, zeros up to a panel's edge, up
  kernels::PackedMatrix down;         // [W, F]
};

struct Weights {
  /// The embedding as stored, [V, W]; rows become f32 when they are looked up.
  std::vector<std::byte> embedding;
  TensorType embedding_type = TensorType::f32;
  std::vector<LayerWeights> layers;
  std::vector<float> final_norm;      // [W]
  kernels::PackedMatrix unembedding;  // [V, W]; tied models: the embedding
  std::vector<float> rope_factors;    // [rope_dim / 2]: frequencies are divided by them; empty: all 1
  int64_t up_begin = 0;               // F up to a multiple of a panel
  std::vector<std::string> warnings;  // odd, but no reason to refuse: "tensor 'x' holds NaN or infinity"
};

Weights load_weights(const GgufFile& file, const ModelConfig& config, Precision precision, base::ThreadPool& pool);

/// Row `token` of the embedding, to [W].
void look_up(const Weights& weights, int64_t width, int32_t token, float* row);

}  // namespace bareattn::model
