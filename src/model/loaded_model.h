// The Model that Model::load makes: file, configuration, tokenizer and weights. Immutable, shared by its sessions.
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "bareattn/model.h"
#include "files/gguf.h"
#include "model/weights.h"

namespace bareattn::model {

class LoadedModel final : public Model {
 public:
  /// `edit` changes the architecture before weights are read: what files that are known cannot say, in tests.
  LoadedModel(const std::string& path, const LoadOptions& options, const std::function<void(Architecture&)>& edit = {});

  const Architecture& architecture() const override { return architecture_; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }
  Precision precision() const override { return precision_; }
  Precision attention() const override { return attention_; }
  const std::string& path() const override { return file_.file().path(); }
  int64_t parameters() const override { return parameters_; }
  const std::vector<std::string>& warnings() const override { return warnings_; }
  std::string sha256() const override;

  const Weights& weights() const { return weights_; }
  const std::vector<int32_t>& end_tokens() const { return end_tokens_; }

 private:
  GgufFile file_;
  std::vector<std::string> warnings_;  // before architecture_, whose reader adds to it
  Architecture architecture_;
  Precision precision_, attention_;
  int64_t parameters_ = 0;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::vector<int32_t> end_tokens_;
  Weights weights_;
  mutable std::mutex mutex_;  // guards sha256_
  mutable std::string sha256_;
};

/// The model that load() made. std::invalid_argument for another one, which says `who` needs it.
const LoadedModel& loaded(const Model& model, const char* who);

}  // namespace bareattn::model
