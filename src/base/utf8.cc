// See utf8.h.
#include "base/utf8.h"

#include <cstdint>

namespace bareattn::base {
namespace {

/// Characters that print nothing but change what is printed around them, or how it is read.
bool is_invisible_or_reordering(char32_t c) {
  return (c >= 0x7F && c <= 0x9F)         // DEL and C1: 0x9B alone starts an ANSI sequence on some terminals
         || c == 0xAD || c == 0x61C       // soft hyphen, Arabic letter mark
         || (c >= 0x200B && c <= 0x200F)  // zero-width characters, LRM, RLM
         || (c >= 0x2028 && c <= 0x202E)  // line and paragraph separator, bidi embeddings and overrides
         || (c >= 0x2060 && c <= 0x206F)  // word joiner, bidi isolates, deprecated format characters
         || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFB)             // BOM, interlinear annotation
         || (c & 0xFFFE) == 0xFFFE || (c >= 0xFDD0 && c <= 0xFDEF)  // noncharacters
         || (c >= 0xE0000 && c <= 0xE007F);                         // tags
}

std::string hex(char32_t c) {
  std::string digits;
  do {
    digits.insert(digits.begin(), "0123456789abcdef"[c & 15]);
    c >>= 4;
  } while (c != 0);
  return digits;
}

}  // namespace

Utf8Step decode_utf8(std::string_view text, size_t position) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(position);
  if (lead < 0x80) return {lead, 1, true};
  if (lead < 0xC2 || lead > 0xF4) return {replacement_character, 1, false};
  const size_t needed = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // Only the second byte's range depends on the lead; that is what keeps overlong forms and surrogates out.
  uint8_t low = 0x80, high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  char32_t code_point = lead & (0xFF >> (needed + 1));
  for (size_t i = 1; i < needed; ++i) {
    if (position + i >= text.size()) return {replacement_character, i, false};
    const uint8_t next = byte(position + i);
    if (next < low || next > high) return {replacement_character, i, false};
    code_point = code_point << 6 | (next & 0x3F);
    low = 0x80, high = 0xBF;
  }
  return {code_point, needed, true};
}

bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = decode_utf8(text, i);
    if (!step.valid) return false;
    i += step.length;
  }
  return true;
}

void append_utf8(std::string& text, char32_t c) {
  if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) c = replacement_character;
  if (c < 0x80) {
    text += static_cast<char>(c);
  } else if (c < 0x800) {
    text += static_cast<char>(0xC0 | c >> 6);
    text += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    text += static_cast<char>(0xE0 | c >> 12);
    text += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    text += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    text += static_cast<char>(0xF0 | c >> 18);
    text += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    text += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    text += static_cast<char>(0x80 | (c & 0x3F));
  }
}

std::string to_valid_utf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = decode_utf8(text, i);
    if (step.valid) {
      result.append(text.substr(i, step.length));
    } else {
      append_utf8(result, replacement_character);
    }
    i += step.length;
  }
  return result;
}

std::string escape_json(std::string_view json) {
  std::string result;
  result.reserve(json.size());
  const auto unit = [&result](char32_t c) {
    const std::string digits = hex(c);
    result.append("\\u").append(4 - digits.size(), '0').append(digits);
  };
  for (size_t i = 0; i < json.size();) {
    const Utf8Step step = decode_utf8(json, i);
    const char32_t c = step.code_point;
    if (!is_invisible_or_reordering(c)) {
      append_utf8(result, c);
    } else if (c < 0x10000) {
      unit(c);
    } else {
      unit(0xD800 + ((c - 0x10000) >> 10));
      unit(0xDC00 + ((c - 0x10000) & 0x3FF));
    }
    i += step.length;
  }
  return result;
}

std::string escape_for_terminal(std::string_view text, Newlines newlines) {
  std::string result;
  result.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const Utf8Step step = decode_utf8(text, i);
    const char32_t c = step.code_point;
    if (newlines == Newlines::keep && (c == '\n' || c == '\t')) {
      result += static_cast<char>(c);
    } else if (c == '\n') {
      result += "\\n";
    } else if (c == '\t') {
      result += "\\t";
    } else if (c == '\r') {
      result += "\\r";
    } else if (c < 0x20 || c == 0x7F) {
      result += "\\x" + std::string(c < 0x10 ? "0" : "") + hex(c);
    } else if (is_invisible_or_reordering(c)) {
      result += "\\u{" + hex(c) + "}";
    } else {
      append_utf8(result, c);
    }
    i += step.length;
  }
  return result;
}

}  // namespace bareattn::base
