// SmolLM 3: a llama, down to the order of Q and K, that does not rotate in every fourth layer.
#include "model/families.h"

namespace bareattn::model {

Architecture smollm3(const Settings& s) {
  Architecture a = llama(s);
  for (size_t i = 3; i < a.per_layer.size(); i += 4) a.per_layer[i].rotary = false;
  set_score_scale(s, a);
  return a;
}

}  // namespace bareattn::model
