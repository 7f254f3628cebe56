// Reads GGUF files (versions 2 and 3, little-endian) over a memory-mapped file: typed metadata and the place of every
// tensor. Everything is checked when the file is opened: counts, lengths, names, duplicates, types, shapes, alignment,
// offsets, overlaps; what stands after the last tensor is warned of. Nothing is trusted and nothing is copied but one
// small index, so memory and time stay linear in the file. A model split into several files ("-00001-of-00003.gguf") is
// read as one: the first part is named, the others must lie beside it (gguf_split.cc). Refused, by name: other
// versions, big-endian files, arrays of arrays, weight types that dequant.h does not know, files that are something
// else (pickle, zip, HTML, ..). FileError throughout. Where to go next: config.h (what the metadata mean), dequant.h
// (what the bytes mean).
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mapped_file.h"
#include "files/dequant.h"

namespace bareattn::model {

enum class ValueType : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

struct TensorInfo {
  std::string_view name;  // into the mapped file
  TensorType type;
  std::array<int64_t, 4> shape;  // GGUF order: shape[0] is the length of a row
  uint64_t offset;               // of the data, from the file's start; of split files, as if they stood in a row
  uint64_t bytes;                // of the data
  uint64_t record;               // offset of the tensor's record, in the same way, for error texts
  int64_t columns() const { return shape[0]; }
  int64_t rows() const { return shape[1] * shape[2] * shape[3]; }
};

class GgufFile {
 public:
  static constexpr uint64_t max_values = 3'000'000;  // metadata records in one file: 48 MB of index
  static constexpr uint64_t max_tensors = 65'536;    // ten times more than the largest models have

  explicit GgufFile(const std::string& path);

  const base::MappedFile& file() const { return file_; }  // of split files: the first
  size_t parts() const { return 1 + others_.size(); }
  uint64_t size() const;  // of all parts
  /// Copies bytes of one tensor from `offset` on, as TensorInfo has it. FileError where the file no longer has them.
  void read_at(uint64_t offset, std::span<std::byte> target) const;
  void check_unchanged() const;  // all parts
  std::string sha256() const;    // of split files: of the parts' hashes in a row
  uint32_t version() const { return version_; }
  uint64_t values() const { return index_.size(); }
  std::span<const TensorInfo> tensors() const { return tensors_; }        // in the order of their names
  const std::vector<std::string>& warnings() const { return warnings_; }  // odd, but no reason to refuse
  const TensorInfo* find_tensor(std::string_view name) const;             // nullptr: none

  /// Metadata by key: nothing where the key is absent, FileError where its type is another.
  std::optional<uint64_t> integer(std::string_view key) const;  // any integer type, not negative
  std::optional<double> number(std::string_view key) const;     // f32 or f64, finite
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string_view> string(std::string_view key) const;  // valid UTF-8
  std::optional<std::string_view> bytes(std::string_view key) const;   // a string that may be no UTF-8
  std::optional<std::vector<std::string>> strings(std::string_view key) const;
  std::optional<std::vector<int32_t>> integers(std::string_view key) const;  // array of i32 or u32
  std::optional<std::vector<float>> floats(std::string_view key) const;      // array of f32, as it stands
  /// Of what strings() would give: how many, and the memory for them.
  struct StringsSize {
    uint64_t count = 0, text = 0, memory = 0;  // text: bytes of their own
  };
  StringsSize strings_size(std::string_view key) const;
  std::optional<uint64_t> integers_length(std::string_view key) const;  // of what integers() would give
  std::optional<uint64_t> array_length(std::string_view key, ValueType element) const;
  std::optional<uint64_t> array_length(std::string_view key) const;             // of any elements
  std::optional<std::vector<double>> numbers(std::string_view key) const;       // a number, a bool or an array of them
  void each_key(const std::function<void(std::string_view key)>& visit) const;  // in no particular order

  /// Throws the FileError for this file; the offset is that of `key`'s record where there is one.
  [[noreturn]] void fail(std::string_view key, const std::string& sentence) const;
  [[noreturn]] void fail_at(uint64_t offset, const std::string& sentence) const;

 private:
  struct OnePart {};
  GgufFile(const std::string& path, OnePart);
  struct Entry {
    uint64_t hash;
    uint64_t record;  // offset of the record: key length, key, type, value
  };
  struct Value;

  void read_values(uint64_t& position, uint64_t count);
  void read_tensors(uint64_t& position, uint64_t count);
  void place_tensors(uint64_t data_begin, uint64_t alignment);
  void open_other_parts();
  void check_names();
  /// The part that a place in all parts is in, and its place there.
  std::pair<const GgufFile*, uint64_t> part_at(uint64_t offset) const;
  std::string_view key_at(uint64_t record) const;
  const Entry* find_entry(std::string_view key) const;
  std::optional<Value> find_value(std::string_view key) const;

  base::MappedFile file_;
  uint32_t version_ = 0;
  std::vector<Entry> index_;  // ordered by (hash, key)
  std::vector<TensorInfo> tensors_;
  std::vector<std::string> warnings_;
  std::vector<std::unique_ptr<const GgufFile>> others_;  // the second part and those after it
};

/// A name from a file, quoted, cut and made safe to print.
std::string quoted(std::string_view name);

}  // namespace bareattn::model
