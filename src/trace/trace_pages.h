// The bytes of a trace file, checked: a page's checksum is compared when the page is first read, and only then.
#pragma once
#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "files/safetensors.h"

namespace bareattn::observing {

class TracePages {
 public:
  /// `file` has a tensor "checksums" (trace_format.h) whose own digest was checked; it outlives this object.
  explicit TracePages(const SafetensorsFile& file);

  /// Bytes [offset, offset + size) of a tensor. FileError where they are not those that were written.
  std::span<const std::byte> bytes(const StoredTensor& tensor, uint64_t offset, uint64_t size) const;
  template <class T>
  std::span<const T> values(const StoredTensor& tensor, uint64_t first, uint64_t count) const {
    const auto raw = bytes(tensor, first * sizeof(T), count * sizeof(T));
    return {reinterpret_cast<const T*>(raw.data()), count};
  }
  void check_all() const;

 private:
  void check_page(uint64_t page) const;
  std::span<const std::byte> body() const;

  const SafetensorsFile& file_;
  uint64_t begin_ = 0;  // of what the checksums cover, in the file
  std::vector<uint64_t> sums_;
  std::unique_ptr<std::atomic<bool>[]> checked_;  // [pages]
};

}  // namespace bareattn::observing
