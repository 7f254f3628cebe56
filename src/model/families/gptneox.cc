// GPT-NeoX and Pythia: attention and MLP read the same stream, and a part of a head rotates. GELU is the exact one that
// these models were trained with; llama.cpp takes the approximation by tanh.
#include "model/families.h"

namespace bareattn::model {

Architecture gptneox(const Settings& s) {
  Architecture a = common_gpt(s);
  a.pairing = Pairing::halves;
  a.activation = Nonlinearity::gelu;
  const auto parallel = s.boolean("use_parallel_residual");
  if (!parallel) s.fail("use_parallel_residual", "is missing; the model cannot be run without it");
  a.parallel = *parallel;
  return a;
}

}  // namespace bareattn::model
