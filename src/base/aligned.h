// A zeroed, 64-byte-aligned block of memory that owns itself. std::bad_alloc when there is none. From 2 MB on it comes
// in huge pages where the system gives them to those who ask (decode over a large cache: up to a quarter faster).
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace bareattn::base {

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t bytes) : bytes_(bytes) {
    constexpr size_t huge = size_t{2} << 20;
    if (bytes > SIZE_MAX - 2 * huge) throw std::bad_alloc();
    const size_t room = (bytes + 127) / 64 * 64, align = bytes < huge ? 64 : huge;
    data_.reset(static_cast<std::byte*>(std::aligned_alloc(align, (room + align - 1) / align * align)));
    if (!data_) throw std::bad_alloc();
#if defined(__linux__)
    // A wish: refused, all works as before. Whole pages only: a last one would take 2 MB for what little is in it.
    if (bytes >= huge) madvise(data_.get(), room / huge * huge, MADV_HUGEPAGE);
#endif
    std::memset(data_.get(), 0, room);
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
