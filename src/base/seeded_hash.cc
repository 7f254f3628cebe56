// See seeded_hash.h.
#include "base/seeded_hash.h"

#include <bit>
#include <cstring>
#include <random>

namespace bareattn::base {

uint64_t process_seed() {
  static const uint64_t seed = [] {
    std::random_device device;
    return uint64_t{device()} << 32 | device();
  }();
  return seed;
}

size_t SeededHash::operator()(std::string_view text) const noexcept {
  static_assert(std::endian::native == std::endian::little);
  __extension__ using Wide = unsigned __int128;
  constexpr size_t step = 7;
  uint64_t sum = text.size();
  const auto add = [&](uint64_t part) {
    const Wide product = Wide{sum} * point_;  // sum < 2^62, point < 2^61
    sum = static_cast<uint64_t>(product & prime) + static_cast<uint64_t>(product >> 61);
    sum = (sum & prime) + (sum >> 61) + part;
  };
  for (; text.size() > step; text.remove_prefix(step)) {
    uint64_t part = 0;
    std::memcpy(&part, text.data(), step);
    add(part);
  }
  uint64_t part = 0;
  std::memcpy(&part, text.data(), text.size());
  add(part);
  add(0);  // the last part is multiplied too
  // Of numbered texts this is an arithmetic progression, whose lower bits crowd at some points: they are mixed, one to
  // one (the last steps of splitmix64, Steele et al. 2014).
  sum %= prime;
  sum = (sum ^ (sum >> 30)) * 0xbf58476d1ce4e5b9U;
  sum = (sum ^ (sum >> 27)) * 0x94d049bb133111ebU;
  return static_cast<size_t>(sum ^ (sum >> 31));
}

TextIndex::TextIndex(size_t most, SeededHash hash) : hash_(hash), slots_(std::bit_ceil(2 * most + 2), -1) {}

}  // namespace bareattn::base
