// Model::load: open and check, read the configuration, build the tokenizer, pack the weights; in that order, so that
// what can be refused cheaply is. Where to go next: gguf.h, config.h, weights.h; session.cc runs it.
#include "bareattn/model.h"

#include <stdexcept>

#include "bareattn/end_tokens.h"
#include "bareattn/error.h"
#include "base/float_environment.h"
#include "base/thread_pool.h"
#include "model/config.h"
#include "model/load_gguf.h"
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

LoadedModel::LoadedModel(const std::string& path, const LoadOptions& options,
                         const std::function<void(Architecture&)>& edit)
    : file_(path),
      architecture_(read_architecture(file_, warnings_)),
      precision_(options.precision),
      attention_(options.attention) {
  const GgufTensors tensors(file_);
  if (edit) edit(architecture_);
  base::ThreadPool pool(options.threads);
  for (const TensorInfo& tensor : file_.tensors()) parameters_ += tensor.rows() * tensor.columns();
  tokenizer_ = make_tokenizer(file_);
  end_tokens_ = bareattn::end_tokens(tokenizer_->spec(), named_ends(file_));
  weights_ = load_weights(tensors, architecture_, precision_, pool);
  warnings_.insert(warnings_.end(), weights_.warnings.begin(), weights_.warnings.end());
  const auto& odd = tokenizer_->warnings();
  warnings_.insert(warnings_.end(), odd.begin(), odd.end());
  file_.check_unchanged();
}

const LoadedModel& loaded(const Model& model, const char* who) {
  const auto* made = dynamic_cast<const LoadedModel*>(&model);
  if (made == nullptr) throw std::invalid_argument(std::string(who) + ": the model was not made by Model::load");
  return *made;
}

std::string LoadedModel::sha256() const {
  const std::lock_guard lock(mutex_);
  if (sha256_.empty()) {
    file_.check_unchanged();
    sha256_ = file_.sha256();
  }
  return sha256_;
}

}  // namespace model
}  // namespace bareattn
