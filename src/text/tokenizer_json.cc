// See tokenizer_json.h. simdjson reads the file; the vocabulary, by far the most of it, is walked once. What the parts
// around the model say is read in tokenizer_json_parts.cc.
#include "text/tokenizer_json.h"

#include <filesystem>

#include "base/mapped_file.h"
#include "text/json_node.h"
#include "text/tokenizer_json_parts.h"
#include "text/vocabulary.h"

namespace bareattn::text {
namespace {

constexpr std::string_view space_mark = "\xE2\x96\x81";
constexpr std::string_view continuation = "##";
constexpr uint64_t max_bytes = uint64_t{256} << 20;  // eight times the largest vocabularies

// tokenizer_config.json has 10^30 for "as long as one likes", which simdjson takes for no number. No number of that
// file is used here: of more digits than a number has, the first is left.
void shorten_numbers(std::string& json) {
  constexpr size_t longest = 18;
  bool text = false;
  for (size_t at = 0; at < json.size(); ++at) {
    if (text && json[at] == '\\') {
      ++at;
    } else if (json[at] == '"') {
      text = !text;
    } else if (!text && json[at] >= '0' && json[at] <= '9') {
      const size_t end = std::min(json.find_first_not_of("0123456789", at), json.size());
      if (end - at > longest)
        std::fill(json.begin() + static_cast<ptrdiff_t>(at) + 1, json.begin() + static_cast<ptrdiff_t>(end), ' ');
      at = end - 1;
    }
  }
}

/// A JSON file, parsed; lives as long as its nodes are asked.
struct Document {
  explicit Document(const std::string& path_, bool long_numbers = false) : path(path_) {
    const base::MappedFile file(path);
    if (file.size() > max_bytes) {
      throw FileError(path, FileError::no_offset,
                      fmt::format("the file has {} bytes; at most {} are read", file.size(), max_bytes));
    }
    std::string copy(file.text());
    file.check_unchanged();
    if (long_numbers) shorten_numbers(copy);
    const simdjson::padded_string text(copy);
    simdjson::dom::element value;
    if (const auto error = parser.parse(text).get(value)) {
      throw FileError(path, FileError::no_offset,
                      std::string("the file is not valid JSON: ") + simdjson::error_message(error));
    }
    root.emplace(value, "", path);
  }
  Document(const Document&) = delete;
  Document& operator=(const Document&) = delete;

  std::string path;
  simdjson::dom::parser parser;
  std::optional<JsonNode> root;
};

/// As in GGUF: U+2581 before a word's first token, nothing before the others.
std::string word_token(std::string_view token) {
  if (token.starts_with(continuation)) return std::string(token.substr(continuation.size()));
  return std::string(space_mark) + std::string(token);
}

/// Tokens by id, each set once.
class Tokens {
 public:
  Tokens(TokenizerSpec& spec, size_t entries) : spec_(spec), most_(2 * entries + 1024) {}

  void set(const JsonNode& place, std::string_view token, int32_t id, TokenType type) {
    const auto at = static_cast<size_t>(id);
    if (at >= most_) {
      place.refuse(
          fmt::format("has the id {} for {}, but the file has only {} tokens", id, text::quoted(token), most_ / 2));
    }
    if (at >= spec_.tokens.size()) {
      spec_.tokens.resize(at + 1);
      spec_.token_types.resize(at + 1, 0);
    }
    // An added token may stand in the vocabulary as well: the same text, and then it is what was added.
    const bool same = spec_.tokens[at] == token || spec_.tokens[at] == word_token(token);
    if (spec_.token_types[at] != 0 && !same)
      place.refuse(
          fmt::format("gives the id {} to {} and to {}", id, text::quoted(spec_.tokens[at]), text::quoted(token)));
    spec_.tokens[at] = token;
    spec_.token_types[at] = static_cast<int32_t>(type);
  }

  /// Ids that no token has are tokens that no text becomes.
  void fill_holes() {
    for (size_t id = 0; id < spec_.tokens.size(); ++id) {
      if (spec_.token_types[id] != 0) continue;
      spec_.tokens[id] = fmt::format("[no token {}]", id);
      spec_.token_types[id] = static_cast<int32_t>(TokenType::unused);
    }
  }

 private:
  TokenizerSpec& spec_;
  size_t most_;
};

bool names_byte(std::string_view token) {
  const auto digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); };
  return token.size() == 6 && token.starts_with("<0x") && token[5] == '>' && digit(token[3]) && digit(token[4]);
}

void read_merges(const JsonNode& model, TokenizerSpec& spec) {
  const JsonNode merges = model.at("merges");
  spec.merges.reserve(merges.list().size());
  for (const auto element : merges.list()) {
    const JsonNode merge(element, "model.merges[" + std::to_string(spec.merges.size()) + "]", model.path());
    if (merge.is_string()) {
      spec.merges.emplace_back(merge.string());
      continue;
    }
    const auto list = merge.list();
    if (list.size() != 2) merge.refuse("is no pair");
    std::string joined;
    for (const auto part : list) {
      const std::string_view half = JsonNode(part, merge.place(), model.path()).string();
      if (half.empty() || half.find(' ') != std::string_view::npos) merge.refuse("is empty on one side or has a space");
      joined.append(joined.empty() ? "" : " ").append(half);
    }
    spec.merges.push_back(std::move(joined));
  }
}

