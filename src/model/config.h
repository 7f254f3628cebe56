// What a GGUF file's metadata say about a model: its Architecture, which its family makes of them, and TokenizerSpec,
// every number checked against what the forward pass can do. FileError names the key, what was found and what was
// needed. Where to go next: families.h; metadata.h, which keys must be neutral; weights.h, which checks the tensors
// against this.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bareattn/model.h"
#include "bareattn/tokenizer.h"
#include "files/gguf.h"

namespace bareattn::model {

/// The beginning of a text that decides nothing, such as a model's name: valid UTF-8 of a length that can be shown.
inline constexpr size_t longest_shown = 4096;
std::string shown_text(std::string_view text);

/// `warnings` gains what is odd but no reason to refuse the file.
Architecture read_architecture(const GgufFile& file, std::vector<std::string>& warnings);

/// The tokenizer's tables: as many tokens as the vocabulary has.
TokenizerSpec read_tokenizer(const GgufFile& file);
/// Tokens that end what is generated, beside the end of the text: of a turn, a message, a file.
std::vector<int32_t> named_ends(const GgufFile& file);
/// FileError of this file where no tokenizer can be made of them.
std::shared_ptr<const Tokenizer> make_tokenizer(const GgufFile& file);

/// What most weights are stored as: "Q4_1"; empty where there are none.
std::string most_used_type(const GgufFile& file);

}  // namespace bareattn::model
