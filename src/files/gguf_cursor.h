// A position in a mapped GGUF file that moves forward and never past the end: every read names what it reads, so that a
// truncated file is reported with the field and the offset. Used by gguf.cc and gguf_values.cc only.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "bareattn/error.h"
#include "base/mapped_file.h"

namespace bareattn::model {

class Cursor {
 public:
  Cursor(const base::MappedFile& file, uint64_t position) : file_(&file), position_(position) {}

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return file_->size() - position_; }

  [[noreturn]] void fail(uint64_t offset, const std::string& sentence) const {
    throw FileError(file_->path(), static_cast<int64_t>(offset), sentence);
  }

  /// The next `bytes` bytes; position_ <= size always holds, so nothing can wrap.
  std::string_view take(uint64_t bytes, std::string_view what) {
    if (bytes > remaining()) {
      fail(position_, std::string(what) + " needs " + std::to_string(bytes) + " bytes, but the file has only " +
                          std::to_string(remaining()) + " more");
    }
    const std::string_view view = file_->text().substr(position_, bytes);
    position_ += bytes;
    return view;
  }

  template <class T>
  T get(std::string_view what) {
    T value;
    std::memcpy(&value, take(sizeof value, what).data(), sizeof value);
    return value;
  }

  /// A 64-bit length and that many bytes.
  std::string_view string(std::string_view what) {
    const auto length = get<uint64_t>(what);
    return take(length, what);
  }

 private:
  const base::MappedFile* file_;
  uint64_t position_;
};

/// Moves over the value that follows `key`, checking its type, its lengths and that every bool is 0 or 1.
void skip_value(Cursor& cursor, std::string_view key);

}  // namespace bareattn::model
