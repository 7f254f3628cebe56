// Memory that is not there: the program that includes this has operators new of its own, which refuse the n-th request,
// or that one and all that follow.
#pragma once
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace bareattn::test {

inline std::atomic<int64_t> requests{0};
inline std::atomic<int64_t> refused_from{-1}, refused_to{-1};  // requests [from, to) are refused

/// Refuses request `at` from now on (the first is 0), or all from there on, as long as this lives.
struct MemoryLimit {
  explicit MemoryLimit(int64_t at, bool stays_gone) {
    requests = 0;
    refused_to = stays_gone ? INT64_MAX : at + 1;
    refused_from = at;
  }
  ~MemoryLimit() { refused_from = refused_to = -1; }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;
};

inline void* memory(std::size_t bytes, std::size_t alignment) {
  const int64_t now = requests++;
  if (now >= refused_from && now < refused_to) return nullptr;
  const std::size_t room = (bytes + alignment) / alignment * alignment;
  return alignment <= alignof(std::max_align_t) ? std::malloc(room) : std::aligned_alloc(alignment, room);
}
inline void* memory_or_throw(std::size_t bytes, std::size_t alignment) {
  if (void* const made = memory(bytes, alignment)) return made;
  throw std::bad_alloc();
}

}  // namespace bareattn::test

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"  // what new gave is from malloc: the two above
#endif
void* operator new(std::size_t bytes) { return bareattn::test::memory_or_throw(bytes, alignof(std::max_align_t)); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return bareattn::test::memory_or_throw(bytes, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return bareattn::test::memory(bytes, alignof(std::max_align_t));
}
void operator delete(void* data) noexcept { std::free(data); }
void operator delete(void* data, std::size_t) noexcept { std::free(data); }
void operator delete(void* data, std::align_val_t) noexcept { std::free(data); }
void operator delete(void* data, std::size_t, std::align_val_t) noexcept { std::free(data); }
void operator delete(void* data, const std::nothrow_t&) noexcept { std::free(data); }
