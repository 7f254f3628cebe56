// What is wanted of a model that need not run: its path, its tokenizer. How -m is declared and a model loaded:
// commands.h.
#pragma once
#include <memory>
#include <string>

#include "commands/commands.h"

namespace bareattn::cli {

/// The path; InputError where there is none.
const std::string& named(const ModelChoice& choice);
/// The tokenizer alone; what is odd about the file is warned of.
std::shared_ptr<const Tokenizer> load_tokenizer(const ModelChoice& choice);

}  // namespace bareattn::cli