void check_bpe(const JsonNode& model, TextParts::Kind kind) {
  model.only({"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
              "byte_fallback", "ignore_merges", "vocab", "merges"});
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (const auto text = model.find(key); text && !text->string().empty()) text->refuse("is not empty");
  if (const auto dropout = model.find("dropout")) dropout->refuse("is set: tokens would be drawn by chance");
  const bool pieces = kind == TextParts::Kind::pieces, fallback = model.flag("byte_fallback", false);
  if (pieces != fallback)
    model.refuse(pieces ? "has no byte_fallback, which a vocabulary of pieces needs here"
                        : "has byte_fallback beside ByteLevel, which is not known here");
}

void check_word_piece(const JsonNode& model) {
  model.only({"type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab"});
  if (model.at("continuing_subword_prefix").string() != continuation) model.refuse("continues words by another sign");
  if (const auto most = model.find("max_input_chars_per_word"); most && most->id() != 100) most->refuse("is not 100");
}

void read_added(const JsonNode& root, Tokens& tokens, const TextParts& parts, std::string_view unknown) {
  const auto added = root.find("added_tokens");
  if (!added) return;
  for (const JsonNode& token : added->items()) {
    token.only({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
    const std::string_view content = token.at("content").string();
    for (const char* key : {"single_word", "lstrip", "rstrip"})
      if (token.flag(key, false)) token.refuse(text::quoted(content) + " is " + key + ", which is not known here");
    const bool special = token.flag("special", false);
    if (token.flag("normalized", !special) && parts.kind != TextParts::Kind::byte_level)
      token.refuse(text::quoted(content) + " is looked for in normalised text, which is not known here");
    const TokenType type = !special             ? TokenType::user_defined
                           : content == unknown ? TokenType::unknown
                                                : TokenType::control;
    tokens.set(token, content, token.at("id").id(), type);
  }
}

/// The text of a token that a configuration names: a text, or an object with its content.
std::optional<std::string_view> named_token(const JsonNode& config, const char* key) {
  const auto found = config.find(key);
  if (!found) return {};
  return found->is_object() ? found->at("content").string() : found->string();
}

void read_config(const JsonNode& config, TokenizerSpec& spec) {
  const auto id_of = [&](const char* key, int32_t& id) {
    const auto text = named_token(config, key);
    if (!text) return;
    const auto found = std::find(spec.tokens.begin(), spec.tokens.end(), *text);
    if (found != spec.tokens.end()) id = static_cast<int32_t>(found - spec.tokens.begin());
  };
  id_of("bos_token", spec.bos_id);
  id_of("pad_token", spec.padding_id);
  if (spec.model == "bert") {
    id_of("cls_token", spec.bos_id);
    id_of("sep_token", spec.eos_id);
  } else {
    id_of("eos_token", spec.eos_id);
    spec.add_bos = config.flag("add_bos_token", spec.add_bos) && spec.bos_id >= 0;
  }
  if (const auto text = config.find("chat_template"); text && text->is_string()) spec.chat_template = text->string();
}

}  // namespace

TokenizerSpec read_tokenizer_json(const std::string& path) {
  const Document document(path);
  const JsonNode& root = *document.root;
  root.only({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor",
             "decoder", "model"});
  const TextParts parts = read_text_parts(root);
  check_decoder(root);
  const JsonNode model = root.at("model");
  TokenizerSpec spec;
  if (parts.kind == TextParts::Kind::words) {
    if (model.type() != "WordPiece") model.refuse("is a " + text::quoted(model.type()) + "; WordPiece is needed here");
    check_word_piece(model);
    spec.model = "bert";
    spec.lower_case = parts.lower_case;
  } else {
    if (model.type() != "BPE") model.refuse("is a " + text::quoted(model.type()) + "; BPE and WordPiece can be read");
    check_bpe(model, parts.kind);
    spec.model = parts.kind == TextParts::Kind::pieces ? "llama" : "gpt2";
    spec.pre = parts.pre;
    spec.compose = parts.compose;
    spec.ignore_merges = model.flag("ignore_merges", false);
    spec.add_space_prefix = parts.space_prefix;
    read_merges(model, spec);
  }
  const auto unknown_node = model.find("unk_token");
  const std::string_view unknown = unknown_node ? unknown_node->string() : std::string_view();
  const JsonNode vocabulary = model.at("vocab");
  const auto entries = vocabulary.object();
  Tokens tokens(spec, entries.size() + 8192);
  for (const auto& [token, value] : entries) {
    const int32_t id = JsonNode(value, "model.vocab", path).id();
    if (spec.model == "bert")
      tokens.set(vocabulary, word_token(token), id, TokenType::normal);
    else
      tokens.set(vocabulary, token, id,
                 spec.model == "llama" && names_byte(token) ? TokenType::byte : TokenType::normal);
    if (!unknown.empty() && token == unknown) spec.unknown_id = id;
  }
  read_added(root, tokens, parts, unknown);
  tokens.fill_holes();
  read_post_processor(root, spec);
  return spec;
}

TokenizerSpec read_tokenizer_folder(const std::string& folder) {
  const std::filesystem::path base(folder);
  TokenizerSpec spec = read_tokenizer_json((base / "tokenizer.json").string());
  const std::filesystem::path config = base / "tokenizer_config.json";
  if (std::filesystem::exists(config)) {
    const Document document(config.string(), true);
    read_config(*document.root, spec);
  }
  return spec;
}

}  // namespace bareattn::text
