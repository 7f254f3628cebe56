// A GGUF file as a source of tensors and of settings. Next: families.h and weights.h, which say what is called for.
#pragma once
#include <set>
#include <string>
#include <utility>

#include "model/settings.h"
#include "model/tensor_source.h"

namespace bareattn::model {

/// Weight bytes are copied from the file by pread, not touched through the map: a file that is cut while it is loaded
/// gives an error, not a signal.
class GgufTensors final : public TensorSource {
 public:
  explicit GgufTensors(const GgufFile& file) : file_(file) {}
  const TensorInfo* find(const std::string& name) const override { return file_.find_tensor(name); }
  std::span<const TensorInfo> all() const override { return file_.tensors(); }
  void read(const TensorInfo& tensor, int64_t first, int64_t count, std::vector<std::byte>& bytes) const override;
  [[noreturn]] void fail(const TensorInfo* tensor, const std::string& sentence) const override;

 private:
  const GgufFile& file_;
};

/// Keys under the architecture's prefix, "llama.". Remembers which were asked for.
class GgufSettings final : public Settings {
 public:
  GgufSettings(const GgufFile& file, std::string prefix) : file_(file), prefix_(std::move(prefix)) {}
  std::optional<uint64_t> integer(const std::string& key) const override { return file_.integer(asked(key)); }
  std::optional<double> number(const std::string& key) const override { return file_.number(asked(key)); }
  std::optional<bool> boolean(const std::string& key) const override { return file_.boolean(asked(key)); }
  std::optional<std::vector<double>> numbers(const std::string& key) const override {
    return file_.numbers(asked(key));
  }
  std::optional<std::string_view> string(const std::string& key) const override { return file_.string(asked(key)); }
  bool has_tensor(const std::string& name) const override { return file_.find_tensor(name) != nullptr; }
  [[noreturn]] void fail(const std::string& key, const std::string& sentence) const override {
    file_.fail(prefix_ + key, model::quoted(prefix_ + key) + " " + sentence);
  }
  /// Without the prefix: what a family knows.
  const std::set<std::string, std::less<>>& asked() const { return asked_; }

 private:
  std::string asked(const std::string& key) const {
    asked_.insert(key);
    return prefix_ + key;
  }

  const GgufFile& file_;
  std::string prefix_;
  mutable std::set<std::string, std::less<>> asked_;
};

}  // namespace bareattn::model
