// See gguf.h. One pass over the metadata records checks and indexes them; values are decoded when they are asked for
// (gguf_values.cc). Duplicates are found by sorting (hash, key), so a million records cost a fraction of a second, and
// keys made to collide cost no more than a sort of strings.
#include "files/gguf.h"

#include <algorithm>
#include <numeric>

#include "bareattn/error.h"
#include "base/checked.h"
#include "files/gguf_cursor.h"

namespace bareattn::model {
namespace {

constexpr uint64_t max_key_bytes = 65'535;  // the format's own limit
constexpr uint64_t max_name_bytes = 64;     // the format's own limit
constexpr uint64_t least_value_record = 8 + 1 + 4 + 1;
constexpr uint64_t least_tensor_record = 8 + 1 + 4 + 4 + 8;
constexpr uint32_t max_rank = 4;
constexpr uint64_t max_alignment = 65'536;

struct Magic {
  std::string_view bytes;
  const char* what;
};
constexpr Magic foreign[] = {
    {std::string_view("PK\x03\x04"), "a zip archive (a PyTorch checkpoint, perhaps)"},
    {std::string_view("\x80\x02"), "a Python pickle"},
    {std::string_view("\x80\x03"), "a Python pickle"},
    {std::string_view("\x80\x04"), "a Python pickle"},
    {std::string_view("\x80\x05"), "a Python pickle"},
    {std::string_view("\x1f\x8b"), "gzip-compressed"},
    {std::string_view("<!DOCTYPE"), "an HTML page"},
    {std::string_view("<!doctype"), "an HTML page"},
    {std::string_view("<html"), "an HTML page"},
    {std::string_view("version https://git-lfs"), "a Git LFS pointer, not the file itself"},
    {std::string_view("ggml"), "an old GGML file"},
    {std::string_view("fmgg"), "an old GGMF file"},
    {std::string_view("tjgg"), "an old GGJT file"},
    {std::string_view("FUGG"), "a byte-swapped GGUF file"},
};

std::string what_it_is(std::string_view text) {
  for (const Magic& magic : foreign)
    if (text.starts_with(magic.bytes)) return magic.what;
  if (text.size() > 8 && text[8] == '{' && text.substr(4, 4) == std::string_view("\0\0\0\0", 4))
    return "a safetensors file";
  std::string found = "not a GGUF file: it begins with ";
  return found + quoted(text.substr(0, 4)) + ", a GGUF file with 'GGUF'";
}

uint64_t hash_of(std::string_view key) {
  uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : key) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

// Names go into error texts, pages and terminals, and the format says ASCII.
void check_name(Cursor& cursor, uint64_t at, std::string_view name, const char* what, uint64_t limit) {
  if (name.empty()) cursor.fail(at, std::string(what) + " is empty");
  if (name.size() > limit) {
    cursor.fail(at, std::string(what) + " has " + std::to_string(name.size()) + " bytes; at most " +
                        std::to_string(limit) + " are allowed");
  }
  for (const char c : name) {
    if (c >= 0x20 && c < 0x7f) continue;
    cursor.fail(at, std::string(what) + " " + quoted(name) + " contains byte " +
                        std::to_string(static_cast<unsigned char>(c)) + "; only printable ASCII is allowed");
  }
}

uint64_t read_count(Cursor& cursor, const char* what, uint64_t limit) {
  const uint64_t at = cursor.position();
  const auto count = cursor.get<uint64_t>(what);
  if (count > limit) {
    cursor.fail(at, std::string(what) + " is " + std::to_string(count) + "; at most " + std::to_string(limit) +
                        " are accepted");
  }
  return count;
}

void check_room(Cursor& cursor, const char* what, uint64_t count, uint64_t least) {
  if (count <= cursor.remaining() / least) return;
  cursor.fail(cursor.position(), std::string(what) + " is " + std::to_string(count) + ", but only " +
                                     std::to_string(cursor.remaining()) + " bytes are left in the file");
}

}  // namespace

GgufFile::GgufFile(const std::string& path) : GgufFile(path, OnePart{}) {
  if (const auto parts = integer("split.count"); parts && *parts > 1) open_other_parts();
}

GgufFile::GgufFile(const std::string& path, OnePart) : file_(path) {
  const std::string_view text = file_.text();
  if (text.empty()) throw FileError(path, FileError::no_offset, "the file is empty");
  if (!text.starts_with("GGUF")) throw FileError(path, 0, "the file is " + what_it_is(text));
  Cursor cursor(file_, 4);
  version_ = cursor.get<uint32_t>("version");
  if (version_ != 2 && version_ != 3) {
    const uint32_t swapped = __builtin_bswap32(version_);
    if (swapped >= 1 && swapped <= 3) cursor.fail(4, "the file is big-endian; little-endian GGUF is needed");
    cursor.fail(4, "GGUF version " + std::to_string(version_) + "; versions 2 and 3 can be read");
  }
  const uint64_t tensor_count = read_count(cursor, "tensor count", max_tensors);
  const uint64_t value_count = read_count(cursor, "metadata count", max_values);
  check_room(cursor, "metadata count", value_count, least_value_record);
  uint64_t position = cursor.position();
  read_values(position, value_count);
  read_tensors(position, tensor_count);

  uint64_t alignment = 32;
  if (const auto value = integer("general.alignment")) alignment = *value;
  if (alignment < 8 || alignment > max_alignment || (alignment & (alignment - 1)) != 0) {
    fail("general.alignment", "general.alignment is " + std::to_string(alignment) + "; a power of two from 8 to " +
                                  std::to_string(max_alignment) + " is needed");
  }
  place_tensors(base::CheckedSize(position).align_up(alignment).value(), alignment);
  file_.check_unchanged();
}

void GgufFile::read_values(uint64_t& position, uint64_t count) {
  Cursor cursor(file_, position);
  index_.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t record = cursor.position();
    const std::string_view key = cursor.string("metadata key");
    check_name(cursor, record, key, "metadata key", max_key_bytes);
    skip_value(cursor, key);
    index_.push_back({hash_of(key), record});
  }
  std::sort(index_.begin(), index_.end(), [this](const Entry& a, const Entry& b) {
    if (a.hash != b.hash) return a.hash < b.hash;
    return a.record != b.record && key_at(a.record) < key_at(b.record);
  });
  for (size_t i = 1; i < index_.size(); ++i) {
    if (index_[i - 1].hash != index_[i].hash || key_at(index_[i - 1].record) != key_at(index_[i].record)) continue;
    const uint64_t second = std::max(index_[i - 1].record, index_[i].record);
    cursor.fail(second, "metadata key " + quoted(key_at(second)) + " stands twice in the file");
  }
  position = cursor.position();
}

