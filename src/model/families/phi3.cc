// Phi-3, 3.5 and 4: Q, K and V are one tensor, and so are gate and up (the loader knows both); a part of a head may
// rotate. The window counts in every layer, as in the models' own code; llama.cpp leaves it out. Refused: files with
// two lists of rotary factors, whose choice depends on the length of the text.
#include "model/families.h"

namespace bareattn::model {

Architecture phi3(const Settings& s) {
  Architecture a = llama(s);
  a.pairing = Pairing::halves;
  set_windows(s, a, {});
  return a;
}

}  // namespace bareattn::model
