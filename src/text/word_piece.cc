// See word_piece.h. utf8proc has the properties, decompositions and cases of characters.
#include "text/word_piece.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "bareattn/error.h"
#include "base/utf8.h"

namespace bareattn::text {
namespace {

constexpr std::string_view mark = "\xE2\x96\x81";  // U+2581
constexpr size_t most_characters = 100;            // of a word

bool is_blank(char32_t c) {
  if (c == '\t' || c == '\n' || c == '\r' || c == ' ') return true;
  return utf8proc_category(static_cast<int32_t>(c)) == UTF8PROC_CATEGORY_ZS || c == 0x2028 || c == 0x2029;
}

bool is_removed(char32_t c) {
  if (c == 0 || c == base::replacement_character) return true;
  if (c == '\t' || c == '\n' || c == '\r') return false;
  const auto category = utf8proc_category(static_cast<int32_t>(c));
  return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_CO;
}

bool is_sign(char32_t c) {
  if (c < 0x80) return c > 0x20 && c < 0x7F && !std::isalnum(static_cast<int>(c));
  const auto category = utf8proc_category(static_cast<int32_t>(c));
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

bool is_cjk(char32_t c) {
  static constexpr std::array<std::pair<char32_t, char32_t>, 8> ranges{{{0x4E00, 0x9FFF},
                                                                        {0x3400, 0x4DBF},
                                                                        {0x20000, 0x2A6DF},
                                                                        {0x2A700, 0x2B73F},
                                                                        {0x2B740, 0x2B81F},
                                                                        {0x2B920, 0x2CEAF},
                                                                        {0xF900, 0xFAFF},
                                                                        {0x2F800, 0x2FA1F}}};
  return std::any_of(ranges.begin(), ranges.end(), [c](const auto& r) { return c >= r.first && c <= r.second; });
}

}  // namespace

WordPiece::WordPiece(const TokenizerSpec& spec, const Vocabulary& vocabulary)
    : spec_(spec), begins_(spec.tokens.size()), continues_(spec.tokens.size()) {
  if (spec.unknown_id < 0) throw InputError("the vocabulary names no unknown token; WordPiece needs one");
  for (size_t id = 0; id < spec.tokens.size(); ++id) {
    if (vocabulary.type(static_cast<int32_t>(id)) != TokenType::normal) continue;
    const std::string_view text = text_of(static_cast<int32_t>(id));
    longest_ = std::max(longest_, text.size());
    (text.size() < spec.tokens[id].size() ? begins_ : continues_)
        .add(text, static_cast<int32_t>(id), [this](int32_t other) { return text_of(other); });
  }
}

std::string_view WordPiece::text_of(int32_t id) const {
  const std::string_view token = spec_.tokens[static_cast<size_t>(id)];
  return token.starts_with(mark) && token.size() > mark.size() ? token.substr(mark.size()) : token;
}

// Words end at blanks, which stand at the end of the word before them.
void WordPiece::split(std::string_view text, const See& see) const {
  for (size_t at = 0; at < text.size();) {
    const base::Utf8Step step = base::decode_utf8(text, at);
    at += step.length;
    if (step.valid && is_blank(step.code_point) && at < text.size() && !see(at)) return;
  }
  if (!text.empty()) see(text.size());
}

void WordPiece::encode(std::string_view word, bool, BpeScratch&, std::vector<int32_t>& out) const {
  std::string plain;  // of the part that is being read
  const auto end_part = [&] {
    if (!plain.empty()) encode_plain(plain, out);
    plain.clear();
  };
  const auto add = [&](char32_t c) {
    if (spec_.lower_case) {
      if (utf8proc_category(static_cast<int32_t>(c)) == UTF8PROC_CATEGORY_MN) return;
      c = static_cast<char32_t>(utf8proc_tolower(static_cast<int32_t>(c)));
    }
    if (is_blank(c)) return end_part();
    const bool alone = is_sign(c) || is_cjk(c);
    if (alone) end_part();
    base::append_utf8(plain, c);
    if (alone) end_part();
  };
  for (size_t at = 0; at < word.size();) {
    const base::Utf8Step step = base::decode_utf8(word, at);
    at += step.length;
    const char32_t c = step.code_point;
    if (is_removed(c)) continue;
    if (!spec_.lower_case || c < 0x80) {
      add(c);
      continue;
    }
    const bool alone = is_cjk(c);  // asked before it is decomposed
    if (alone) end_part();
    std::array<int32_t, 32> parts{};
    int boundary = 0;
    const auto count =
        utf8proc_decompose_char(static_cast<int32_t>(c), parts.data(), parts.size(), UTF8PROC_DECOMPOSE, &boundary);
    for (int i = 0; i < std::min<int>(static_cast<int>(count), parts.size()); ++i)
      add(static_cast<char32_t>(parts[static_cast<size_t>(i)]));
    if (alone) end_part();
  }
  end_part();
}

void WordPiece::encode_plain(std::string_view word, std::vector<int32_t>& out) const {
  const auto characters = std::count_if(word.begin(), word.end(), [](char c) { return (c & 0xC0) != 0x80; });
  const size_t first = out.size();
  size_t at = 0;
  while (at < word.size() && static_cast<size_t>(characters) <= most_characters) {
    const auto& tokens = at == 0 ? begins_ : continues_;
    size_t length = std::min(longest_, word.size() - at);
    const auto find = [&] { return tokens.find(word.substr(at, length), [this](int32_t id) { return text_of(id); }); };
    int32_t found = find();
    while (found < 0 && length > 1) --length, found = find();
    if (found < 0) break;
    out.push_back(found);
    at += length;
  }
  if (at == word.size()) return;
  out.resize(first);
  out.push_back(spec_.unknown_id);
}

}  // namespace bareattn::text
