// Text to token ids and back, from the model file's own vocabulary: byte-level BPE, SentencePiece's BPE, WordPiece.
// What a spec says is named as in GGUF files; tokenizer.json is read into the same (src/text/tokenizer_json.h).
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bareattn {

/// What a tokenizer is made from, as a model file states it. Checked by the constructor (InputError).
struct TokenizerSpec {
  std::string model;  // "gpt2": byte-level BPE; "llama": SentencePiece's BPE; "bert": WordPiece
  std::string pre;    // how byte-level BPE cuts words: "smollm", "llama-bpe", ...; empty: "default", with a warning
  std::vector<std::string> tokens;   // id -> token; of byte-level BPE in its byte alphabet
  std::vector<int32_t> token_types;  // 1 normal, 2 unknown, 3 control, 4 user-defined, 6 byte; empty = all normal
  std::vector<std::string> merges;   // "left right", best first
  std::vector<float> scores;         // of the tokens; "llama" needs them where it has no merges
  int32_t bos_id = -1, eos_id = -1, unknown_id = -1, padding_id = -1;
  bool add_bos = false, add_eos = false;  // add_eos: [SEP] of "bert"
  bool add_space_prefix = false;          // "llama": a space before the text, and before what follows a special token
  bool ignore_merges = false;             // a word that is a token as a whole is taken without merging
  bool lower_case = true;                 // "bert": an uncased model
  bool compose = false;                   // text becomes NFC first: composed and decomposed letters are one
  std::string chat_template;              // Jinja text as stored; recognised forms are applied, others refused by name
};

struct ChatMessage {
  std::string role;  // system, user, assistant
  std::string content;
};

class Tokenizer {
 public:
  explicit Tokenizer(TokenizerSpec spec);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  /// Any bytes (invalid UTF-8 too) to ids; linear time. add_bos: also what else stands around every text (add_eos).
  /// parse_special: recognise control tokens such as <|im_start|> in the text; otherwise they are spelled out as
  /// ordinary characters. User-defined tokens are always recognised. A word of more than 4 MiB without an end is an
  /// InputError. A byte for which the vocabulary has no token becomes five tokens, which read U+FFFD and two
  /// hexadecimal digits and which decode() turns back; InputError where the vocabulary cannot do that either.
  /// docs/tokenizer.md.
  std::vector<int32_t> encode(std::string_view text, bool parse_special = false, bool add_bos = false) const;
  /// The same ids a few thousand at a time, so that a text of any length takes little memory beside itself; a false
  /// from `sink` ends it.
  struct Encoding {
    bool parse_special = false, add_bos = false;
    bool continues = false;  // another text stands before this one: no space of add_space_prefix
  };
  using Sink = std::function<bool(std::span<const int32_t> ids)>;
  void encode(std::string_view text, const Encoding& how, const Sink& sink) const;
  /// All ids, or nothing where there are more than `most`: then the rest of the text is not looked at.
  std::optional<std::vector<int32_t>> encode_within(int64_t most, std::string_view text, const Encoding& how) const;
  /// Ids to bytes, exactly: decode(encode(x)) == x. That is the pieces one after the other, but for the five tokens of
  /// a byte without one, and for the space of add_space_prefix, which is left out. (U+2581 in a text of "llama" comes
  /// back as a space; "bert" and `compose` keep no more of a text than they use.) An id out of range is
  /// std::invalid_argument.
  std::string decode(std::span<const int32_t> ids) const;
  /// One token's bytes.
  std::string_view piece(int32_t id) const;
  bool is_special(int32_t id) const;

  /// The model's chat template applied (chatml; default system message as the template has it). InputError when the
  /// template is another one or there is none. The contents are not escaped: encode(.., parse_special) of the result
  /// recognises control tokens that a content spells out, as in other programs.
  std::string apply_chat_template(std::span<const ChatMessage> messages, bool add_generation_prompt) const;

  int32_t size() const;
  const TokenizerSpec& spec() const;
  /// What is odd about the vocabulary, but no reason to refuse it.
  const std::vector<std::string>& warnings() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bareattn
