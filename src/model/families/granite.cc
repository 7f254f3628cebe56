// Granite 3 without experts: a llama, down to the order of Q and K, with four multipliers. Its files say by
// `rope.scaling.finetuned` whether anything is rotated.
#include "model/families.h"

namespace bareattn::model {

Architecture granite(const Settings& s) {
  Architecture a = llama(s);
  a.mlp_bias = s.has_tensor("blk.0.ffn_up.bias");
  a.embedding_scale = s.float_unless_zero("embedding_scale", 1);
  a.residual_multiplier = s.float_unless_zero("residual_scale", 1);
  a.logit_multiplier = 1 / s.needed_float("logit_scale", 1e6);
  set_score_scale(s, a);
  const bool rotary = s.boolean("rope.scaling.finetuned").value_or(true);
  for (LayerArchitecture& layer : a.per_layer) layer.rotary = rotary;
  return a;
}

}  // namespace bareattn::model
