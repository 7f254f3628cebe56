// Models split into several GGUF files, "NAME-00001-of-00003.gguf" and so on. The first part has the metadata, every
// part its own tensors; each is checked as a file of its own. Together they are read as if they stood in a row: the
// tensors of the second begin where the first ends. Refused: a first part that is another one, names that do not count,
// parts that are missing, that say another number or count of themselves, and a number of tensors that is not the sum.
#include <fmt/format.h>

#include <filesystem>

#include "bareattn/error.h"
#include "base/sha256.h"
#include "files/gguf.h"

namespace bareattn::model {
namespace {

constexpr uint64_t max_parts = 256;  // each keeps a file open
constexpr size_t ending_length = std::string_view("-00001-of-00003.gguf").size();

std::string ending(uint64_t number, uint64_t count) { return fmt::format("-{:05}-of-{:05}.gguf", number, count); }

}  // namespace

void GgufFile::open_other_parts() {
  const uint64_t count = integer("split.count").value_or(0), number = integer("split.no").value_or(0);
  const std::string path = file_.path();
  const std::string stem = path.substr(0, path.size() - std::min(path.size(), ending_length));
  if (count > max_parts) {
    fail("split.count", fmt::format("the file is one of {} parts; at most {} are read", count, max_parts));
  }
  if (number >= count || path != stem + ending(number + 1, count)) {
    fail("split.no", fmt::format("the file is part {} of {}, but its name does not end in {}", number + 1, count,
                                 model::quoted(ending(number + 1, count))));
  }
  if (number != 0) {
    fail("split.no",
         fmt::format("the file is part {} of {} of a split model; name the first part, {}", number + 1, count,
                     model::quoted(std::filesystem::path(stem + ending(1, count)).filename().string())));
  }
  uint64_t begin = file_.size();
  for (uint64_t part = 1; part < count; ++part) {
    std::unique_ptr<const GgufFile> other(new GgufFile(stem + ending(part + 1, count), OnePart{}));
    if (other->integer("split.no") != part || other->integer("split.count") != count) {
      other->fail("split.no", fmt::format("the file is not part {} of {}, as its name says", part + 1, count));
    }
    if (tensors_.size() + other->tensors_.size() > max_tensors) {
      other->fail("", fmt::format("the parts have more than {} tensors together", max_tensors));
    }
    for (TensorInfo tensor : other->tensors_) {
      tensor.offset += begin;
      tensor.record += begin;
      tensors_.push_back(tensor);
    }
    begin += other->file_.size();
    others_.push_back(std::move(other));
  }
  const auto stated = integer("split.tensors.count");
  if (stated && *stated != tensors_.size()) {
    fail("split.tensors.count", fmt::format("the model has {} tensors as its first part says, but its parts have {}",
                                            *stated, tensors_.size()));
  }
  check_names();
}

std::pair<const GgufFile*, uint64_t> GgufFile::part_at(uint64_t offset) const {
  const GgufFile* part = this;
  for (const auto& other : others_) {
    if (offset < part->file_.size()) break;
    offset -= part->file_.size();
    part = other.get();
  }
  return {part, offset};
}

uint64_t GgufFile::size() const {
  uint64_t sum = file_.size();
  for (const auto& other : others_) sum += other->file_.size();
  return sum;
}

void GgufFile::read_at(uint64_t offset, std::span<std::byte> target) const {
  const auto [part, at] = part_at(offset);
  part->file_.read_at(at, target);
}

void GgufFile::check_unchanged() const {
  file_.check_unchanged();
  for (const auto& other : others_) other->file_.check_unchanged();
}

std::string GgufFile::sha256() const {
  if (others_.empty()) return base::sha256(file_);
  std::string hashes = base::sha256(file_);
  for (const auto& other : others_) hashes += base::sha256(other->file_);
  return base::sha256(hashes);
}

}  // namespace bareattn::model
