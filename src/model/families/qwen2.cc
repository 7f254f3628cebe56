// Qwen 2 and 2.5, distillations of R1: a llama with biases of Q, K and V, whose converter leaves Q and K in order.
#include "model/families.h"

namespace bareattn::model {

Architecture qwen2(const Settings& s) {
  Architecture a = llama(s);
  a.pairing = Pairing::halves;
  return a;
}

}  // namespace bareattn::model
