// See special_tokens.h. A sorted list serves as the trie: the entries that begin with the bytes read so far are one
// range of it, which each further byte narrows. No memory beyond the list, whatever a file says.
#include "text/special_tokens.h"

#include <algorithm>

namespace bareattn::text {

SpecialTokens::SpecialTokens(std::vector<Entry> entries) : entries_(std::move(entries)) {
  std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) { return a.text < b.text; });
  for (const Entry& entry : entries_) first_[static_cast<unsigned char>(entry.text[0]) + 1] += 1;
  for (size_t b = 0; b < 256; ++b) first_[b + 1] += first_[b];
}

SpecialTokens::Found SpecialTokens::find(std::string_view text, size_t from, bool with_control) const {
  if (entries_.empty()) return {};
  const auto byte = [](std::string_view s, size_t i) { return static_cast<unsigned char>(s[i]); };
  for (size_t begin = from; begin < text.size(); ++begin) {
    const unsigned char b = byte(text, begin);
    auto low = entries_.begin() + first_[b];
    auto high = entries_.begin() + first_[b + 1];
    Found longest;
    for (size_t length = 1; low != high; ++length) {  // all of [low, high) begin with these `length` bytes
      if (low->text.size() == length) {               // the shortest comes first
        if (with_control || !low->control) longest = {begin, begin + length, low->id};
        ++low;
      }
      if (begin + length == text.size()) break;
      const unsigned char next = byte(text, begin + length);
      low = std::partition_point(low, high, [&](const Entry& e) { return byte(e.text, length) < next; });
      high = std::partition_point(low, high, [&](const Entry& e) { return byte(e.text, length) == next; });
    }
    if (longest.id >= 0) return longest;
  }
  return {};
}

}  // namespace bareattn::text
