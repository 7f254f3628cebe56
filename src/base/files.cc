// The public face (bareattn/files.h) of atomic_file and utf8, and reading a file whole: a pipe or a device is read to
// its end or to the limit, whichever comes first, so that it can neither hang on a size nor fill the memory.
#include "bareattn/files.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "bareattn/error.h"
#include "base/atomic_file.h"
#include "base/utf8.h"

namespace bareattn {

std::string read_file(const std::string& path, int64_t limit) {
  const auto refuse = [&](const std::string& sentence) { throw FileError(path, FileError::no_offset, sentence); };
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) refuse(std::string("cannot be opened: ") + std::strerror(errno));
  std::string content;
  char part[65536];
  for (;;) {
    errno = 0;
    const size_t count = std::fread(part, 1, sizeof part, file.get());
    content.append(part, count);
    if (static_cast<int64_t>(content.size()) > limit) {
      refuse("holds more than the " + std::to_string(limit) + " bytes that are taken");
    }
    if (count == sizeof part) continue;
    if (std::ferror(file.get()) != 0) refuse(std::string("cannot be read: ") + std::strerror(errno));
    return content;
  }
}

void write_file(const std::string& path, std::string_view content) { base::write_file(path, content); }

void check_writable(const std::string& path) { base::check_writable(path); }

std::string printable(std::string_view text, bool keep_newlines) {
  return base::escape_for_terminal(text, keep_newlines ? base::Newlines::keep : base::Newlines::escape);
}

}  // namespace bareattn
