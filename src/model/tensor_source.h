// The tensors of a model file, under the names that GGUF gives them, whatever a format calls them itself. What they
// mean is weights.h's. Next: load_gguf.cc, the source of a GGUF file.
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "files/gguf.h"

namespace bareattn::model {

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  virtual const TensorInfo* find(const std::string& name) const = 0;  // null: there is none
  virtual std::span<const TensorInfo> all() const = 0;
  /// Rows [first, first + count) of a tensor as they are stored, into `bytes`.
  virtual void read(const TensorInfo& tensor, int64_t first, int64_t count, std::vector<std::byte>& bytes) const = 0;
  /// Throws the FileError; `tensor` says where in the file, null: nowhere.
  [[noreturn]] virtual void fail(const TensorInfo* tensor, const std::string& sentence) const = 0;
};

}  // namespace bareattn::model