void GgufFile::read_tensors(uint64_t& position, uint64_t count) {
  Cursor cursor(file_, position);
  check_room(cursor, "tensor count", count, least_tensor_record);
  tensors_.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    TensorInfo tensor{};
    tensor.record = cursor.position();
    tensor.name = cursor.string("tensor name");
    check_name(cursor, tensor.record, tensor.name, "tensor name", max_name_bytes);
    const std::string subject = "tensor " + quoted(tensor.name);
    const uint64_t rank_at = cursor.position();
    const auto rank = cursor.get<uint32_t>("number of dimensions");
    if (rank > max_rank) {
      cursor.fail(rank_at, subject + " has " + std::to_string(rank) + " dimensions; at most 4 are allowed");
    }
    tensor.shape = {1, 1, 1, 1};
    for (uint32_t axis = 0; axis < rank; ++axis) {
      const uint64_t at = cursor.position();
      const auto dim = cursor.get<uint64_t>("dimension");
      if (dim > INT64_MAX) {
        cursor.fail(at, subject + ": dimension " + std::to_string(axis) + " is " + std::to_string(dim) +
                            "; at most 2^63 - 1 is allowed");
      }
      tensor.shape[axis] = static_cast<int64_t>(dim);
    }
    const uint64_t type_at = cursor.position();
    const auto type = cursor.get<uint32_t>("tensor type");
    tensor.type = static_cast<TensorType>(type);
    const Storage storage = storage_of(tensor.type);
    if (storage.block == 0) {
      cursor.fail(type_at, subject + " is stored as " + type_name(type) + "; " + readable_types() + " can be read");
    }
    if (tensor.shape[0] % storage.block != 0) {
      cursor.fail(rank_at, subject + ": a row has " + std::to_string(tensor.shape[0]) + " weights; a multiple of " +
                               std::to_string(storage.block) + " is needed for " + type_name(type));
    }
    try {
      const auto size = base::CheckedSize::product<int64_t>(tensor.shape);
      tensor.bytes = ((size / storage.block) * storage.bytes).value();
    } catch (const base::SizeError& error) {
      cursor.fail(rank_at, subject + ": " + error.what());
    }
    tensor.offset = cursor.get<uint64_t>("tensor offset");
    tensors_.push_back(tensor);
  }
  check_names();
  position = cursor.position();
}

