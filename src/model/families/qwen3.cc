// Qwen 3 without experts: queries and keys are normalised head by head; the width of a head is not W / Hq.
#include "model/families.h"

namespace bareattn::model {

Architecture qwen3(const Settings& s) {
  Architecture a = llama(s);
  a.pairing = Pairing::halves;
  a.qk_norm = QkNorm::per_head;
  return a;
}

}  // namespace bareattn::model
