// What a GGUF file's metadata say about a llama-family model: ModelConfig and TokenizerSpec, every number checked
// against what the forward pass can do. FileError names the key, what was found and what was needed.
// Where to go next: weights.h, which checks the tensors against this.
#pragma once
#include "bareattn/model.h"
#include "bareattn/tokenizer.h"
#include "files/gguf.h"

namespace bareattn::model {

ModelConfig read_config(const GgufFile& file);

/// The tokenizer's tables; as many tokens as config.vocab_size.
TokenizerSpec read_tokenizer(const GgufFile& file, const ModelConfig& config);

}  // namespace bareattn::model
