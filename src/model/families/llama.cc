// Llama 2 and 3, Mistral, TinyLlama, SmolLM2: the family that the others are compared with. Its GGUF converter reorders
// Q and K, so that neighbours rotate together.
#include "model/families.h"

namespace bareattn::model {

Architecture llama(const Settings& s) {
  Architecture a = common(s);
  a.norm_epsilon = s.needed_float("attention.layer_norm_rms_epsilon", 1.0);
  a.qkv_bias = s.has_tensor("blk.0.attn_q.bias") || s.has_tensor("blk.0.attn_qkv.bias");
  a.output_bias = s.has_tensor("blk.0.attn_output.bias");
  return a;
}

}  // namespace bareattn::model
