// What a GGUF file says about itself, without its weights being read: for files that cannot be run too, and for those
// who want the tokenizer alone. Where to go next: model.h, which runs it.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bareattn/model.h"

namespace bareattn {

struct ModelFile {
  std::string architecture, name, file_type;  // empty where the file does not say
  int64_t parameters = 0;
  std::string sha256;
  std::vector<std::string> warnings;
  std::shared_ptr<const Architecture> config;  // null where the metadata are none that can be run
  std::shared_ptr<const Tokenizer> tokenizer;  // null where there is none that can be made
  std::vector<int32_t> ends;                   // of its tokens, those that end what is generated
  std::string problem;                         // why one of the two is null, as Model::load would say it; else empty
};

/// FileError where the file is no GGUF file that can be read.
ModelFile read_model_file(const std::string& path);

/// The tokenizer alone: the vocabulary is looked at and nothing else. FileError where there is none that can be made.
/// `warnings` (may be null) gains what is odd about the file.
std::shared_ptr<const Tokenizer> read_tokenizer(const std::string& path, std::vector<std::string>* warnings = nullptr);

}  // namespace bareattn
