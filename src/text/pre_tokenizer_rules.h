// The pre-tokenizers by name, as tokenizer.ggml.pre has them, and the regular expressions of each. Rules that differ in
// nothing share a row's patterns. To add one: a row in pre_tokenizer_rules.cc, and its golden ids.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bareattn::text {

struct PreTokenizerRule {
  const char* name;
  std::vector<const char*> patterns;  // each cuts the pieces that the one before left
  bool ignore_merges = false;         // a word that is a token as a whole is taken without merging
  bool add_bos = false;               // where the file does not say
};

/// Nothing: no rule has this name.
const PreTokenizerRule* find_pre_tokenizer(std::string_view name);

/// What a GGUF file means that does not say whether a text begins with the BOS token, or with a space.
bool adds_bos_by_default(std::string_view model, std::string_view pre);
inline bool adds_space_by_default(std::string_view model) { return model == "llama"; }

/// All names, as messages list them.
std::string known_pre_tokenizers();

}  // namespace bareattn::text
