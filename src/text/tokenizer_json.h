// Reads a Hugging Face folder's tokenizer.json (and what tokenizer_config.json adds: which tokens begin and end a text,
// the chat template) into a TokenizerSpec. The file may combine parts freely; read are the combinations that the
// families in docs/models.md use. Regular expressions from the file are never run: one that is that of a known
// pre-tokenizer is this pre-tokenizer, any other is refused. Refused by name: other parts, options that would change
// ids, ids that stand twice, keys that stand twice. Time and memory are linear in the file. FileError throughout.
#pragma once
#include <string>

#include "bareattn/tokenizer.h"

namespace bareattn::text {

/// The folder's tokenizer.json; tokenizer_config.json may be missing.
TokenizerSpec read_tokenizer_folder(const std::string& folder);

/// A tokenizer.json alone.
TokenizerSpec read_tokenizer_json(const std::string& path);

}  // namespace bareattn::text
