// The families of models that can be run, each a function in families/ that turns a file's settings into an
// architecture and says only what differs. To add one: its file, its line in families.cc, its pre-tokenizer, its golden
// logits (CONTRIBUTING.md). Next: families/llama.cc.
#pragma once
#include <string>
#include <string_view>

#include "bareattn/architecture.h"
#include "model/settings.h"

namespace bareattn::model {

using Family = Architecture (*)(const Settings&);

/// By GGUF's name of the architecture; null where it is not known.
Family find_family(std::string_view name);
/// Those that are known: "'llama'".
std::string family_names();

/// What all families have: sizes, heads, rotary positions. Heads that do not fit each other are refused.
Architecture common(const Settings& settings);

Architecture llama(const Settings& settings);

}  // namespace bareattn::model
