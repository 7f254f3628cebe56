// The real model's tokenizer, read from the model file once for each test program. A test that cannot have it fails.
#pragma once
#include <cstdlib>
#include <string>

#include "bareattn/tokenizer.h"
#include "files/gguf.h"
#include "model/config.h"

namespace bareattn::testing {

inline std::string model_path() {
  const char* path = std::getenv("BAREATTN_MODEL");
  return path ? path : BAREATTN_SOURCE_DIR "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
}

inline TokenizerSpec model_spec() {
  const model::GgufFile file(model_path());
  return model::read_tokenizer(file);
}

inline const Tokenizer& model_tokenizer() {
  static const Tokenizer tokenizer(model_spec());
  return tokenizer;
}

}  // namespace bareattn::testing
