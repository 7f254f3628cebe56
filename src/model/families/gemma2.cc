// Gemma 2: a window in every other layer, caps on scores and logits. Gemma 3, too, begins with gemma().
#include <cmath>

#include "model/families.h"

namespace bareattn::model {

// The files do not say the scale of scores. It is 1 / sqrt(D), but of the largest model, which its layers tell, 1 over
// the square root of the width of a head if heads shared W.
Architecture gemma(const Settings& s, int layers_of_largest) {
  Architecture a = llama(s);
  a.pairing = Pairing::halves;
  a.embedding_scale = std::sqrt(static_cast<float>(a.width));
  a.norm_place = NormPlace::both;
  a.activation = Nonlinearity::gelu_tanh;
  set_score_scale(s, a, a.layers == layers_of_largest ? 1 / std::sqrt(static_cast<float>(a.width / a.heads)) : 0);
  return a;
}

Architecture gemma2(const Settings& s) {
  Architecture a = gemma(s, 46);
  set_windows(s, a, {.period = 2, .keys = 4096});
  for (LayerArchitecture& layer : a.per_layer) layer.scores.softcap = s.needed_float("attn_logit_softcapping", 1e6);
  a.logit_softcap = s.needed_float("final_logit_softcapping", 1e6);
  return a;
}

}  // namespace bareattn::model
