// How a text that came from a file stands in an error message: quoted, shortened, safe to print. Only for messages;
// nothing reads this form back.
#pragma once
#include <string>
#include <string_view>

#include "base/utf8.h"

namespace bareattn::text {

inline std::string quoted(std::string_view s, size_t at_most = 40) {
  std::string out(1, '"');
  out.append(base::escape_for_terminal(s.substr(0, at_most))).append(1, '"');
  if (s.size() > at_most) out += "... (" + std::to_string(s.size()) + " bytes)";
  return out;
}

}  // namespace bareattn::text
