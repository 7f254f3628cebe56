// Any bytes: repaired text is valid UTF-8 and stable, and nothing escaped for a terminal holds a control character.
#include <cstdint>
#include <cstdlib>

#include "base/utf8.h"

using namespace bareattn::base;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::string repaired = to_valid_utf8(bytes);
  if (!is_utf8(repaired) || to_valid_utf8(repaired) != repaired) std::abort();
  if (is_utf8(bytes) != (repaired == bytes)) std::abort();
  const std::string safe = escape_for_terminal(bytes);
  if (!is_utf8(safe)) std::abort();
  for (char c : safe) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) std::abort();
  }
  return 0;
}
