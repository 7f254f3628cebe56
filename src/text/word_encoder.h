// How a tokenizer that is no byte-level BPE turns text into ids: where a text may be cut into parts that do not change
// each other's ids, and the ids of one part. Such a part is called a word here; the tokenizer keeps the ids of words
// that it has seen. One class for each kind: pieces.h (SentencePiece's BPE), word_piece.h.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "text/bpe.h"

namespace bareattn::text {

class WordEncoder {
 public:
  virtual ~WordEncoder() = default;

  /// The end offset of every word, ascending; words cover the text and are not empty. False from `see` ends it.
  using See = std::function<bool(size_t end)>;
  virtual void split(std::string_view text, const See& see) const = 0;

  /// Appends the ids of one word. `prefixed`: as if a space stood before it.
  virtual void encode(std::string_view word, bool prefixed, BpeScratch& scratch, std::vector<int32_t>& out) const = 0;
};

}  // namespace bareattn::text
