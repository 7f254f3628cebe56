// See load_gguf.h.
#include "model/load_gguf.h"

namespace bareattn::model {

void GgufTensors::read(const TensorInfo& tensor, int64_t first, int64_t count, std::vector<std::byte>& bytes) const {
  const Storage storage = storage_of(tensor.type);
  const auto row = static_cast<uint64_t>(tensor.columns() / storage.block * storage.bytes);
  bytes.resize(row * static_cast<uint64_t>(count));
  file_.read_at(tensor.offset + row * static_cast<uint64_t>(first), bytes);
}

void GgufTensors::fail(const TensorInfo* tensor, const std::string& sentence) const {
  if (tensor == nullptr) file_.fail("", sentence);
  file_.fail_at(tensor->record, sentence);
}

}  // namespace bareattn::model
