// GPT-2: positions are learned and nothing is rotated.
#include "model/families.h"

namespace bareattn::model {

Architecture gpt2(const Settings& s) {
  Architecture a = common_gpt(s);
  a.learned_positions = true;
  a.activation = Nonlinearity::gelu_tanh;
  for (LayerArchitecture& layer : a.per_layer) layer.rotary = false;
  return a;
}

}  // namespace bareattn::model
