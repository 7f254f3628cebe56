// A system that gives no more threads: the program that includes this has its own pthread_create, which refuses once
// `threads_left` have been started.
#pragma once
#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>

namespace bareattn::test {

inline std::atomic<int> threads_left{-1};  // below 0: as many as are asked for

/// At most `count` more threads while this lives.
struct ThreadLimit {
  explicit ThreadLimit(int count) { threads_left = count; }
  ~ThreadLimit() { threads_left = -1; }
  ThreadLimit(const ThreadLimit&) = delete;
  ThreadLimit& operator=(const ThreadLimit&) = delete;
};

}  // namespace bareattn::test

extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* how, void* (*body)(void*), void* argument) {
  static const auto real = reinterpret_cast<decltype(&pthread_create)>(dlsym(RTLD_NEXT, "pthread_create"));
  if (bareattn::test::threads_left == 0) return EAGAIN;
  if (bareattn::test::threads_left > 0) --bareattn::test::threads_left;
  return real(thread, how, body, argument);
}
