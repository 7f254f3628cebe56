// Finds special tokens in a text before it is cut into words: control tokens such as <|im_start|> where the caller
// asked for them, user-defined ones always. At each place the longest that begins there wins, and the search goes on
// behind it (leftmost-longest, as in Hugging Face tokenizers; llama.cpp looks for the longest in the whole text first,
// which differs only where two special tokens overlap).
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace bareattn::text {

class SpecialTokens {
 public:
  /// A longer one is refused by the tokenizer: it bounds the time spent at each place of a text.
  static constexpr size_t max_length = 256;

  struct Entry {
    std::string_view text;  // 1 to max_length bytes, which outlive this; no two the same
    int32_t id;
    bool control;  // found only when asked for
  };

  SpecialTokens() = default;
  explicit SpecialTokens(std::vector<Entry> entries);

  struct Found {
    size_t begin = 0, end = 0;
    int32_t id = -1;  // -1: none is left
  };
  /// The first one that begins at `from` or later.
  Found find(std::string_view text, size_t from, bool with_control) const;

  /// For tests: how often find() has compared or stepped, all calls together, is counted here where it is not null.
  int64_t* steps = nullptr;

 private:
  std::vector<Entry> entries_;         // in the order of their texts
  std::vector<int32_t> shorter_;       // the longest other entry that this one begins with; -1: none
  std::array<uint32_t, 257> first_{};  // entries that begin with byte b: first_[b] to first_[b + 1]
};

}  // namespace bareattn::text
