// libFuzzer on the one reader of JSON from outside. What it takes, the parser alone takes too, and to the same value;
// what it refuses is no JSON, or for one of its own reasons. What is printed of it for a terminal means the same and
// holds nothing that acts. Anything else is a finding.
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "base/json.h"
#include "base/utf8.h"

namespace {

void require(bool promise) {
  if (!promise) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bareattn;
  const std::string text(reinterpret_cast<const char*>(data), size);
  std::string problem;
  const nlohmann::json value = base::read_json(text, problem, {.text_bytes = 4096, .memory = 1 << 20});
  require(value.is_discarded() == !problem.empty());
  if (value.is_discarded()) {
    if (problem == "is no JSON") require(nlohmann::json::parse(text, nullptr, false).is_discarded());
    return 0;
  }
  require(value == nlohmann::json::parse(text, nullptr, false));
  const std::string printed = base::escape_json(value.dump(1));
  require(nlohmann::json::parse(printed, nullptr, false) == value);
  require(base::escape_for_terminal(printed, base::Newlines::keep) == printed);
  return 0;
}
