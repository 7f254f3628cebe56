// OLMo 2 and 3: a branch is normalised when it comes out, not when it goes in; queries and keys are normalised over all
// heads together. OLMo 3 has windows in three layers of four, whose rotation is not stretched.
#include "model/families.h"

namespace bareattn::model {

Architecture olmo2(const Settings& s) {
  Architecture a = llama(s);
  a.pairing = Pairing::halves;
  a.norm_place = NormPlace::after;
  a.qk_norm = QkNorm::whole;
  set_windows(s, a, {.period = 4, .rope_scaled = false});
  return a;
}

}  // namespace bareattn::model
