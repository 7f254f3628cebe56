// A file that is either written whole or not at all: the bytes go to a temporary file in the same directory; commit()
// flushes it to disk (fsync), renames it over the target and flushes the directory. Until then, and after any failure,
// the target is as it was and the temporary file is gone. Refuses a target that is a directory, device, FIFO or socket,
// and one in a place that cannot be written. All failures are OutputError. Where the target is a symbolic link, the
// file that it points to is replaced, not the link.
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>

namespace bareattn::base {

/// OutputError unless a file could be written at `path` now (it tries, with a temporary file). Call it before long
/// work.
void check_writable(const std::string& path);

class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();  // without commit(): the temporary file is removed
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Appends, buffered.
  void write(std::string_view bytes);
  void write(std::span<const std::byte> bytes);
  /// Writes at an absolute offset, for parts that are ready in another order; the file grows as needed (holes are
  /// zeros). Parts that overlap what write() appended must come after it.
  void write_at(uint64_t offset, std::span<const std::byte> bytes);
  /// Bytes appended by write() so far.
  uint64_t position() const { return position_; }
  /// All that can fail for want of room; commit() is then a rename.
  void finish();
  void commit();
  /// Where the bytes are until then: after finish() the file can be read there, and checked.
  const std::string& temporary() const { return temporary_; }

 private:
  friend void commit_all(std::deque<AtomicFile>& files);
  void place();
  void keep_old();
  void undo() noexcept;
  void flush();
  void put(uint64_t offset, const char* data, size_t size);

  std::string path_;       // as given, for messages
  std::string target_;     // links resolved
  std::string temporary_;  // empty: none left to remove
  std::string old_;        // what the target was, under a second name; empty: there was none, or it is not kept
  bool had_old_ = false, placed_ = false;
  int fd_ = -1;
  uint64_t position_ = 0;
  std::string buffer_;
};

/// All are finished, then all are put in place; where one cannot be, those before it are as they were. (Should the
/// process be killed between two renames, the first is new and the second old: no file system here does better.)
void commit_all(std::deque<AtomicFile>& files);

/// The whole content at once.
void write_file(const std::string& path, std::string_view content);

}  // namespace bareattn::base
