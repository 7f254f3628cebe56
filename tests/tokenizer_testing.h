// Tokenizers for the tokenizer tests and the fuzz target: the real model's, and small ones built from rules.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bareattn/tokenizer.h"
#include "text/byte_alphabet.h"

namespace bareattn::testing {

inline std::string letters(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) out += text::letter_of_byte(static_cast<uint8_t>(c));
  return out;
}

/// All byte tokens except those of `missing` (ids 0, 1, ... in the order of the bytes), then one token for each merge
/// ("left", "right" as bytes), then control tokens.
inline TokenizerSpec small_spec(const std::vector<std::pair<std::string, std::string>>& merges,
                                const std::vector<std::string>& control = {}, std::string_view missing = {}) {
  TokenizerSpec spec;
  spec.model = "gpt2";
  spec.pre = "smollm";
  for (int b = 0; b < 256; ++b) {
    const std::string byte(1, static_cast<char>(b));
    if (missing.find(byte) == std::string_view::npos) spec.tokens.push_back(letters(byte));
  }
  for (const auto& [left, right] : merges) {
    const std::string joined = letters(left + right);
    if (std::find(spec.tokens.begin(), spec.tokens.end(), joined) == spec.tokens.end()) spec.tokens.push_back(joined);
    spec.merges.push_back(letters(left) + " " + letters(right));
  }
  spec.token_types.assign(spec.tokens.size(), 1);
  for (const auto& token : control) {
    spec.tokens.push_back(token);
    spec.token_types.push_back(3);
  }
  return spec;
}

/// U+FFFD and what leads to it, so that missing bytes can be written (tokenizer.cc).
inline std::vector<std::pair<std::string, std::string>> replacement_merges() {
  return {{"\xEF", "\xBF"}, {"\xEF\xBF", "\xBD"}};
}

}  // namespace bareattn::testing
