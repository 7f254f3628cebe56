// See bpe.h.
#include "text/bpe.h"

#include <algorithm>
#include <bit>

#include "base/random.h"
#include "base/seeded_hash.h"

namespace bareattn::text {
namespace {

constexpr uint64_t kEmpty = ~uint64_t{0};  // two ids of -1: no merge has them

uint64_t key_of(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

size_t MergeTable::bytes_for(size_t merges) {
  return std::bit_ceil(merges * 2 + 2) * sizeof(Slot);  // at most half full, so that a look-up always ends
}

MergeTable::MergeTable(size_t merges) : MergeTable(merges, base::process_seed()) {}

MergeTable::MergeTable(size_t merges, uint64_t seed) {
  base::SplitMix64 random(seed);
  left_factor_ = random.next() | 1;
  right_factor_ = random.next() | 1;
  const size_t size = bytes_for(merges) / sizeof(Slot);
  slots_.assign(size, Slot{kEmpty, {}});
  shift_ = 64 - std::countr_zero(size);
}

// A sum of products with unknown factors (Dietzfelbinger's pair multiply-shift), then mixed so that ids in a row do not
// fill slots in a row.
size_t MergeTable::first_slot(uint64_t key) const {
  key = (key >> 32) * left_factor_ + (key & 0xFFFFFFFFU) * right_factor_;
  key ^= key >> 29;
  key *= 0xBF58476D1CE4E5B9u;
  return key >> shift_;
}

size_t MergeTable::longest_search() const {
  size_t longest = 0;
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].key == kEmpty) continue;
    longest = std::max(longest, (i - first_slot(slots_[i].key)) & (slots_.size() - 1));
  }
  return longest;
}

bool MergeTable::add(int32_t left, int32_t right, Merge merge) {
  const uint64_t key = key_of(left, right);
  for (size_t i = first_slot(key);; i = (i + 1) & (slots_.size() - 1)) {
    if (slots_[i].key == key) return false;
    if (slots_[i].key == kEmpty) {
      slots_[i] = {key, merge};
      return true;
    }
  }
}

MergeTable::Merge MergeTable::find(int32_t left, int32_t right) const {
  if (left < 0 || right < 0) return {};
  const uint64_t key = key_of(left, right);
  for (size_t i = first_slot(key);; i = (i + 1) & (slots_.size() - 1)) {
    if (slots_[i].key == key) return slots_[i].merge;
    if (slots_[i].key == kEmpty) return {};
  }
}

void merge_short_word(const MergeTable& table, std::vector<int32_t>& word, BpeScratch& scratch) {
  auto& merges = scratch.merges;  // merges[i]: of word[i] and word[i + 1]
  merges.clear();
  for (size_t i = 0; i + 1 < word.size(); ++i) merges.push_back(table.find(word[i], word[i + 1]));
  while (!merges.empty()) {
    size_t best = merges.size();
    for (size_t i = 0; i < merges.size(); ++i) {
      if (merges[i].rank >= 0 && (best == merges.size() || merges[i].rank < merges[best].rank)) best = i;
    }
    if (best == merges.size()) return;
    word[best] = merges[best].id;
    word.erase(word.begin() + static_cast<ptrdiff_t>(best) + 1);
    merges.erase(merges.begin() + static_cast<ptrdiff_t>(best));
    if (best > 0) merges[best - 1] = table.find(word[best - 1], word[best]);
    if (best < merges.size()) merges[best] = table.find(word[best], word[best + 1]);
  }
}

void merge_long_word(const MergeTable& table, std::vector<int32_t>& word, BpeScratch& scratch) {
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  symbols.clear();
  heap.clear();
  const auto count = static_cast<int32_t>(word.size());
  for (int32_t i = 0; i < count; ++i) symbols.push_back({word[i], i - 1, i + 1 < count ? i + 1 : -1});

  const auto worse = [](const BpeScratch::Candidate& a, const BpeScratch::Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
  };
  const auto candidate = [&](int32_t at) -> BpeScratch::Candidate {
    const int32_t right = at < 0 ? -1 : symbols[at].right;
    if (right < 0) return {-1, at, -1, -1};
    return {table.find(symbols[at].id, symbols[right].id).rank, at, symbols[at].id, symbols[right].id};
  };
  const auto push = [&](int32_t at) {
    const auto c = candidate(at);
    if (c.rank < 0) return;
    heap.push_back(c);
    std::push_heap(heap.begin(), heap.end(), worse);
  };
  for (int32_t i = 0; i < count; ++i) {
    const auto c = candidate(i);
    if (c.rank >= 0) heap.push_back(c);
  }
  std::make_heap(heap.begin(), heap.end(), worse);

  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), worse);
    const auto best = heap.back();
    heap.pop_back();
    auto& left = symbols[best.at];
    // Stale: one of the two has been merged since. A symbol merged into its left neighbour has id -1, which no
    // candidate has.
    if (left.id != best.left_id || left.right < 0 || symbols[left.right].id != best.right_id) continue;
    auto& right = symbols[left.right];
    left.id = table.find(best.left_id, best.right_id).id;
    right.id = -1;
    left.right = right.right;
    if (left.right >= 0) symbols[left.right].left = best.at;
    push(left.left);
    push(best.at);
  }
  word.clear();
  for (int32_t i = 0; i >= 0; i = symbols[i].right) word.push_back(symbols[i].id);
}

void merge_word(const MergeTable& table, std::vector<int32_t>& word, BpeScratch& scratch) {
  constexpr size_t kShort = 48;  // where the two take equally long, measured on text
  if (word.size() < 2) return;
  if (word.size() <= kShort) {
    merge_short_word(table, word, scratch);
  } else {
    merge_long_word(table, word, scratch);
  }
}

}  // namespace bareattn::text
