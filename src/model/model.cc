// Model::load: open and check, read the configuration, build the tokenizer, pack the weights; in that order, so that
// what can be refused cheaply is. Where to go next: gguf.h, config.h, weights.h; session.cc runs it.
#include "bareattn/model.h"

#include "bareattn/error.h"
#include "base/float_environment.h"
#include "base/sha256.h"
#include "base/thread_pool.h"
#include "model/config.h"
#include "model/loaded_model.h"

namespace bareattn {

const char* precision_name(Precision precision) { return precision == Precision::bf16 ? "bf16" : "f32"; }

std::string precision_text(const Model& model) {
  const std::string projections = precision_name(model.precision());
  return model.attention() == model.precision() ? projections
                                                : projections + ", attention " + precision_name(model.attention());
}

std::shared_ptr<const Model> Model::load(const std::string& path, const LoadOptions& options) {
  const base::DefaultFloatEnvironment environment;
  return std::make_shared<const model::LoadedModel>(path, options);
}

namespace model {
namespace {

std::unique_ptr<const Tokenizer> make_tokenizer(const GgufFile& file, const ModelConfig& config) {
  TokenizerSpec spec = read_tokenizer(file, config);
  try {
    return std::make_unique<const Tokenizer>(std::move(spec));
  } catch (const FileError&) {
    throw;
  } catch (const InputError& error) {  // the tokenizer does not know which file its tables came from
    throw FileError(file.file().path(), FileError::no_offset, error.what());
  }
}

}  // namespace

LoadedModel::LoadedModel(const std::string& path, const LoadOptions& options)
    : file_(path), config_(read_config(file_)), precision_(options.precision), attention_(options.attention) {
  base::ThreadPool pool(options.threads);
  for (const TensorInfo& tensor : file_.tensors()) parameters_ += tensor.rows() * tensor.columns();
  tokenizer_ = make_tokenizer(file_, config_);
  weights_ = load_weights(file_, config_, precision_, pool);
  file_.file().check_unchanged();
}

std::string LoadedModel::sha256() const {
  const std::lock_guard lock(mutex_);
  if (sha256_.empty()) {
    file_.file().check_unchanged();
    sha256_ = base::sha256(file_.file());
  }
  return sha256_;
}

}  // namespace model
}  // namespace bareattn
