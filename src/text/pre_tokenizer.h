// Cuts a text into words before BPE merges inside each of them ("pre-tokenization"). Which rule a model was trained
// with is named by tokenizer.ggml.pre; an unknown name is refused, because a wrong rule gives plausible wrong ids.
// The rules are regular expressions, run by PCRE2 (JIT, UTF and Unicode properties). To add one, add a row to the
// table in pre_tokenizer_rules.cc and a set of golden ids for it.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace bareattn::text {

class PreTokenizer {
 public:
  /// `name` as in tokenizer.ggml.pre; InputError, with all that are known, when it is none of them. Without `jit` the
  /// patterns are interpreted (the same words; the test compares).
  explicit PreTokenizer(std::string_view name, bool jit = true);
  ~PreTokenizer();
  PreTokenizer(PreTokenizer&&) noexcept;
  PreTokenizer& operator=(PreTokenizer&&) noexcept;

  /// Appends to `ends` the end offset of every word of `text`, ascending; the last one is text.size(). Words cover the
  /// text without gaps and are not empty. Any bytes are accepted: each byte that is in no valid UTF-8 character counts
  /// as one U+FFFD, which to every pattern is a sign (not space, letter, number or line end). Of a character that is
  /// cut off, each byte counts singly, as in llama.cpp. Time is linear in the length and memory for matching constant:
  /// no pattern goes back over a run of the text more than once (pre_tokenizer_rules.cc).
  void split(std::string_view text, std::vector<size_t>& ends) const;
  /// One word after the other, and nothing kept of those before; a false from `see` ends it.
  using See = std::function<bool(size_t end)>;
  void split(std::string_view text, const See& see) const;

 private:
  struct Pattern;
  struct Piece {
    size_t from, to;
  };
  bool split_by(size_t first, std::string_view text, Piece piece, const See& see) const;
  std::vector<Pattern> patterns_;
};

}  // namespace bareattn::text
