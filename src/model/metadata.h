// Which metadata of a llama-family GGUF file are read, and which must have their neutral value because what they ask
// for is not done: the list is what llama.cpp knows for this architecture, old names included (docs/models.md shows it
// as a table). FileError names the first key that asks for more. A key of the architecture that is in neither list is
// given back, to be warned of. Where to go next: config.cc, which reads the others.
#pragma once
#include <set>
#include <string>
#include <vector>

#include "bareattn/model.h"
#include "files/gguf.h"

namespace bareattn::model {

/// Refuses what would change the ids of a text and is not done. Read as well by those who want the tokenizer alone.
void check_tokenizer_metadata(const GgufFile& file);

/// Refuses what would change the result and is not done; what the family asked for (`read`, without the prefix) is
/// done. Returns the keys of `config`'s architecture and of the tokenizer that are not known, in alphabetical order.
std::vector<std::string> check_metadata(const GgufFile& file, const ModelConfig& config,
                                        const std::set<std::string, std::less<>>& read);

}  // namespace bareattn::model
