// How deep JSON is nested, asked of its text before it is parsed: what a parser makes of it is walked by recursion (to
// write, compare or copy it), so a text of a hundred thousand brackets would overflow the stack.
#pragma once
#include <string_view>

namespace bareattn::base {

/// Far more than anything that is read here; a stack holds thousands.
inline constexpr int most_json_depth = 32;

/// Whether objects and lists are within each other more than `most` deep. Right for JSON; of what is none, some answer.
inline bool json_is_deeper(std::string_view text, int most = most_json_depth) {
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\')
        ++i;  // the next one ends nothing
      else if (c == '"')
        quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > most) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

}  // namespace bareattn::base
