// Checksums of a large file by pages of 64 KiB, made while its parts are written in any order and checked page by page
// when they are read, so that neither side ever has to go through the whole. A page's sum is
// sum_k word_k * odd_k mod 2^64 over its 32-bit little-endian words, odd_k a fixed random odd number for each place:
// addition makes the order of writing irrelevant (each byte must be added once); one changed word always shows, any
// other accident with all but 2^-32. It guards against accidents, not against somebody who recomputes it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace bareattn::base {

inline constexpr uint64_t sum_page_bytes = 65'536;

class PageSums {
 public:
  explicit PageSums(uint64_t bytes) : sums_((bytes + sum_page_bytes - 1) / sum_page_bytes) {}

  /// Adds what was written at `offset`; all of it lies in [0, bytes).
  void add(uint64_t offset, std::span<const std::byte> bytes);
  const std::vector<uint64_t>& sums() const { return sums_; }  // [pages]

 private:
  std::vector<uint64_t> sums_;
};

/// What bytes that begin at `offset` of a page add to its sum; they end within the page.
uint64_t page_sum(uint64_t offset, std::span<const std::byte> bytes);

}  // namespace bareattn::base
