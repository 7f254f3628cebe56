// safetensors files: 8 bytes of header length, a JSON header that names each tensor's type, shape and place, then the
// data without holes. Reading is strict: everything the header says is checked against the file before anything of it
// is used (FileError with the offset); what the format allows loads (no tensors, empty tensors, shape [], white space
// around the header). Writing streams: sizes are known first, the parts come in any order, and the file appears whole
// at commit() or not at all (OutputError). Next: trace_format.h, which says what a trace file holds.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/atomic_file.h"
#include "base/mapped_file.h"

namespace bareattn::observing {

struct StoredTensor {
  std::string name;
  std::string dtype;            // "F32", "BF16", ...: the format's names
  std::vector<int64_t> shape;   // outermost first, row-major
  uint64_t begin = 0, end = 0;  // bytes within the data section
  uint64_t bytes() const { return end - begin; }
};

/// The longest header that is read or written: those of the largest models stay below 1 MB.
inline constexpr uint64_t max_header_bytes = 4 << 20;

/// Bits of one element; 0 for a type that the format does not know.
int bits_of(std::string_view dtype);

class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path);

  const base::MappedFile& file() const { return file_; }
  const std::vector<StoredTensor>& tensors() const { return tensors_; }  // by place
  const StoredTensor* find(std::string_view name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  uint64_t data_begin() const { return data_begin_; }  // offset of the data section in the file
  std::string_view header() const { return header_; }
  /// The tensor's bytes in the map; MappedFile says what holds if the file is changed meanwhile.
  std::span<const std::byte> bytes(const StoredTensor& tensor) const;
  /// Offset of a tensor's entry in the header, for messages.
  int64_t offset_of(std::string_view name) const;
  [[noreturn]] void fail(int64_t offset, const std::string& sentence) const;

 private:
  void parse();
  void check_layout();

  base::MappedFile file_;
  std::string header_;
  uint64_t data_begin_ = 0;
  std::vector<StoredTensor> tensors_;
  std::map<std::string, size_t, std::less<>> index_;
  std::map<std::string, std::string> metadata_;
};

class SafetensorsWriter {
 public:
  /// Tensors lie in the order given; begin and end are set here. `metadata` is what commit() will be given, but for
  /// numbers that may become up to 256 characters longer. InputError where the header would be too long.
  SafetensorsWriter(const std::string& path, std::vector<StoredTensor> tensors,
                    const std::map<std::string, std::string>& metadata);

  const StoredTensor& tensor(std::string_view name) const;  // std::out_of_range where there is none
  /// Bytes of a tensor from its byte `offset` on. Not thread-safe.
  void write(const StoredTensor& tensor, uint64_t offset, std::span<const std::byte> bytes);
  /// The header with the metadata, as the file will have it.
  std::string header(const std::map<std::string, std::string>& metadata) const;
  /// The file appears. What was never written is zero. `check` is asked about the whole file first, by the name it has
  /// until then; what it throws leaves everything as it was.
  void commit(const std::map<std::string, std::string>& metadata,
              const std::function<void(const std::string& path)>& check = {});

 private:
  base::AtomicFile file_;
  std::vector<StoredTensor> tensors_;
  std::map<std::string, size_t, std::less<>> index_;
  uint64_t header_bytes_ = 0;  // the 8 bytes of length not counted
};

}  // namespace bareattn::observing
