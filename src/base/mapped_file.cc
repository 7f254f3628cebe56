// See mapped_file.h. A page of a map that is gone (the file was cut) does not end the process by SIGBUS: the handler
// puts zeros in its place and notes the loss, and check_unchanged() throws, which is called after the last byte was
// read. What is not of our maps it passes on.
#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "bareattn/error.h"

namespace bareattn::base {
namespace {

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  return "not a file";
}

[[noreturn]] void fail(const std::string& path, const std::string& doing, int error) {
  throw FileError(path, FileError::no_offset, doing + ": " + std::strerror(error));
}

void require_regular(const std::string& path, const struct stat& status) {
  if (S_ISREG(status.st_mode)) return;
  throw FileError(path, FileError::no_offset, std::string("is ") + kind_of(status.st_mode) + "; a file is needed");
}

// The maps, for the handler: it may look at nothing that is being changed, so that places are fixed and fields atomic.
struct Guard {
  std::atomic<bool> taken{false}, lost{false};
  std::atomic<uintptr_t> begin{0}, bytes{0};
};
std::array<Guard, 512> guards;
struct sigaction before_us {};
const auto page_bytes = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));

void on_lost_page(int, siginfo_t* info, void*) {
  const int kept = errno;
  const auto at = reinterpret_cast<uintptr_t>(info->si_addr);
  for (Guard& guard : guards) {
    if (at - guard.begin >= guard.bytes) continue;
    void* const page = reinterpret_cast<void*>(at / page_bytes * page_bytes);
    if (mmap(page, page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) break;
    guard.lost = true;
    errno = kept;
    return;
  }
  sigaction(SIGBUS, &before_us, nullptr);  // not of our maps: on return it is raised again, for whoever was there
  errno = kept;
}

/// From here on a page of the map that is lost does not end the process; where all places are taken it does.
void guard(const void* begin, uint64_t bytes) {
  static const bool once = [] {
    struct sigaction action {};
    action.sa_sigaction = on_lost_page;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    return sigaction(SIGBUS, &action, &before_us) == 0;
  }();
  static_cast<void>(once);
  for (size_t i = 0; i < guards.size(); ++i) {
    if (guards[i].taken.exchange(true)) continue;
    guards[i].lost = false;
    guards[i].begin = reinterpret_cast<uintptr_t>(begin);
    guards[i].bytes = bytes;
    return;
  }
}

Guard* guard_of(const void* begin) {
  for (Guard& guard : guards)
    if (guard.bytes != 0 && guard.begin == reinterpret_cast<uintptr_t>(begin)) return &guard;
  return nullptr;
}

void let_go(const void* begin) {
  Guard* const guard = guard_of(begin);
  if (guard == nullptr) return;
  guard->bytes = 0;
  guard->taken = false;
}

bool same_time(const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  if (path.empty()) throw FileError("(no name)", FileError::no_offset, "the file's name is empty");
  if (path.find('\0') != std::string::npos) {
    throw FileError(path.substr(0, path.find('\0')), FileError::no_offset, "the file's name contains a NUL character");
  }
  struct stat status {};
  // Look before opening: opening a device can act on it, and a FIFO would wait for a writer.
  if (stat(path.c_str(), &status) != 0) fail(path, "cannot be opened", errno);
  require_regular(path, status);
  fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd_ < 0) fail(path, "cannot be opened", errno);
  try {
    // Again on what was really opened; from here on only the descriptor counts, not the name.
    if (fstat(fd_, &status) != 0) fail(path, "cannot be examined", errno);
    require_regular(path, status);
    size_ = static_cast<uint64_t>(status.st_size);
    modified_ = status.st_mtim;
    if (size_ > static_cast<uint64_t>(std::numeric_limits<ptrdiff_t>::max())) fail(path, "cannot be mapped", EFBIG);
    if (size_ != 0) {
      void* map = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd_, 0);
      if (map == MAP_FAILED && errno == ENOMEM) throw std::bad_alloc();
      if (map == MAP_FAILED) fail(path, "cannot be mapped (" + std::to_string(size_) + " bytes)", errno);
      data_ = static_cast<const std::byte*>(map);
      guard(map, size_);
    }
  } catch (...) {
    close();
    throw;
  }
}

MappedFile::~MappedFile() { close(); }

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      modified_(other.modified_) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this == &other) return *this;
  close();
  path_ = std::move(other.path_);
  fd_ = std::exchange(other.fd_, -1);
  data_ = std::exchange(other.data_, nullptr);
  size_ = std::exchange(other.size_, 0);
  modified_ = other.modified_;
  return *this;
}

void MappedFile::close() noexcept {
  if (data_ != nullptr) let_go(data_);
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
  if (fd_ >= 0) ::close(fd_);
  data_ = nullptr;
  fd_ = -1;
  size_ = 0;
}

void MappedFile::read_at(uint64_t offset, std::span<std::byte> target) const {
  if (offset > size_ || target.size() > size_ - offset) {
    throw FileError(path_, static_cast<int64_t>(std::min<uint64_t>(offset, std::numeric_limits<int64_t>::max())),
                    std::to_string(target.size()) + " bytes are needed here; the file has " + std::to_string(size_));
  }
  while (!target.empty()) {
    const ssize_t got = pread(fd_, target.data(), target.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(path_, "cannot be read at offset " + std::to_string(offset), errno);
    if (got == 0) {
      throw FileError(path_, static_cast<int64_t>(offset), "the file became shorter while it was being read");
    }
    offset += static_cast<uint64_t>(got);
    target = target.subspan(static_cast<size_t>(got));
  }
}

void MappedFile::check_unchanged() const {
  const Guard* const guard = data_ == nullptr ? nullptr : guard_of(data_);
  if (guard != nullptr && guard->lost)
    throw FileError(path_, FileError::no_offset, "the file became shorter, or could not be read, while it was in use");
  struct stat status {};
  if (fstat(fd_, &status) != 0) fail(path_, "cannot be examined", errno);
  if (static_cast<uint64_t>(status.st_size) != size_) {
    throw FileError(path_, FileError::no_offset,
                    "the file changed while it was in use: it had " + std::to_string(size_) + " bytes, now it has " +
                        std::to_string(status.st_size));
  }
  if (!same_time(status.st_mtim, modified_)) {
    throw FileError(path_, FileError::no_offset, "the file was written to while it was in use");
  }
}

void MappedFile::forget(uint64_t offset, uint64_t size) const {
  if (data_ == nullptr || offset >= size_) return;
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t end = offset + std::min(size, size_ - offset);
  const uint64_t first = (offset + page - 1) / page * page;
  const uint64_t last = end == size_ ? end : end / page * page;
  if (first < last) madvise(const_cast<std::byte*>(data_) + first, last - first, MADV_DONTNEED);
}

}  // namespace bareattn::base
