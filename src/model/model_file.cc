// See model_file.h.
#include "bareattn/model_file.h"

#include "bareattn/end_tokens.h"
#include "bareattn/error.h"
#include "model/config.h"

namespace bareattn {
namespace {

std::string text_of(const model::GgufFile& file, const char* key) {
  const auto text = file.bytes(key);
  return text ? model::shown_text(*text) : std::string();
}

}  // namespace

ModelFile read_model_file(const std::string& path) {
  const model::GgufFile file(path);
  ModelFile out;
  out.architecture = text_of(file, "general.architecture");
  out.name = text_of(file, "general.name");
  out.file_type = model::most_used_type(file);
  for (const model::TensorInfo& tensor : file.tensors()) out.parameters += tensor.rows() * tensor.columns();
  try {
    out.config = std::make_shared<const Architecture>(model::read_architecture(file, out.warnings));
  } catch (const InputError& error) {
    out.problem = error.what();
  }
  try {
    out.tokenizer = model::make_tokenizer(file);
    const auto& odd = out.tokenizer->warnings();
    out.warnings.insert(out.warnings.end(), odd.begin(), odd.end());
    out.ends = end_tokens(out.tokenizer->spec(), model::named_ends(file));
  } catch (const InputError& error) {
    if (out.problem.empty()) out.problem = error.what();
  }
  out.sha256 = file.sha256();
  return out;
}

std::shared_ptr<const Tokenizer> read_tokenizer(const std::string& path, std::vector<std::string>* warnings) {
  const model::GgufFile file(path);
  auto tokenizer = model::make_tokenizer(file);
  if (warnings != nullptr) {
    for (const auto& from : {file.warnings(), tokenizer->warnings()})
      warnings->insert(warnings->end(), from.begin(), from.end());
  }
  return tokenizer;
}

}  // namespace bareattn
