// See special_tokens.h. The entries are one sorted list. Of those that a text begins with the longest is the last entry
// that is not greater than the text, or one that this entry begins with, or one that that begins with, ..: a binary
// search, and then a walk that skips every entry between. Narrowing the list byte by byte would search at every length.
#include "text/special_tokens.h"

#include <algorithm>

namespace bareattn::text {

SpecialTokens::SpecialTokens(std::vector<Entry> entries) : entries_(std::move(entries)) {
  std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) { return a.text < b.text; });
  for (const Entry& entry : entries_) first_[static_cast<unsigned char>(entry.text[0]) + 1] += 1;
  for (size_t b = 0; b < 256; ++b) first_[b + 1] += first_[b];
  shorter_.assign(entries_.size(), -1);
  for (size_t i = 1; i < entries_.size(); ++i) {
    auto at = static_cast<int32_t>(i) - 1;
    while (at >= 0 && !entries_[i].text.starts_with(entries_[static_cast<size_t>(at)].text))
      at = shorter_[static_cast<size_t>(at)];
    shorter_[i] = at;
  }
}

SpecialTokens::Found SpecialTokens::find(std::string_view text, size_t from, bool with_control) const {
  if (entries_.empty()) return {};
  for (size_t begin = from; begin < text.size(); ++begin) {
    const auto b = static_cast<unsigned char>(text[begin]);
    if (first_[b] == first_[b + 1]) continue;
    const std::string_view here = text.substr(begin, max_length);
    const auto low = entries_.begin() + first_[b], high = entries_.begin() + first_[b + 1];
    const auto after = std::upper_bound(low, high, here, [this](std::string_view t, const Entry& e) {
      if (steps != nullptr) ++*steps;
      return t < e.text;
    });
    if (after == low) continue;
    auto at = static_cast<int32_t>(after - entries_.begin()) - 1;
    const std::string_view nearest = entries_[static_cast<size_t>(at)].text;
    const auto shared = static_cast<size_t>(
        std::mismatch(nearest.begin(), nearest.end(), here.begin(), here.end()).first - nearest.begin());
    for (; at >= 0; at = shorter_[static_cast<size_t>(at)]) {
      if (steps != nullptr) ++*steps;
      const Entry& entry = entries_[static_cast<size_t>(at)];
      if (entry.text.size() <= shared && (with_control || !entry.control))
        return {begin, begin + entry.text.size(), entry.id};
    }
  }
  return {};
}

}  // namespace bareattn::text
