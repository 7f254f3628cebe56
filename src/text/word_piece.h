// WordPiece ("bert" in GGUF): text is made plain first (control characters away, and for an uncased model lower case
// without accents), cut at blanks, signs and CJK characters, and each word is taken apart from the left by the longest
// token that fits. Tokens that begin a word have U+2581 before them, as in GGUF; a word with a part that is no token,
// or of more than 100 characters, is the unknown token as a whole. Text cannot be had back from the ids: what was made
// plain is gone. The rules are those of Hugging Face's BertNormalizer and BertPreTokenizer.
#pragma once
#include <string>
#include <vector>

#include "base/seeded_hash.h"
#include "text/vocabulary.h"
#include "text/word_encoder.h"

namespace bareattn::text {

class WordPiece final : public WordEncoder {
 public:
  /// Both must outlive this. InputError where there is no unknown token.
  WordPiece(const TokenizerSpec& spec, const Vocabulary& vocabulary);

  void split(std::string_view text, const See& see) const override;
  void encode(std::string_view word, bool prefixed, BpeScratch& scratch, std::vector<int32_t>& out) const override;

 private:
  void encode_plain(std::string_view word, std::vector<int32_t>& out) const;

  const TokenizerSpec& spec_;
  std::string_view text_of(int32_t id) const;  // without the mark

  base::TextIndex begins_, continues_;  // of tokens that begin a word, and of the others
  size_t longest_ = 0;                  // bytes of a token
};

}  // namespace bareattn::text
