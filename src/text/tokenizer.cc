// Text to ids: special tokens are taken out (special_tokens.h), the rest is cut into words (pre_tokenizer.h), and in
// each word bytes merge (bpe.h); for vocabularies that are no byte-level BPE a WordEncoder does both. Ids to text:
// pieces one after the other.
//
// Any bytes come back exactly, even those that a vocabulary has no token for. SmolLM2's lacks 21 bytes (six control
// characters, and bytes that stand in no assigned character); llama.cpp and Hugging Face tokenizers drop them in
// silence. Here such a byte becomes five tokens: the three bytes of U+FFFD singly, then its value as two hexadecimal
// digits, so that a reader of the tokens sees "U+FFFD F5". Text never leads to those three singly, because in text they
// are in one word and the vocabulary merges them (checked when it is read); so decode() can tell the two apart. A
// vocabulary that can do neither refuses the text, and loses nothing.
#include "bareattn/tokenizer.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <deque>
#include <limits>
#include <optional>
#include <stdexcept>

#include "bareattn/error.h"
#include "text/chat_template.h"
#include "text/compose.h"
#include "text/pieces.h"
#include "text/pre_tokenizer.h"
#include "text/pre_tokenizer_rules.h"
#include "text/quote.h"
#include "text/vocabulary.h"
#include "text/word_piece.h"

