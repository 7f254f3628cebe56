// See vocabulary.h.
#include "text/vocabulary.h"

#include <fmt/format.h>

#include <limits>

#include "bareattn/error.h"
#include "base/seeded_hash.h"
#include "text/byte_alphabet.h"
#include "text/quote.h"

namespace bareattn::text {
namespace {

template <class... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) {
  throw InputError(fmt::format(format, std::forward<Args>(args)...));
}

/// "<0x0A>" -> 10; -1 for anything else.
int byte_of_name(std::string_view token) {
  if (token.size() != 6 || token.substr(0, 3) != "<0x" || token[5] != '>') return -1;
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

/// A token of pieces or words as text: U+2581 is a space.
std::string with_spaces(std::string_view token) {
  constexpr std::string_view mark = "\xE2\x96\x81";
  std::string out;
  for (size_t at = 0; at < token.size();) {
    const bool space = token.substr(at).starts_with(mark);
    out += space ? ' ' : token[at];
    at += space ? mark.size() : 1;
  }
  return out;
}

void check_id(const char* name, int32_t id, size_t size) {
  if (id == -1 || (id >= 0 && static_cast<size_t>(id) < size)) return;
  refuse("tokenizer.ggml.{}_token_id is {}, but the vocabulary has {} tokens (ids 0 to {})", name, id, size, size - 1);
}

void check_header(const TokenizerSpec& spec) {
  if (spec.model != "gpt2" && spec.model != "llama" && spec.model != "bert") {
    refuse(
        "tokenizer.ggml.model is {}; \"gpt2\" (byte-level BPE), \"llama\" (SentencePiece) and \"bert\" (WordPiece) are "
        "read",
        quoted(spec.model));
  }
  const size_t size = spec.tokens.size();
  if (size == 0) refuse("tokenizer.ggml.tokens is empty: a vocabulary needs at least one token");
  if (size > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    refuse("tokenizer.ggml.tokens has {} tokens; ids are 32 bits wide, so at most 2^31 - 1", size);
  }
  if (spec.merges.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    refuse("tokenizer.ggml.merges has {} merges; ranks are 32 bits wide, so at most 2^31 - 1", spec.merges.size());
  }
  if (!spec.token_types.empty() && spec.token_types.size() != size) {
    refuse("tokenizer.ggml.token_type has {} entries for {} tokens", spec.token_types.size(), size);
  }
  check_id("bos", spec.bos_id, size);
  check_id("eos", spec.eos_id, size);
  check_id("unknown", spec.unknown_id, size);
  check_id("padding", spec.padding_id, size);
  if (spec.add_bos && spec.bos_id < 0) {
    refuse("tokenizer.ggml.add_bos_token is true, but there is no tokenizer.ggml.bos_token_id");
  }
  if (spec.add_space_prefix && spec.model != "llama") {
    refuse(
        "tokenizer.ggml.add_space_prefix is true, which no byte-level BPE model here has: decoding would not give "
        "back the text");
  }
}

}  // namespace

Vocabulary::Vocabulary(const TokenizerSpec& spec) : spec_(spec), merges_(spec.merges.size()) {
  check_header(spec);
  read_tokens();
  read_merges();
  if (byte_level()) prepare_escape();
}

bool Vocabulary::byte_level() const { return spec_.model == "gpt2"; }

int32_t Vocabulary::whole_word(std::string_view word) const {
  return words_ ? words_->find(word, [this](int32_t id) { return piece(id); }) : -1;
}

std::string_view Vocabulary::piece(int32_t id) const {
  return std::string_view(pieces_).substr(starts_[id], starts_[id + 1] - starts_[id]);
}

TokenType Vocabulary::type(int32_t id) const {
  return spec_.token_types.empty() ? TokenType::normal : static_cast<TokenType>(spec_.token_types[id]);
}

void Vocabulary::read_tokens() {
  byte_tokens_.fill(-1);
  std::array<int32_t, 256> named_bytes;  // <0x0A> and the like, second choice
  named_bytes.fill(-1);
  std::vector<SpecialTokens::Entry> special;
  const auto size = static_cast<int32_t>(spec_.tokens.size());
  starts_.reserve(spec_.tokens.size() + 1);
  starts_.push_back(0);
  size_t total = 0;
  for (const std::string& token : spec_.tokens) total += token.size();
  pieces_.reserve(total);  // none is longer than its token
  for (int32_t id = 0; id < size; ++id) {
    const std::string& token = spec_.tokens[id];
    const auto kind = type(id);
    if (token.empty()) refuse("token {} is empty", id);
    if (kind < TokenType::normal || kind > TokenType::byte) {
      refuse("token {} ({}) has type {}; types are 1 (normal) to 6 (byte)", id, quoted(token), spec_.token_types[id]);
    }
    if (kind == TokenType::normal || kind == TokenType::unused) {
      // A character outside the byte alphabet can only be padding of the vocabulary: no text leads to such a token.
      const auto bytes = byte_level() ? bytes_of_token(token) : std::optional(with_spaces(token));
      pieces_ += bytes ? *bytes : token;
      if (byte_level() && kind == TokenType::normal && bytes && bytes->size() == 1) {
        byte_tokens_[static_cast<unsigned char>((*bytes)[0])] = id;
      }
    } else if (kind == TokenType::byte) {
      const int value = byte_of_name(token);
      if (value < 0) refuse("token {} ({}) is a byte token; those are named <0x00> to <0xFF>", id, quoted(token));
      named_bytes[value] = id;
      pieces_ += static_cast<char>(value);
    } else {
      if (token.size() > SpecialTokens::max_length) {
        refuse("token {} ({}) is a special token of {} bytes; at most {}", id, quoted(token), token.size(),
               SpecialTokens::max_length);
      }
      special.push_back({token, id, kind != TokenType::user_defined});
      pieces_ += token;
    }
    starts_.push_back(pieces_.size());
  }
  for (int b = 0; b < 256; ++b) {
    if (byte_tokens_[b] < 0) byte_tokens_[b] = named_bytes[b];
  }
  if (spec_.ignore_merges) words_.emplace(spec_.tokens.size());
  for (int32_t id = 0; words_ && id < size; ++id)
    if (type(id) == TokenType::normal) words_->add(piece(id), id, [this](int32_t other) { return piece(other); });
  special_tokens_ = SpecialTokens(std::move(special));
}

void Vocabulary::read_merges() {
  const auto text_of = [this](int32_t id) { return std::string_view(spec_.tokens[static_cast<size_t>(id)]); };
  base::TextIndex ids(spec_.tokens.size());
  for (int32_t id = 0; id < size(); ++id) {
    const int32_t first = ids.add(text_of(id), id, text_of);
    if (first >= 0) refuse("tokens {} and {} are both {}", first, id, quoted(spec_.tokens[id]));
  }
  std::string joined;
  for (size_t rank = 0; rank < spec_.merges.size(); ++rank) {
    const std::string_view merge = spec_.merges[rank];
    const size_t space = merge.find(' ');
    if (space == 0 || space == std::string_view::npos || space + 1 == merge.size() ||
        merge.find(' ', space + 1) != std::string_view::npos) {
      refuse("merge {} is {}; a merge is two tokens with one space between", rank, quoted(merge));
    }
    const std::string_view left = merge.substr(0, space);
    const std::string_view right = merge.substr(space + 1);
    joined.assign(left).append(right);
    const auto id_of = [&](std::string_view token, const char* what) {
      const int32_t found = ids.find(token, text_of);
      if (found < 0) {
        refuse("merge {} ({}): its {} {} is not in the vocabulary", rank, quoted(merge), what, quoted(token));
      }
      // Otherwise plain text could spell a control token.
      if (type(found) == TokenType::control || type(found) == TokenType::unknown) {
        refuse("merge {} ({}): its {} {} is a control token", rank, quoted(merge), what, quoted(token));
      }
      return found;
    };
    const int32_t left_id = id_of(left, "left half");
    const int32_t right_id = id_of(right, "right half");
    const MergeTable::Merge merged = {static_cast<int32_t>(rank), id_of(joined, "result")};
    if (!merges_.add(left_id, right_id, merged)) {
      refuse("merge {} ({}) is there twice; the earlier is merge {}", rank, quoted(merge),
             merges_.find(left_id, right_id).rank);
    }
  }
}

void Vocabulary::prepare_escape() {
  constexpr uint8_t kReplacement[] = {0xEF, 0xBF, 0xBD};  // U+FFFD
  for (int i = 0; i < 3; ++i) escape_.mark[i] = byte_tokens_[kReplacement[i]];
  for (int i = 0; i < 16; ++i) escape_.digit[i] = byte_tokens_[static_cast<uint8_t>("0123456789ABCDEF"[i])];
  escape_.available = merges_.find(escape_.mark[0], escape_.mark[1]).rank >= 0 ||
                      merges_.find(escape_.mark[1], escape_.mark[2]).rank >= 0;
  for (const int32_t id : escape_.mark) escape_.available &= id >= 0;
  for (const int32_t id : escape_.digit) escape_.available &= id >= 0;
}

}  // namespace bareattn::text
