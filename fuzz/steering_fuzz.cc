// libFuzzer on steering files, from the text to the table that a run is steered by. The first byte chooses: the rest as
// it is, or as the list of interventions within a right file. What is taken must come back the same from what is
// written of it, and its table holds numbers only, or -infinity. Refused with an InputError, or usable; anything else
// is a finding.
#include <cmath>
#include <cstdlib>
#include <string>

#include "bareattn/error.h"
#include "bareattn/steering.h"

namespace {

using namespace bareattn;

void require(bool promise) {
  if (!promise) std::abort();
}

void run(const std::string& text) {
  const std::vector<Intervention> all = steering_from_json(text);
  const std::string written = steering_to_json(all);
  require(steering_to_json(steering_from_json(written)) == written);
  ModelConfig config;
  config.layers = 3;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 2;
  const ScoreTable table = make_table(all, config, 40);
  require(table.row_span.size() == 40 && table.key_span.size() == 40);
  for (const LayerTable& layer : table.layers)
    for (const float value : layer.value) require(!std::isnan(value));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    run(data[0] % 2 == 0 ? rest : R"({"format":"bareattn-steering","version":1,"interventions":[)" + rest + "]}");
  } catch (const InputError&) {
  }
  return 0;
}
