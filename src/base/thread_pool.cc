// See thread_pool.h. Workers spin briefly between loops (a layer is a dozen short loops, and a sleep costs about 50 us
// of wake-up on a virtual machine), then sleep.
#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <utility>

#include "bareattn/interrupt.h"
#include "base/float_environment.h"
#include "base/threads.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bareattn::base {
namespace {

constexpr int spins_before_sleep = 20000;

void pause_briefly() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

}  // namespace

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1U, std::thread::hardware_concurrency());
}

ThreadPool::ThreadPool(int threads) {
  if (threads <= 0) threads = available_cores();
  start_threads(threads_, threads - 1, [this](int index) { serve(index + 1); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    round_.fetch_add(1, std::memory_order_release);
  }
  start_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void ThreadPool::run(int64_t tasks, const std::function<void(int64_t, int)>& body) {
  if (tasks <= 0) return;
  if (threads_.empty() || tasks == 1) {
    for (int64_t task = 0; task < tasks; ++task) {
      Interruption::point();
      body(task, 0);
    }
    return;
  }
  {
    std::lock_guard lock(mutex_);
    body_ = &body;
    tasks_ = tasks;
    error_ = nullptr;
    next_.store(0, std::memory_order_relaxed);
    open_ = true;
    round_.fetch_add(1, std::memory_order_release);
  }
  start_.notify_all();
  work(0);
  {
    std::lock_guard lock(mutex_);
    open_ = false;  // who has not come by now is not waited for: on a busy machine it may not run for milliseconds
  }
  for (int spin = 0; spin < spins_before_sleep && busy_.load(std::memory_order_acquire) != 0; ++spin) pause_briefly();
  std::unique_lock lock(mutex_);
  finished_.wait(lock, [this] { return busy_.load(std::memory_order_acquire) == 0; });
  body_ = nullptr;
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void ThreadPool::work(int worker) {
  try {
    for (int64_t task;;) {
      if (worker == 0) Interruption::point();  // before a task is taken: one that is taken may be waited for by others
      if ((task = next_.fetch_add(1, std::memory_order_relaxed)) >= tasks_) break;
      (*body_)(task, worker);
    }
  } catch (...) {
    next_.store(tasks_, std::memory_order_relaxed);
    std::lock_guard lock(mutex_);
    if (!error_) error_ = std::current_exception();
  }
}

void ThreadPool::serve(int worker) {
  const DefaultFloatEnvironment environment;  // a thread inherits its maker's, which may flush denormals
  uint64_t seen = 0;
  for (;;) {
    for (int spin = 0; spin < spins_before_sleep && round_.load(std::memory_order_acquire) == seen; ++spin)
      pause_briefly();
    if (round_.load(std::memory_order_acquire) == seen) {
      std::unique_lock lock(mutex_);
      start_.wait(lock, [&] { return round_.load(std::memory_order_acquire) != seen; });
    }
    {
      std::lock_guard lock(mutex_);  // the round's fields are written under it
      seen = round_.load(std::memory_order_acquire);
      if (stop_) return;
      if (!open_) continue;
      busy_.fetch_add(1, std::memory_order_relaxed);
    }
    work(worker);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      std::lock_guard lock(mutex_);
      finished_.notify_one();
    }
  }
}

}  // namespace bareattn::base
