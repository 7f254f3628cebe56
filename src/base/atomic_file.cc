// See atomic_file.h.
#include "base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "bareattn/error.h"
#include "base/temporaries.h"

namespace bareattn::base {
namespace {

constexpr size_t buffer_size = 1 << 20;

[[noreturn]] void fail(const std::string& path, const std::string& doing, int error) {
  throw OutputError(path + ": " + doing + ": " + std::strerror(error));
}

/// Where the bytes shall land: the path, or what it links to. Refuses what cannot be a file.
std::string resolve_target(const std::string& path) {
  if (path.empty()) throw OutputError("the output file's name is empty");
  if (path.find('\0') != std::string::npos) throw OutputError("the output file's name contains a NUL character");
  std::string target = path;
  struct stat status {};
  if (lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode)) {
    char* resolved = realpath(path.c_str(), nullptr);
    if (resolved == nullptr) fail(path, "the link leads nowhere", errno);
    target = resolved;
    std::free(resolved);
  }
  if (stat(target.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) throw OutputError(path + ": is a directory; a file's name is needed");
    if (!S_ISREG(status.st_mode)) {
      throw OutputError(path + ": is a device, FIFO or socket; only a regular file can be replaced safely");
    }
    if (faccessat(AT_FDCWD, target.c_str(), W_OK, AT_EACCESS) != 0) fail(path, "cannot be written", errno);
  } else if (errno != ENOENT) {
    fail(path, "cannot be written", errno);
  } else if (target.back() == '/') {
    throw OutputError(path + ": is the name of a directory; a file's name is needed");
  }
  return target;
}

std::string directory_of(const std::string& target) {
  const std::string parent = std::filesystem::path(target).parent_path().string();
  return parent.empty() ? "." : parent;
}

/// A short name of its own: the target's name may already be as long as the file system allows.
std::string temporary_name(const std::string& target) {
  static std::atomic<unsigned> serial{0};
  return directory_of(target) + "/.bareattn-" + std::to_string(getpid()) + "-" + std::to_string(serial++) + ".tmp";
}

/// Creates the temporary file beside the target; `name` receives its path.
int create_temporary(const std::string& path, const std::string& target, std::string& name) {
  remove_left_behind(directory_of(target), Left::files);
  for (int attempt = 0; attempt < 100; ++attempt) {
    // By open() and not by mkstemp(), so that it gets the permissions of any new file (umask).
    name = temporary_name(target);
    const int fd = open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd >= 0 && lock_temporary(fd)) return fd;
    if (fd >= 0) {  // taken for left behind in the moment before it was locked
      close(fd);
      continue;
    }
    if (errno == ENOENT) throw OutputError(path + ": the directory does not exist");
    if (errno != EEXIST) fail(path, "cannot be written", errno);  // EEXIST: left by a process that was killed
  }
  fail(path, "cannot be written", EEXIST);
}

}  // namespace

void check_writable(const std::string& path) {
  const std::string target = resolve_target(path);
  std::string temporary;
  const int fd = create_temporary(path, target, temporary);
  close(fd);
  unlink(temporary.c_str());
  // The directory is writable; a name that is too long would only show at the rename.
  struct stat status {};
  if (lstat(target.c_str(), &status) != 0 && errno != ENOENT) fail(path, "cannot be written", errno);
}

AtomicFile::AtomicFile(const std::string& path) : path_(path), target_(resolve_target(path)) {
  fd_ = create_temporary(path_, target_, temporary_);
  hold_temporary(temporary_, fd_);
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) close(fd_);
  for (const std::string* name : {&temporary_, &old_}) {
    if (name->empty()) continue;
    unlink(name->c_str());
    let_go_of_temporary(*name);
  }
}

void AtomicFile::put(uint64_t offset, const char* data, size_t size) {
  while (size != 0) {
    const ssize_t done = pwrite(fd_, data, size, static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail(path_, "writing failed, nothing was changed", errno);
    data += done;
    offset += static_cast<uint64_t>(done);
    size -= static_cast<size_t>(done);
  }
}

void AtomicFile::flush() {
  put(position_ - buffer_.size(), buffer_.data(), buffer_.size());
  buffer_.clear();
}

void AtomicFile::write(std::string_view bytes) {
  if (buffer_.size() + bytes.size() > buffer_size) flush();
  if (bytes.size() > buffer_size) {
    put(position_, bytes.data(), bytes.size());
  } else {
    buffer_.append(bytes);
  }
  position_ += bytes.size();
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  write(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

void AtomicFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  flush();
  put(offset, reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void AtomicFile::finish() {
  if (fd_ < 0) return;
  flush();
  struct stat replaced {};
  if (stat(target_.c_str(), &replaced) == 0) (void)!fchmod(fd_, replaced.st_mode & 07777);  // keeps its permissions
  if (fsync(fd_) != 0) fail(path_, "writing failed, nothing was changed", errno);
  const int closed = close(fd_);
  fd_ = -1;
  if (closed != 0) fail(path_, "writing failed, nothing was changed", errno);
}

void AtomicFile::commit() {
  finish();
  const PuttingInPlace now;
  place();
}

void AtomicFile::place() {
  if (rename(temporary_.c_str(), target_.c_str()) != 0) fail(path_, "cannot be put in place", errno);
  const std::string held = std::move(temporary_);
  temporary_.clear();
  let_go_of_temporary(held);
  note_in_place(target_);
  placed_ = true;
  // The name itself is on disk only when the directory is. Some file systems refuse this; the content is safe then.
  const int directory = open(directory_of(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory >= 0) {
    (void)fsync(directory);
    close(directory);
  }
}

void AtomicFile::keep_old() {
  struct stat status {};
  if (lstat(target_.c_str(), &status) != 0) return;
  const std::string name = temporary_name(target_);
  had_old_ = true;
  if (link(target_.c_str(), name.c_str()) != 0) return;  // where there are no links, it cannot be kept
  old_ = name;
  const int old = open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (old < 0) return;
  (void)lock_temporary(old);
  hold_temporary(name, old);
  close(old);
}

void AtomicFile::undo() noexcept {
  if (!placed_) return;
  if (!old_.empty()) {
    if (rename(old_.c_str(), target_.c_str()) != 0) return;
    let_go_of_temporary(old_);
    old_.clear();
  } else if (!had_old_) {
    unlink(target_.c_str());
  }
}

void commit_all(std::deque<AtomicFile>& files) {
  for (AtomicFile& file : files) file.finish();
  const PuttingInPlace now;
  try {
    for (AtomicFile& file : files) {
      if (&file != &files.back()) file.keep_old();  // nothing can fail after the last
      file.place();
    }
  } catch (...) {
    for (AtomicFile& file : files) file.undo();
    throw;
  }
}

void write_file(const std::string& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

}  // namespace bareattn::base
