// Hash tables whose keys come from a file or a request. std::hash has a fixed seed, so that whoever writes a file can
// choose keys that all share one hash: then every look-up walks past all of them, and a megabyte takes seconds. Here
// the hash is drawn anew in every process, from a family in which no two texts collide often. Nothing else in the
// project uses unordered containers (tools/check_floors.py), and nothing may depend on the order in them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace bareattn::base {

/// Different in every process, the same within one; nobody outside can know it.
uint64_t process_seed();

/// A polynomial modulo 2^61 - 1 in a random point, over the text's length and its bytes by sevens: two texts of n bytes
/// have the same hash in at most n / 7 + 2 of 2^61 processes.
class SeededHash {
 public:
  using is_transparent = void;
  SeededHash() : SeededHash(process_seed()) {}
  explicit SeededHash(uint64_t seed) : point_(seed % prime) {}
  size_t operator()(std::string_view text) const noexcept;

 private:
  static constexpr uint64_t prime = (uint64_t{1} << 61) - 1;
  uint64_t point_;
};

template <class Value>
using HashMap = std::unordered_map<std::string, Value, SeededHash, std::equal_to<>>;

/// The numbers of a list's texts by the texts themselves, which stay where they are: 8 to 16 bytes a text.
class TextIndex {
 public:
  explicit TextIndex(size_t most, SeededHash hash = {});

  /// The number that has this text already, or -1: then `number` has it now. At most `most` are added.
  template <class TextOf>
  int32_t add(std::string_view text, int32_t number, const TextOf& text_of) {
    int32_t& slot = slots_[slot_of(text, text_of)];
    if (slot >= 0) return slot;
    slot = number;
    return -1;
  }
  /// -1: none.
  template <class TextOf>
  int32_t find(std::string_view text, const TextOf& text_of) const {
    return slots_[slot_of(text, text_of)];
  }

 private:
  template <class TextOf>
  size_t slot_of(std::string_view text, const TextOf& text_of) const {
    size_t at = hash_(text) & (slots_.size() - 1);
    while (slots_[at] >= 0 && text_of(slots_[at]) != text) at = (at + 1) & (slots_.size() - 1);
    return at;
  }

  SeededHash hash_;
  std::vector<int32_t> slots_;  // a power of two, at most half full; -1: empty
};

}  // namespace bareattn::base
