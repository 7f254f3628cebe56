// The one way JSON from outside is read: linear in its text, within a bound of memory that is counted while it is read,
// and strict. Refused: what is no JSON, a key that stands twice in an object, values within each other too deep (they
// are walked by recursion later), a text or number over a megabyte or four, more values than the memory is for. Large
// headers of tensors are read by simdjson (files/safetensors.cc), which has the same rules.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace bareattn::base {

struct JsonLimits {
  int depth = 32;                       // far more than anything that is read here; a stack holds thousands
  size_t text_bytes = size_t{4} << 20;  // of one text or number
  int64_t memory = int64_t{56} << 20;   // of what is made, the growing of lists counted in
};

/// The value, or "discarded" (nlohmann's word for none) with the reason in `problem`: "is no JSON", "has the key 'x'
/// twice", .. : a sentence's end.
nlohmann::json read_json(std::string_view text, std::string& problem, const JsonLimits& limits = {});

}  // namespace bareattn::base
