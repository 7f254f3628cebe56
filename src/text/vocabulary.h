// The checked form of a TokenizerSpec: pieces, byte tokens, merges by id and special tokens. Everything that a hostile
// or broken model file can say wrongly about its tokenizer is refused here, in one pass whose time is linear in the
// file; past this point ids are in range and every merge leads from normal tokens to a normal token.
// Where to go next: bpe.h uses the merges, tokenizer.cc the rest.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bareattn/tokenizer.h"
#include "base/seeded_hash.h"
#include "text/bpe.h"
#include "text/special_tokens.h"

namespace bareattn::text {

enum class TokenType : int32_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

/// How a byte is written for which the vocabulary has no token (tokenizer.cc tells why).
struct ByteEscape {
  bool available = false;
  std::array<int32_t, 3> mark{};    // the three bytes of U+FFFD, one token each
  std::array<int32_t, 16> digit{};  // 0 to 9, A to F
};

class Vocabulary {
 public:
  /// InputError, one sentence. `spec` must outlive this and stay where it is.
  explicit Vocabulary(const TokenizerSpec& spec);

  int32_t size() const { return static_cast<int32_t>(starts_.size()) - 1; }
  std::string_view piece(int32_t id) const;
  TokenType type(int32_t id) const;
  int32_t byte_token(uint8_t byte) const { return byte_tokens_[byte]; }  // -1: none
  /// The token that is this word, for vocabularies that take it without merging; -1: none.
  int32_t whole_word(std::string_view word) const;
  const ByteEscape& escape() const { return escape_; }
  const MergeTable& merges() const { return merges_; }
  const SpecialTokens& special_tokens() const { return special_tokens_; }

 private:
  bool byte_level() const;
  void read_tokens();
  void read_merges();
  void prepare_escape();

  const TokenizerSpec& spec_;
  std::string pieces_;            // all pieces, one after the other
  std::vector<uint64_t> starts_;  // size() + 1 offsets into pieces_
  std::array<int32_t, 256> byte_tokens_{};
  std::optional<base::TextIndex> words_;  // of the pieces; only with ignore_merges
  MergeTable merges_;
  SpecialTokens special_tokens_;
  ByteEscape escape_;
};

}  // namespace bareattn::text
