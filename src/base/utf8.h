// UTF-8 from strangers: checked, repaired with U+FFFD, and made safe to print. Overlong forms, surrogates and code
// points past U+10FFFF are invalid (Unicode 15, table 3-7). Repair replaces each "maximal subpart" by one U+FFFD, as
// browsers and Python's errors="replace" do, so that every part of the project shows the same text.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace bareattn::base {

inline constexpr char32_t replacement_character = 0xFFFD;

struct Utf8Step {
  char32_t code_point;  // U+FFFD where invalid
  size_t length;        // bytes consumed, at least 1
  bool valid;
};

/// The character that begins at text[position]; position < text.size().
Utf8Step decode_utf8(std::string_view text, size_t position);

bool is_utf8(std::string_view text);

/// Appends one code point (a surrogate or a number past U+10FFFF becomes U+FFFD).
void append_utf8(std::string& text, char32_t code_point);

/// The text with every invalid part replaced by U+FFFD.
std::string to_valid_utf8(std::string_view text);

enum class Newlines { escape, keep };

/// Valid UTF-8 that cannot act on a terminal or reorder a line: control characters (ANSI escapes among them), bidi
/// controls, invisible formatting and line separators are spelled out as \n, \t, \x1b, \u{202e}; a backslash stays.
/// With Newlines::keep, newline and tab pass.
std::string escape_for_terminal(std::string_view text, Newlines newlines = Newlines::escape);

/// JSON that means the same, with those characters written as JSON can, \u202e; its own line ends and ASCII stay.
std::string escape_json(std::string_view json);

}  // namespace bareattn::base