void GgufFile::check_names() {
  std::sort(tensors_.begin(), tensors_.end(), [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
  for (size_t i = 1; i < tensors_.size(); ++i) {
    if (tensors_[i - 1].name != tensors_[i].name) continue;
    fail_at(std::max(tensors_[i - 1].record, tensors_[i].record),
            "tensor " + quoted(tensors_[i].name) + " stands twice in the file");
  }
}

// Turns offsets in the data section into offsets in the file, and checks that the data lie one after the other, padded
// to the alignment and no further, inside, and that the file ends where they do.
void GgufFile::place_tensors(uint64_t data_begin, uint64_t alignment) {
  std::vector<TensorInfo*> order;
  order.reserve(tensors_.size());
  for (TensorInfo& tensor : tensors_) {
    const std::string subject = "tensor " + quoted(tensor.name);
    if (tensor.offset % alignment != 0) {
      fail_at(tensor.record, subject + " begins at " + std::to_string(tensor.offset) + " of the data; a multiple of " +
                                 std::to_string(alignment) + " is needed");
    }
    try {
      const base::CheckedSize begin = base::CheckedSize(data_begin) + tensor.offset;
      base::check_range(begin, tensor.bytes, file_.size(), subject);
      tensor.offset = begin.value();
    } catch (const base::SizeError& error) {
      fail_at(tensor.record, std::string(error.what()).starts_with("tensor")
                                 ? std::string(error.what()) + ", the size of the file"
                                 : subject + ": " + error.what());
    }
    if (tensor.bytes != 0) order.push_back(&tensor);
  }
  std::sort(order.begin(), order.end(), [](const TensorInfo* a, const TensorInfo* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < order.size(); ++i) {
    if (order[i - 1]->offset + order[i - 1]->bytes <= order[i]->offset) continue;
    fail_at(order[i]->record, "the data of tensors " + quoted(order[i - 1]->name) + " and " + quoted(order[i]->name) +
                                  " overlap at offset " + std::to_string(order[i]->offset));
  }
  // No gaps either: each tensor ends where its type and shape say, and the next begins there. A type that was changed
  // to a narrower one would leave a gap, and every weight would be another one.
  uint64_t expected = data_begin;
  for (const TensorInfo* tensor : order) {
    if (tensor->offset != expected) {
      fail_at(tensor->record, "tensor " + quoted(tensor->name) + " begins at offset " + std::to_string(tensor->offset) +
                                  ", but what stands before it ends at " + std::to_string(expected) +
                                  " by its type and shape: one of them is wrong");
    }
    expected = base::CheckedSize(tensor->offset + tensor->bytes).align_up(alignment).value();
  }
  const uint64_t end = order.empty() ? data_begin : order.back()->offset + order.back()->bytes;
  const uint64_t padded = base::CheckedSize(end).align_up(alignment).value();
  if (file_.size() > padded) {
    warnings_.push_back("the last tensor ends at byte " + std::to_string(end) + ", but the file has " +
                        std::to_string(file_.size() - padded) + " more bytes; they are not read");
  }
}

const TensorInfo* GgufFile::find_tensor(std::string_view name) const {
  const auto found = std::lower_bound(tensors_.begin(), tensors_.end(), name,
                                      [](const TensorInfo& tensor, std::string_view n) { return tensor.name < n; });
  return found != tensors_.end() && found->name == name ? &*found : nullptr;
}

std::string_view GgufFile::key_at(uint64_t record) const { return Cursor(file_, record).string("metadata key"); }

const GgufFile::Entry* GgufFile::find_entry(std::string_view key) const {
  const uint64_t hash = hash_of(key);
  auto entry =
      std::lower_bound(index_.begin(), index_.end(), hash, [](const Entry& e, uint64_t h) { return e.hash < h; });
  for (; entry != index_.end() && entry->hash == hash; ++entry)
    if (key_at(entry->record) == key) return &*entry;
  return nullptr;
}

void GgufFile::fail(std::string_view key, const std::string& sentence) const {
  const Entry* entry = find_entry(key);
  throw FileError(file_.path(), entry == nullptr ? FileError::no_offset : static_cast<int64_t>(entry->record),
                  sentence);
}

void GgufFile::fail_at(uint64_t offset, const std::string& sentence) const {
  const auto [part, at] = part_at(offset);
  throw FileError(part->file_.path(), static_cast<int64_t>(at), sentence);
}

}  // namespace bareattn::model
