// See token_texts.h.
#include "observe/token_texts.h"

#include "base/utf8.h"

namespace bareattn::observing {

std::vector<std::string> token_texts(const std::vector<std::string_view>& pieces) {
  std::string bytes;
  for (const std::string_view piece : pieces) bytes += piece;
  std::vector<std::string> texts(pieces.size());
  size_t at = 0, begin = 0;  // next character; first byte of the token
  for (size_t token = 0; token < pieces.size(); ++token) {
    const size_t end = begin + pieces[token].size();
    while (at < end) {
      const base::Utf8Step step = base::decode_utf8(bytes, at);
      base::append_utf8(texts[token], step.code_point);
      at += step.length;
    }
    begin = end;
  }
  return texts;
}

}  // namespace bareattn::observing
