// The sizes of a model and what its file says of itself: the part of an Architecture that pages, traces and JSON name.
#pragma once
#include <cstdint>
#include <string>

namespace bareattn {

/// How the file says that rotary positions are stretched past the length of pre-training; done as it says at any
/// length.
struct RopeScaling {
  enum class Type : uint8_t { none, linear, yarn };
  Type type = Type::none;
  float factor = 1;            // positions are divided by it (yarn: those of slow pairs; fast pairs are left)
  int original_context = 0;    // yarn: the length of pre-training
  float attention_factor = 1;  // yarn: Q and K are multiplied by it * (1 + 0.1 ln factor)
  float beta_fast = 32,
        beta_slow = 1;  // yarn: turns within original_context, above and below which a pair is fast, slow
};

struct ModelConfig {
  std::string architecture;  // general.architecture: "llama"
  std::string name;          // general.name
  std::string file_type;     // what most weights are stored as: "Q4_1"
  int layers = 0;
  int heads = 0;       // Hq
  int kv_heads = 0;    // Hkv
  int head_dim = 0;    // D
  int width = 0;       // W
  int mlp_width = 0;   // F
  int vocab_size = 0;  // V
  int context_length = 0;
  float rope_base = 10000.0F;
  int rope_dim = 0;
  RopeScaling rope_scaling;
  float norm_epsilon = 1e-5F;
};

}  // namespace bareattn