namespace bareattn {
namespace {

/// Words seen in this call, and where their ids are in the output. Most words of a text are repeats: this saves four
/// fifths of the merging. One entry for each hash value, the last word wins; no memory of its own for words or ids.
class WordCache {
 public:
  explicit WordCache(size_t text_size)
      : entries_(std::bit_ceil(std::clamp<size_t>(text_size / 4, 16, 16'384))), mask_(entries_.size() - 1) {}

  struct Entry {
    const char* data = nullptr;  // into the text
    uint32_t length = 0;
    uint32_t count = 0;  // of ids
    size_t at = 0;       // in the output
    bool is(std::string_view word) const {
      return length == word.size() && std::memcmp(data, word.data(), word.size()) == 0;
    }
  };
  void forget() { entries_.assign(entries_.size(), Entry{}); }  // when the output begins anew
  Entry& at(std::string_view word) {
    uint64_t hash = word.size();
    for (const char c : word) hash = (hash ^ static_cast<unsigned char>(c)) * 0x9E3779B97F4A7C15u;
    return entries_[(hash >> 40) & mask_];
  }

 private:
  std::vector<Entry> entries_;
  size_t mask_;
};

/// A spec without a name of its pre-tokenizer gets the default one, as in llama.cpp.
TokenizerSpec completed(TokenizerSpec spec, std::vector<std::string>& warnings) {
  if (spec.model != "gpt2") return spec;
  if (spec.pre.empty()) {
    warnings.emplace_back(
        "the file does not name its pre-tokenizer (tokenizer.ggml.pre); 'default' is used, and where "
        "that is another rule than the model's, tokens are wrong without a sign of it");
    spec.pre = "default";
  }
  if (const auto* rule = text::find_pre_tokenizer(spec.pre)) spec.ignore_merges |= rule->ignore_merges;
  return spec;
}

constexpr size_t kLongestCachedWord = 64;
constexpr size_t kLongestWord = size_t{1} << 22;                      // merging takes 32 bytes a byte
constexpr size_t kIdsAtOnce = size_t{1} << 16;                        // that a sink is given, or a little more
constexpr size_t kLongestText = std::numeric_limits<int32_t>::max();  // indices of symbols are 32 bits wide

}  // namespace

struct Tokenizer::Impl {
  std::vector<std::string> warnings;
  TokenizerSpec spec;
  text::Vocabulary vocabulary;
  std::optional<text::PreTokenizer> pre_tokenizer;   // of byte-level BPE
  std::unique_ptr<const text::WordEncoder> encoder;  // of the others

  explicit Impl(TokenizerSpec&& s) : spec(completed(std::move(s), warnings)), vocabulary(spec) {
    if (spec.model == "llama")
      encoder = std::make_unique<text::Pieces>(spec, vocabulary);
    else if (spec.model == "bert")
      encoder = std::make_unique<text::WordPiece>(spec, vocabulary);
    else
      pre_tokenizer.emplace(spec.pre);
  }

  struct Work {
    std::string_view whole;  // the text of this call, for offsets in messages
    const Tokenizer::Sink& sink;
    WordCache cache;
    std::vector<int32_t> out;  // that the sink has not had
    text::BpeScratch scratch;
    std::deque<std::string> composed;  // the texts that words in the cache point into

    /// False: the sink wants no more.
    bool flush(size_t at_least) {
      if (out.size() < at_least || out.empty()) return true;
      const bool more = sink(out);
      out.clear();
      cache.forget();
      return more;
    }
  };

  // `prefixed`: as if a space stood before the text. False: the sink wants no more.
  bool encode_words(std::string_view text, bool prefixed, Work& work) const;
  void encode_cached(std::string_view word, Work& work) const;
  void encode_word(std::string_view word, Work& work, bool prefixed = false) const;
  void append_escape(uint8_t byte, size_t offset, std::vector<int32_t>& out) const;
  int escaped_byte(std::span<const int32_t> ids) const;
  void check_id(int32_t id, const char* what) const;
};

bool Tokenizer::Impl::encode_words(std::string_view text, bool prefixed, Work& work) const {
  const std::string_view whole = work.whole;
  if (spec.compose && !text::is_composed(text)) {
    text = work.composed.emplace_back(text::compose(text));
    work.whole = text;
  }
  size_t begin = 0;
  bool more = true;
  const auto see = [&](size_t end) {
    const std::string_view word = text.substr(begin, end - begin);
    if (begin == 0 && prefixed)
      encode_word(word, work, true);
    else
      encode_cached(word, work);
    begin = end;
    return more = work.flush(kIdsAtOnce);
  };
  pre_tokenizer ? pre_tokenizer->split(text, see) : encoder->split(text, see);
  work.whole = whole;
  return more;
}

void Tokenizer::Impl::encode_cached(std::string_view word, Work& work) const {
  if (word.size() > kLongestCachedWord) return encode_word(word, work);
  auto& entry = work.cache.at(word);
  auto& out = work.out;
  const size_t at = out.size();
  if (entry.is(word)) {
    out.resize(at + entry.count);
    std::copy_n(out.begin() + static_cast<ptrdiff_t>(entry.at), entry.count, out.begin() + static_cast<ptrdiff_t>(at));
  } else {
    encode_word(word, work);
    entry = {word.data(), static_cast<uint32_t>(word.size()), static_cast<uint32_t>(out.size() - at), at};
  }
}

void Tokenizer::Impl::encode_word(std::string_view word, Work& work, bool prefixed) const {
  if (word.size() > kLongestWord) {
    throw InputError("the text has a word of " + std::to_string(word.size()) + " bytes at offset " +
                     std::to_string(word.data() - work.whole.data()) + "; a word has at most " +
                     std::to_string(kLongestWord));
  }
  if (encoder) return encoder->encode(word, prefixed, work.scratch, work.out);
  if (spec.ignore_merges) {
    if (const int32_t id = vocabulary.whole_word(word); id >= 0) return work.out.push_back(id);
  }
  std::vector<int32_t>& symbols = work.scratch.word;
  symbols.clear();
  // A byte without a token stands as a negative number until the merging is done: it merges with nothing.
  for (const char c : word) {
    const auto byte = static_cast<uint8_t>(c);
    const int32_t id = vocabulary.byte_token(byte);
    symbols.push_back(id >= 0 ? id : -1 - byte);
  }
  text::merge_word(vocabulary.merges(), symbols, work.scratch);
  for (const int32_t id : symbols) {
    if (id >= 0) {
      work.out.push_back(id);
    } else {
      const auto byte = static_cast<uint8_t>(-1 - id);
      const size_t offset = static_cast<size_t>(word.data() - work.whole.data()) + word.find(static_cast<char>(byte));
      append_escape(byte, offset, work.out);
    }
  }
}

void Tokenizer::Impl::append_escape(uint8_t byte, size_t offset, std::vector<int32_t>& out) const {
  const text::ByteEscape& escape = vocabulary.escape();
  if (!escape.available) {
    const char* digits = "0123456789ABCDEF";
    throw InputError("the text has the byte 0x" + std::string{digits[byte >> 4], digits[byte & 15]} + " at offset " +
                     std::to_string(offset) + ", for which this model's vocabulary has no token");
  }
  out.insert(out.end(), escape.mark.begin(), escape.mark.end());
  out.push_back(escape.digit[byte >> 4]);
  out.push_back(escape.digit[byte & 15]);
}

/// The byte whose escape `ids` begin with, or -1.
int Tokenizer::Impl::escaped_byte(std::span<const int32_t> ids) const {
  const text::ByteEscape& escape = vocabulary.escape();
  if (!escape.available || ids.size() < 5 || !std::equal(escape.mark.begin(), escape.mark.end(), ids.begin()))
    return -1;
  const auto value = [&](int32_t id) {
    return std::find(escape.digit.begin(), escape.digit.end(), id) - escape.digit.begin();
  };
  const auto high = value(ids[3]), low = value(ids[4]);
  if (high == 16 || low == 16) return -1;
  const auto byte = static_cast<uint8_t>(high * 16 + low);
  return vocabulary.byte_token(byte) < 0 ? byte : -1;
}

void Tokenizer::Impl::check_id(int32_t id, const char* what) const {
  if (id >= 0 && id < vocabulary.size()) return;
  throw std::invalid_argument(std::string(what) + " is " + std::to_string(id) + "; the vocabulary has " +
                              std::to_string(vocabulary.size()) + " tokens (ids 0 to " +
                              std::to_string(vocabulary.size() - 1) + ")");
}

Tokenizer::Tokenizer(TokenizerSpec spec) : impl_(std::make_unique<Impl>(std::move(spec))) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool parse_special, bool add_bos) const {
  std::vector<int32_t> out;
  out.reserve(text.size() / 3 + 8);
  encode(text, {parse_special, add_bos}, [&out](std::span<const int32_t> ids) {
    out.insert(out.end(), ids.begin(), ids.end());
    return true;
  });
  return out;
}

std::optional<std::vector<int32_t>> Tokenizer::encode_within(int64_t most, std::string_view text,
                                                             const Encoding& how) const {
  std::vector<int32_t> out;
  encode(text, how, [&](std::span<const int32_t> ids) {
    out.insert(out.end(), ids.begin(), ids.end());
    return static_cast<int64_t>(out.size()) <= most;
  });
  if (static_cast<int64_t>(out.size()) > most) return std::nullopt;
  return out;
}

void Tokenizer::encode(std::string_view text, const Encoding& how, const Sink& sink) const {
  if (text.size() > kLongestText) {
    throw InputError("the text has " + std::to_string(text.size()) + " bytes; a tokenizer call takes at most " +
                     std::to_string(kLongestText));
  }
  Impl::Work work = {text, sink, WordCache(text.size()), {}, {}, {}};
  if (how.add_bos) {
    if (impl_->spec.bos_id < 0) throw InputError("the model names no BOS token (tokenizer.ggml.bos_token_id) to add");
    work.out.push_back(impl_->spec.bos_id);
  }
  for (size_t at = 0; at < text.size();) {
    const auto special = impl_->vocabulary.special_tokens().find(text, at, how.parse_special);
    const size_t end = special.id < 0 ? text.size() : special.begin;
    const bool prefixed = impl_->spec.add_space_prefix && !(at == 0 && how.continues);
    if (!impl_->encode_words(text.substr(at, end - at), prefixed, work)) return;
    if (special.id < 0) break;
    work.out.push_back(special.id);
    if (!work.flush(kIdsAtOnce)) return;
    at = special.end;
  }
  if (how.add_bos && impl_->spec.add_eos && impl_->spec.eos_id >= 0) work.out.push_back(impl_->spec.eos_id);
  static_cast<void>(work.flush(1));
}

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  std::string out;
  bool after_special = true;  // where add_space_prefix has put a space
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= size()) impl_->check_id(ids[i], ("ids[" + std::to_string(i) + "]").c_str());
    if (const int byte = impl_->escaped_byte(ids.subspan(i)); byte >= 0) {
      out += static_cast<char>(byte);
      i += 4;
      continue;
    }
    std::string_view piece = impl_->vocabulary.piece(ids[i]);
    const auto type = impl_->vocabulary.type(ids[i]);
    const bool special = type != text::TokenType::normal && type != text::TokenType::byte;
    if (after_special && !special && impl_->spec.add_space_prefix && piece.starts_with(' ')) piece.remove_prefix(1);
    out += piece;
    after_special = special;
  }
  return out;
}

std::string_view Tokenizer::piece(int32_t id) const {
  impl_->check_id(id, "id");
  return impl_->vocabulary.piece(id);
}

bool Tokenizer::is_special(int32_t id) const {
  impl_->check_id(id, "id");
  const auto type = impl_->vocabulary.type(id);
  return type == text::TokenType::control || type == text::TokenType::unknown;
}

std::string Tokenizer::apply_chat_template(std::span<const ChatMessage> messages, bool add_generation_prompt) const {
  return text::apply_chatml(text::recognise_chat_template(impl_->spec.chat_template), messages, add_generation_prompt);
}

int32_t Tokenizer::size() const { return impl_->vocabulary.size(); }
const TokenizerSpec& Tokenizer::spec() const { return impl_->spec; }
const std::vector<std::string>& Tokenizer::warnings() const { return impl_->warnings; }

}  // namespace bareattn
