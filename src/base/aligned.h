// A 64-byte-aligned block of memory that owns itself, zero unless it is asked for as it comes. std::bad_alloc when
// there is none. From 2 MB on (Linux) it comes in huge pages where the system gives them to those who ask (decode over
// a large cache: up to a quarter faster), is cleared by whoever first touches it, and up to 128 MB of what is let go
// are kept for the next block of the same size: pages that are new cost a millisecond per megabyte, which was a third
// of what observing a run of 2,048 tokens cost.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

namespace bareattn::base {

enum class Contents { zero, any };

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t bytes, Contents contents = Contents::zero);
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

  /// Bytes that no block uses but that are kept, and giving them back to the system.
  static size_t kept_bytes();
  static void give_back_kept();

 private:
  struct Free {
    size_t mapped;  // bytes, 0: of aligned_alloc
    void operator()(std::byte* p) const;
  };
  std::unique_ptr<std::byte, Free> data_{nullptr, Free{0}};
  size_t bytes_ = 0;
};

}  // namespace bareattn::base
