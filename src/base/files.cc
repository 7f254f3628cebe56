// The public face (bareattn/files.h) of atomic_file and utf8, and reading a file whole: a pipe or a device is read to
// its end or to the limit, whichever comes first, so that it can neither hang on a size nor fill the memory.
#include "bareattn/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>

#include "bareattn/error.h"
#include "base/atomic_file.h"
#include "base/utf8.h"

namespace bareattn {

std::string read_file(const std::string& path, int64_t limit, const std::function<void()>& on_signal) {
  const auto refuse = [&](const std::string& sentence) { throw FileError(path, FileError::no_offset, sentence); };
  const auto again = [&] {  // what a signal interrupted is done once more
    if (errno != EINTR) return false;
    if (on_signal) on_signal();
    return true;
  };
  struct Descriptor {
    int fd = -1;
    ~Descriptor() {
      if (fd >= 0) close(fd);
    }
  } file;
  do {
    file.fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
  } while (file.fd < 0 && again());
  if (file.fd < 0) refuse(std::string("cannot be opened: ") + std::strerror(errno));
  std::string content;
  struct stat status {};
  // Room for a file's size at once: a string that grows by doubling has twice what it needs, and the old half beside
  // it.
  if (fstat(file.fd, &status) == 0 && S_ISREG(status.st_mode))
    content.reserve(static_cast<size_t>(std::min<int64_t>(status.st_size, limit) + 1));
  char part[65536];
  for (;;) {
    const ssize_t count = read(file.fd, part, sizeof part);
    if (count == 0) return content;
    if (count < 0 && !again()) refuse(std::string("cannot be read: ") + std::strerror(errno));
    if (count < 0) continue;
    content.append(part, static_cast<size_t>(count));
    if (static_cast<int64_t>(content.size()) > limit) {
      refuse("holds more than the " + std::to_string(limit) + " bytes that are taken");
    }
  }
}

void write_file(const std::string& path, std::string_view content) { base::write_file(path, content); }

void write_files(std::span<const Output> outputs) {
  std::deque<base::AtomicFile> files;
  for (const Output& output : outputs) files.emplace_back(output.path).write(output.content);
  base::commit_all(files);
}

void check_writable(const std::string& path) { base::check_writable(path); }

std::string printable(std::string_view text, bool keep_newlines) {
  return base::escape_for_terminal(text, keep_newlines ? base::Newlines::keep : base::Newlines::escape);
}

std::string printable_json(std::string_view json) { return base::escape_json(json); }

}  // namespace bareattn
