// Faults that `bareattn break` injects into a run, each seeded and each standing for a real bug (docs/faults.md).
// Refuses names that are none. Next: diagnosis.h, which has to find them by name.
#pragma once
#include <string>
#include <vector>

#include "bareattn/diagnosis.h"

namespace bareattn {

struct FaultInfo {
  const char* name;
  const char* check;       // the finding that has to come first
  const char* stands_for;  // the real bug, one line
};
const std::vector<FaultInfo>& faults();
/// Why this model cannot have the fault, a sentence: nothing that it would change is there. Empty: it can.
std::string why_no_fault(const FaultInfo& fault, const Model& model);

struct BrokenRun {
  std::vector<int32_t> tokens;
  DiagnoseOptions options;         // variant: the fault
  std::vector<Intervention> bias;  // what options.variant->table was made of
  std::vector<int32_t> meant_tokens;
  std::shared_ptr<const Variant> meant;  // the run without the fault; null: the model as it is
  std::string what;                      // what was done, with the numbers the seed chose
  bool needs_control = false;            // only shows against a run without the fault: add_control()
};

/// `fault` is NAME or NAME:NUMBER; where no number is given the seed chooses, as it chooses heads and tokens.
BrokenRun break_run(const std::string& fault, uint64_t seed, const Model& model, std::vector<int32_t> tokens);

/// Observes the run that was meant as the control to hold the broken one against.
void add_control(BrokenRun& broken, const std::shared_ptr<const Model>& model, int threads = 0);

/// The broken run with the remedy applied to it.
BrokenRun restore(const BrokenRun& broken, const Remedy& remedy, const ModelConfig& config);

/// What a fault does and what a remedy brings back, over the tokens that the runs have in common at their ends.
struct RunFigures {
  double perplexity = 0;  // over a cache: the first half in one call, the rest in a second
  double moved = 0;       // of all weight, the part that rests on other tokens than in the run that was meant
};
struct Restoration {
  RunFigures meant, broken, restored;
};
Restoration measure_restoration(const std::shared_ptr<const Model>& model, const BrokenRun& broken,
                                const BrokenRun& restored, int threads = 0);

}  // namespace bareattn
