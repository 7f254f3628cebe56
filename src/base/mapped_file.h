// A file opened for reading and mapped into memory. Only regular files: a directory, FIFO, socket or device is refused
// by name, and opening one never blocks. The size is taken by fstat on the descriptor that is mapped, so a file that is
// replaced by another (rename) after opening changes nothing here. A file that somebody truncates in place is another
// matter: touching a lost page of any map raises SIGBUS. Readers therefore either copy by read_at (pread: an error, no
// signal) or call check_unchanged() before long work on the map, which closes all but the narrow race.
// Resident memory: pages are shared with the page cache; forget() gives back those that have been copied.
#pragma once
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <span>
#include <string>
#include <string_view>

namespace bareattn::base {

class MappedFile {
 public:
  /// FileError where the path cannot be opened or mapped. An empty file is fine: size() == 0.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }  // [size]
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

  /// Copies target.size() bytes from `offset` by pread. FileError where the file no longer has them.
  void read_at(uint64_t offset, std::span<std::byte> target) const;
  /// FileError if the file's size or time of change is no longer what it was at opening.
  void check_unchanged() const;
  /// The whole pages inside [offset, offset + size) leave this process's memory; reading them again is allowed.
  void forget(uint64_t offset, uint64_t size) const;

 private:
  void close() noexcept;

  std::string path_;
  int fd_ = -1;
  const std::byte* data_ = nullptr;
  uint64_t size_ = 0;
  timespec modified_{};
};

}  // namespace bareattn::base
