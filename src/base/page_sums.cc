// See page_sums.h.
#include "base/page_sums.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace bareattn::base {
namespace {

constexpr uint64_t page_words = sum_page_bytes / 4;

// splitmix64, the upper half made odd.
std::array<uint32_t, page_words> make_multipliers() {
  std::array<uint32_t, page_words> odd{};
  uint64_t state = 0x62617265'6174746eU;
  for (uint32_t& m : odd) {
    uint64_t z = state += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    m = static_cast<uint32_t>((z ^ (z >> 31)) >> 32) | 1U;
  }
  return odd;
}

const std::array<uint32_t, page_words>& multipliers() {
  static const std::array<uint32_t, page_words> odd = make_multipliers();
  return odd;
}

uint64_t byte_sum(uint64_t offset, std::byte value) {
  return (static_cast<uint64_t>(value) << (offset % 4 * 8)) * multipliers()[offset / 4];
}

}  // namespace

uint64_t page_sum(uint64_t offset, std::span<const std::byte> bytes) {
  const auto& odd = multipliers();
  uint64_t sum = 0;
  size_t at = 0;
  for (; at < bytes.size() && (offset + at) % 4 != 0; ++at) sum += byte_sum(offset + at, bytes[at]);
  const size_t words = (bytes.size() - at) / 4;
  const uint32_t* m = odd.data() + (offset + at) / 4;
  const std::byte* from = bytes.data() + at;
  uint64_t lanes[8] = {};  // independent sums, so that the compiler may use vectors
  size_t w = 0;
  for (; w + 8 <= words; w += 8) {
    uint32_t word[8];
    std::memcpy(word, from + 4 * w, sizeof word);
    for (size_t i = 0; i < 8; ++i) lanes[i] += static_cast<uint64_t>(word[i]) * m[w + i];
  }
  for (const uint64_t lane : lanes) sum += lane;
  for (at += 4 * w; at < bytes.size(); ++at) sum += byte_sum(offset + at, bytes[at]);
  return sum;
}

void PageSums::add(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const uint64_t within = offset % sum_page_bytes;
    const auto part = bytes.first(std::min<uint64_t>(bytes.size(), sum_page_bytes - within));
    sums_[offset / sum_page_bytes] += page_sum(within, part);
    offset += part.size();
    bytes = bytes.subspan(part.size());
  }
}

}  // namespace bareattn::base
