// A zeroed, 64-byte-aligned block of memory that owns itself. std::bad_alloc when there is none.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace bareattn::base {

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t bytes) : bytes_(bytes) {
    if (bytes > SIZE_MAX - 127) throw std::bad_alloc();
    data_.reset(static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 127) / 64 * 64)));
    if (!data_) throw std::bad_alloc();
    std::memset(data_.get(), 0, (bytes + 127) / 64 * 64);
  }
  /// Room for so many T at least; where it has to grow, all of it is new and zero.
  template <class T>
  void reserve(int64_t count) {
    if (bytes_ < static_cast<size_t>(count) * sizeof(T)) *this = AlignedBuffer(static_cast<size_t>(count) * sizeof(T));
  }
  template <class T>
  T* as() {
    return reinterpret_cast<T*>(data_.get());
  }
  template <class T>
  const T* as() const {
    return reinterpret_cast<const T*>(data_.get());
  }
  size_t bytes() const { return bytes_; }

 private:
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  std::unique_ptr<std::byte, Free> data_;
  size_t bytes_ = 0;
};

}  // namespace bareattn::base
