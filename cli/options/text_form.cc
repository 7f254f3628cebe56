// See text_form.h.
#include "options/text_form.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "bareattn/error.h"
#include "bareattn/files.h"

namespace bareattn::cli {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD, which stands for what is no UTF-8

// A header's length in eight bytes, then JSON.
bool is_safetensors(std::string_view text) {
  return text.size() > 8 && text[8] == '{' && text.substr(5, 3) == std::string_view("\0\0\0", 3);
}

const char* compression_of(std::string_view text) {
  if (text.starts_with("\x1f\x8b")) return "gzip";
  if (text.starts_with("PK\x03\x04")) return "zip";
  if (text.starts_with("\xfd"
                       "7zXZ"))
    return "xz";
  if (text.starts_with("\x28\xb5\x2f\xfd")) return "zstd";
  if (text.starts_with("BZh")) return "bzip2";
  return nullptr;
}

// With its mark, or by every second byte of the beginning being NUL, as in Latin letters.
bool is_utf16(std::string_view text) {
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff")) return true;
  const std::string_view start = text.substr(0, 256);
  size_t even = 0, odd = 0;
  for (size_t i = 0; i < start.size(); ++i) (i % 2 == 0 ? even : odd) += start[i] == '\0' ? 1 : 0;
  return start.size() >= 4 && std::max(even, odd) > start.size() / 3 && std::min(even, odd) == 0;
}

bool is_utf8(std::string_view text) {
  return text.find(replacement) != std::string_view::npos || printable(text).find(replacement) == std::string::npos;
}

}  // namespace

bool looks_like_a_path(std::string_view word) {
  if (word.empty() || word.size() > 1024) return false;
  if (std::any_of(word.begin(), word.end(), [](unsigned char c) { return c <= ' '; })) return false;
  if (word.find('/') != std::string_view::npos) return true;
  const size_t dot = word.rfind('.');
  if (dot == std::string_view::npos || dot == 0) return false;
  const std::string_view extension = word.substr(dot + 1);
  const auto is = [&](auto test) { return std::any_of(extension.begin(), extension.end(), test); };
  return !extension.empty() && extension.size() <= 11 && is([](unsigned char c) { return std::isalpha(c) != 0; }) &&
         !is([](unsigned char c) { return std::isalnum(c) == 0; });
}

void refuse_model_or_trace(std::string_view start, const std::string& name) {
  if (start.starts_with("GGUF"))
    throw InputError(name + " is a model (a GGUF file), not a text: a model is named with -m");
  if (is_safetensors(start)) {
    throw InputError(name +
                     " is a trace or another safetensors file, not a text: of traces, bareattn page, serve, tile, "
                     "row and measures tell");
  }
}

std::string check_form(std::string& text, const std::string& origin) {
  const std::string name = origin.empty() ? "the text" : origin;
  refuse_model_or_trace(text, name);
  if (const char* kind = compression_of(text))
    return fmt::format("{} is compressed ({}): the bytes of the archive are run as they are", name, kind);
  if (is_utf16(text))
    return name + " looks like UTF-16, and its bytes are run as they are; UTF-8 is needed: iconv -f UTF-16 -t UTF-8";
  std::string said;
  if (text.starts_with("\xEF\xBB\xBF")) {
    text.erase(0, 3);
    said = "a byte order mark was taken off the beginning of " + name;
  }
  if (!is_utf8(text)) {
    said += (said.empty() ? "" : "; ") + name +
            " is no valid UTF-8, and its bytes are run as they are; if it is Windows-1252 or Latin-1: iconv -f "
            "WINDOWS-1252 -t UTF-8";
  }
  return said;
}

}  // namespace bareattn::cli
