// Gemma 3, text only: as Gemma 2 without caps on scores, queries and keys are normalised head by head, five layers of
// six have a window and, in these, a rotation of their own.
#include "model/families.h"

namespace bareattn::model {

Architecture gemma3(const Settings& s) {
  Architecture a = gemma(s, 62);
  a.qk_norm = QkNorm::per_head;
  set_windows(s, a, {.period = 6, .rope_base = 10000, .rope_scaled = false});
  a.logit_softcap = s.float_unless_zero("final_logit_softcapping", 0);
  return a;
}

}  // namespace bareattn::model
