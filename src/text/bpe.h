// Byte pair encoding inside one word: which neighbours merge, and in what order. The lowest rank (the earliest line of
// the merge list) goes first, of equal ranks the leftmost; that is the definition, and llama.cpp and Hugging Face
// tokenizers follow it too. Words and special tokens are made elsewhere (pre_tokenizer.h, special_tokens.h).
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace bareattn::text {

/// (left id, right id) -> (rank, merged id), an open-addressing table: one cache line for most look-ups, where a table
/// of nodes needs three; look-ups are most of the encoder's time. Both ids are multiplied by numbers drawn anew for
/// each table, so that no file can choose ids that crowd together.
class MergeTable {
 public:
  struct Merge {
    int32_t rank = -1;  // -1: the two do not merge
    int32_t id = -1;
  };

  explicit MergeTable(size_t merges);
  static size_t bytes_for(size_t merges);  // what it takes
  MergeTable(size_t merges, uint64_t seed);

  /// False, and nothing changed, when the pair is already there. At most as many as the constructor was told.
  bool add(int32_t left, int32_t right, Merge merge);

  /// Negative ids merge with nothing.
  Merge find(int32_t left, int32_t right) const;

  /// The most slots that a look-up of a merge that is there goes past: what a hostile file would want to be large.
  size_t longest_search() const;

 private:
  struct Slot {
    uint64_t key;
    Merge merge;
  };
  size_t first_slot(uint64_t key) const;

  std::vector<Slot> slots_;
  uint64_t left_factor_, right_factor_;  // odd
  int shift_;
};

/// Memory that merge_word uses again from word to word.
struct BpeScratch {
  struct Symbol {
    int32_t id, left, right;  // token id; indices of the neighbours, -1 at the ends
  };
  struct Candidate {
    int32_t rank, at;           // merge the symbol `at` with the one to its right
    int32_t left_id, right_id;  // as they were when this was pushed: otherwise it is stale
  };
  std::vector<int32_t> word;  // what a caller merges
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
  std::vector<MergeTable::Merge> merges;
};

/// Merges `word` (token ids, fewer than 2^31) in place. Short words by looking for the best pair again and again, long
/// ones with a heap: O(n log n) for a word of n symbols. Both give the same; a test compares them.
void merge_word(const MergeTable& table, std::vector<int32_t>& word, BpeScratch& scratch);

void merge_short_word(const MergeTable& table, std::vector<int32_t>& word, BpeScratch& scratch);  // O(n^2)
void merge_long_word(const MergeTable& table, std::vector<int32_t>& word, BpeScratch& scratch);   // O(n log n)

}  // namespace bareattn::text
