// See tokenizer_json_parts.h.
#include "text/tokenizer_json_parts.h"

#include <array>
#include <utility>

namespace bareattn::text {
namespace {

constexpr std::string_view space_mark = "\xE2\x96\x81";

// What Hugging Face writes for ByteLevel's own expression and for Digits, which have no text in the file.
constexpr std::string_view byte_level_words = "ByteLevel", single_digits = "Digits";

// The expressions of files by the name of the same rule in pre_tokenizer_rules.cc. A rule that also takes whole words
// (ignore_merges) is named without that: the file has it as an option of its model.
struct KnownSplit {
  const char* name;
  std::vector<std::string_view> expressions;
};
const std::vector<KnownSplit>& known_splits() {
  static const std::vector<KnownSplit> all = {
      {"gpt-2", {byte_level_words}},
      {"smollm", {single_digits, byte_level_words}},
      {"dbrx",
       {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
        "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
      {"qwen2",
       {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
        "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
      {"qwen35",
       {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| "
        "?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
      {"gpt-4o",
       {"[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|"
        "'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'"
        "re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
      {"tekken",
       {"[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[^\\r\\n\\p{L}\\p{N}"
        "]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}| "
        "?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
      {"deepseek-v3",
       {"\\p{N}{1,3}", "[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+",
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
        "?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"}},
  };
  return all;
}

/// The members of a Sequence, one inside another too, or the one part itself.
std::vector<JsonNode> flattened(const std::optional<JsonNode>& part, const char* members, int depth = 0) {
  if (!part) return {};
  if (part->type() != "Sequence") return {*part};
  if (depth > 4) part->refuse("has sequences within each other more than four deep");
  part->only({"type", members});
  std::vector<JsonNode> all;
  for (const JsonNode& each : part->at(members).items())
    for (JsonNode& inner : flattened(each, members, depth + 1)) all.push_back(std::move(inner));
  return all;
}

[[noreturn]] void refuse_type(const JsonNode& part, const char* known) {
  part.refuse("is a " + text::quoted(part.type()) + "; " + known + " can be read");
}

bool replaces_spaces(const JsonNode& part) {
  const auto pattern = part.at("pattern").find("String");
  return pattern && pattern->string() == " " && part.at("content").string() == space_mark;
}

void read_normalizer(const JsonNode& root, TextParts& parts, bool& spaces_marked) {
  for (const JsonNode& part : flattened(root.find("normalizer"), "normalizers")) {
    const std::string_view type = part.type();
    if (type == "NFC") {
      part.only({"type"});
      parts.compose = true;
    } else if (type == "Prepend") {
      part.only({"type", "prepend"});
      if (part.at("prepend").string() != space_mark) part.refuse("prepends another text than U+2581");
      parts.space_prefix = true;
    } else if (type == "Replace") {
      part.only({"type", "pattern", "content"});
      if (!replaces_spaces(part)) part.refuse("replaces something; only spaces by U+2581 can be read");
      spaces_marked = true;
    } else if (type == "BertNormalizer") {
      part.only({"type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase"});
      parts.kind = TextParts::Kind::words;
      parts.lower_case = part.flag("lowercase", true);
      const bool plain = part.flag("clean_text", true) && part.flag("handle_chinese_chars", true) &&
                         part.flag("strip_accents", parts.lower_case) == parts.lower_case;
      if (!plain) part.refuse("has options that differ from BERT's own");
    } else {
      refuse_type(part, "NFC, Prepend, Replace and BertNormalizer");
    }
  }
}

/// The expression of a Split whose matches and what is between are all kept.
std::string_view expression_of(const JsonNode& part) {
  part.only({"type", "pattern", "behavior", "invert"});
  const bool invert = part.flag("invert", false);
  const std::string_view behavior = part.at("behavior").string();
  if (!(behavior == "Isolated" && !invert) && !(behavior == "Removed" && invert))
    part.refuse("splits in the way " + text::quoted(behavior) + (invert ? ", inverted" : "") +
                ", which is not known here");
  return part.at("pattern").at("Regex").string();
}

// Splitting at a space after all spaces have been replaced does nothing.
bool splits_nothing(const JsonNode& part) {
  const auto pattern = part.at("pattern").find("String");
  return pattern && pattern->string() == " ";
}

void read_pre_tokenizer(const JsonNode& root, TextParts& parts, bool spaces_marked) {
  std::vector<std::string_view> expressions;
  bool bytes = false;
  const auto all = flattened(root.find("pre_tokenizer"), "pretokenizers");
  for (const JsonNode& part : all) {
    const std::string_view type = part.type();
    if (bytes) part.refuse("stands behind a ByteLevel, which is the last part that can be read");
    if (type == "Split") {
      if (!(spaces_marked && splits_nothing(part))) expressions.push_back(expression_of(part));
    } else if (type == "Digits") {
      part.only({"type", "individual_digits"});
      if (!part.flag("individual_digits", false)) part.refuse("keeps digits together, which is not known here");
      expressions.push_back(single_digits);
    } else if (type == "ByteLevel") {
      part.only({"type", "add_prefix_space", "trim_offsets", "use_regex"});
      if (part.flag("add_prefix_space", true)) part.refuse("adds a space before the text, which is not known here");
      bytes = true;
      if (part.flag("use_regex", true)) expressions.push_back(byte_level_words);
    } else if (type == "BertPreTokenizer") {
      part.only({"type"});
      if (parts.kind != TextParts::Kind::words) part.refuse("stands without a BertNormalizer");
    } else {
      refuse_type(part, "Split, Digits, ByteLevel and BertPreTokenizer");
    }
  }
  if (parts.kind == TextParts::Kind::words) {
    if (all.size() != 1 || all[0].type() != "BertPreTokenizer")
      root.refuse("has a BertNormalizer without a BertPreTokenizer alone");
    return;
  }
  if (spaces_marked && !bytes && expressions.empty()) {
    parts.kind = TextParts::Kind::pieces;
    return;
  }
  if (spaces_marked || parts.space_prefix || !bytes)
    root.refuse("combines normalizer and pre_tokenizer in a way that is not known here");
  for (const KnownSplit& known : known_splits())
    if (known.expressions == expressions) parts.pre = known.name;
  if (parts.pre.empty()) {
    const std::string first = expressions.empty() ? "nothing" : text::quoted(expressions.front(), 200);
    root.at("pre_tokenizer").refuse("cuts words by " + first + ", which is the rule of no known family");
  }
}

/// The tokens of a template before and behind the text, by name.
void read_template(const JsonNode& part, TokenizerSpec& spec) {
  part.only({"type", "single", "pair", "special_tokens"});
  const JsonNode tokens = part.at("special_tokens");
  bool behind = false;
  for (const JsonNode& item : part.at("single").items()) {
    if (item.find("Sequence")) {
      if (std::exchange(behind, true)) item.refuse("is a second text in the template of one");
      continue;
    }
    const std::string_view name = item.at("SpecialToken").at("id").string();
    const auto ids = tokens.at(name).at("ids").items();
    if (ids.size() != 1) tokens.refuse("has " + text::quoted(name) + " with other than one id");
    bool& added = behind ? spec.add_eos : spec.add_bos;
    if (std::exchange(added, true)) item.refuse("is a second token on one side of the text; one can be read");
    (behind ? spec.eos_id : spec.bos_id) = ids[0].id();
  }
  if (!behind) part.refuse("has a template without a text");
}

}  // namespace

TextParts read_text_parts(const JsonNode& root) {
  TextParts parts;
  bool spaces_marked = false;
  read_normalizer(root, parts, spaces_marked);
  read_pre_tokenizer(root, parts, spaces_marked);
  if (parts.compose && parts.kind != TextParts::Kind::byte_level)
    root.refuse("composes characters (NFC) for a vocabulary that is no byte-level BPE, which is not known here");
  return parts;
}

void read_post_processor(const JsonNode& root, TokenizerSpec& spec) {
  for (const JsonNode& part : flattened(root.find("post_processor"), "processors")) {
    const std::string_view type = part.type();
    if (type == "ByteLevel") continue;  // it only changes offsets
    if (type == "TemplateProcessing") {
      read_template(part, spec);
    } else if (type == "BertProcessing") {
      part.only({"type", "sep", "cls"});
      const auto id_of = [&](const char* key) {
        const auto pair = part.at(key).items();
        if (pair.size() != 2) part.at(key).refuse("is no pair of a token and its id");
        return pair[1].id();
      };
      spec.bos_id = id_of("cls");
      spec.eos_id = id_of("sep");
      spec.add_bos = spec.add_eos = true;
    } else {
      refuse_type(part, "ByteLevel, TemplateProcessing and BertProcessing");
    }
  }
}

void check_decoder(const JsonNode& root) {
  static constexpr std::array<std::string_view, 7> known = {"ByteLevel", "Replace",   "ByteFallback", "Fuse",
                                                            "Strip",     "WordPiece", "Metaspace"};
  for (const JsonNode& part : flattened(root.find("decoder"), "decoders")) {
    const std::string_view type = part.type();
    if (std::find(known.begin(), known.end(), type) == known.end())
      refuse_type(part, "ByteLevel, Replace, ByteFallback, Fuse, Strip, WordPiece and Metaspace");
  }
}

}  // namespace bareattn::text
