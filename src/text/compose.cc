// See compose.h. utf8proc composes a text in linear time; what lies between invalid bytes is a text of its own.
#include "text/compose.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>

#include "base/utf8.h"

namespace bareattn::text {
namespace {

void append_composed(std::string_view text, std::string& out) {
  utf8proc_uint8_t* made = nullptr;
  const auto length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &made, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  if (length < 0) throw std::bad_alloc();  // the text is valid: nothing else can go wrong
  const std::unique_ptr<utf8proc_uint8_t, void (*)(void*)> owned(made, std::free);
  out.append(reinterpret_cast<const char*>(made), static_cast<size_t>(length));
}

}  // namespace

bool is_composed(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0xCC; });
}

std::string compose(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const base::Utf8Step step = base::decode_utf8(text, at);
    if (!step.valid) {
      if (at > begin) append_composed(text.substr(begin, at - begin), out);
      out.append(text.substr(at, step.length));
      begin = at + step.length;
    }
    at += step.length;
  }
  if (begin < text.size()) append_composed(text.substr(begin), out);
  return out;
}

}  // namespace bareattn::text
