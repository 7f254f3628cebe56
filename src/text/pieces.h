// SentencePiece's BPE ("llama" in GGUF): tokens are texts in which U+2581 stands for a space, and merging begins with
// characters instead of bytes. Neighbours merge where their text together is a token, that of the highest score first,
// of equal scores the leftmost. This is done with the merge table of bpe.h: every way to cut a token into two that
// occur is a merge, whose rank is the place of the token's score. A character that is no token is spelled by byte
// tokens.
//
// A text is cut between two characters that stand beside each other in no token: nothing can merge across. So a word's
// ids depend on nothing else, and long texts cost no more than their words. Refused: tokens over 256 bytes, scores that
// are NaN, and a vocabulary whose tables would take more than 56 MiB beside its text (the largest real one, of 262,144
// tokens, takes 49 MiB), since a short text can be cut in very many ways.
#pragma once
#include <memory>
#include <vector>

#include "text/vocabulary.h"
#include "text/word_encoder.h"

namespace bareattn::text {

class Pieces final : public WordEncoder {
 public:
  /// Both must outlive this. Where the spec has merges (tokenizer.json) they are used, else the scores. InputError.
  Pieces(const TokenizerSpec& spec, const Vocabulary& vocabulary);

  void split(std::string_view text, const See& see) const override;
  void encode(std::string_view word, bool prefixed, BpeScratch& scratch, std::vector<int32_t>& out) const override;

 private:
  static constexpr size_t max_token_bytes = 256;
  static constexpr size_t room = size_t{56} << 20;

  void hold(size_t bytes);  // InputError where all that is held is more than there is room for
  void read_characters();
  void make_merges();
  int32_t symbol_of(char32_t character) const;
  void spell(std::string_view character, std::vector<int32_t>& out) const;

  const TokenizerSpec& spec_;
  const Vocabulary& vocabulary_;
  std::vector<bool> usable_;      // by id: text may become this token
  MergeTable symbols_;            // (character, 0) -> its token, or a number past the vocabulary
  MergeTable neighbours_;         // (symbol, symbol) that stand beside each other in some token
  MergeTable merges_;             // made from the scores
  const MergeTable* used_;        // these or the vocabulary's
  std::vector<uint16_t> length_;  // by id: characters
  size_t held_ = 0, text_ = 0;    // bytes, about: in tables, and of the tokens in a file
};

}  // namespace bareattn::text
