// Writing: see safetensors.h. The header is written last, into room kept for it, because what a run took is known then.
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "bareattn/error.h"
#include "base/checked.h"
#include "files/safetensors.h"

namespace bareattn::observing {
namespace {

constexpr uint64_t metadata_room = 256;
constexpr uint64_t alignment = 64;  // of the data section in the file

std::string header_text(const std::vector<StoredTensor>& tensors, const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json json;
  json["__metadata__"] = metadata;
  for (const StoredTensor& t : tensors)
    json[t.name] = {{"dtype", t.dtype}, {"shape", t.shape}, {"data_offsets", {t.begin, t.end}}};
  return json.dump();
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::string& path, std::vector<StoredTensor> tensors,
                                     const std::map<std::string, std::string>& metadata)
    : file_(path), tensors_(std::move(tensors)) {
  base::CheckedSize at = 0;
  for (StoredTensor& t : tensors_) {
    const base::CheckedSize bits =
        base::CheckedSize::product(std::span<const int64_t>(t.shape), t.name) * bits_of(t.dtype);
    t.begin = at.value();
    at += bits.divide_exactly(8);
    t.end = at.value();
  }
  const uint64_t size = header_text(tensors_, metadata).size() + metadata_room;
  if (size > max_header_bytes - alignment) {
    throw InputError(path + ": the header takes " + std::to_string(size) + " bytes; at most " +
                     std::to_string(max_header_bytes) + " are written (shorten titles and lists of spans)");
  }
  for (size_t i = 0; i < tensors_.size(); ++i) index_.emplace(tensors_[i].name, i);
  header_bytes_ = (8 + size + alignment - 1) / alignment * alignment - 8;
  if (at != base::CheckedSize(0)) {  // the file's full size at once: what is never written reads as zero
    const std::byte last{};
    file_.write_at((at + base::CheckedSize(8 + header_bytes_ - 1)).value(), {&last, 1});
  }
}

const StoredTensor& SafetensorsWriter::tensor(std::string_view name) const {
  const auto at = index_.find(name);
  if (at != index_.end()) return tensors_[at->second];
  throw std::out_of_range("no tensor '" + std::string(name) + "' was announced");
}

void SafetensorsWriter::write(const StoredTensor& tensor, uint64_t offset, std::span<const std::byte> bytes) {
  base::check_range(offset, bytes.size(), tensor.bytes(), "tensor '" + tensor.name + "'");
  file_.write_at(8 + header_bytes_ + tensor.begin + offset, bytes);
}

std::string SafetensorsWriter::header(const std::map<std::string, std::string>& metadata) const {
  std::string text = header_text(tensors_, metadata);
  if (text.size() > header_bytes_) {
    throw InputError("the file's metadata takes " + std::to_string(text.size()) + " bytes; there is room for " +
                     std::to_string(header_bytes_));
  }
  text.resize(header_bytes_, ' ');
  return text;
}

void SafetensorsWriter::commit(const std::map<std::string, std::string>& metadata,
                               const std::function<void(const std::string& path)>& check) {
  const std::string text = header(metadata);
  std::byte length[8];
  for (int i = 0; i < 8; ++i) length[i] = static_cast<std::byte>(header_bytes_ >> (8 * i));
  file_.write_at(0, length);
  file_.write_at(8, std::as_bytes(std::span(text)));
  file_.finish();
  if (check) check(file_.temporary());
  file_.commit();
}

}  // namespace bareattn::observing
