// The process-wide crews of workers behind the front door: one per size asked for, made when first needed, never
// destroyed (they sleep when idle). A call that finds its crew busy runs on the calling thread alone, which changes no
// bit of its result; after fork() the child makes its own.
#pragma once
#include <memory>
#include <mutex>

#include "base/thread_pool.h"

namespace bareattn::attend {

inline constexpr int max_threads = 1024;

/// A crew of `threads` (0: one per available core) for the lifetime of this object.
class PoolLease {
 public:
  explicit PoolLease(int threads);
  base::ThreadPool& pool() const { return *pool_; }

 private:
  base::ThreadPool* pool_ = nullptr;
  std::unique_lock<std::mutex> busy_;
};

/// A pool of one, without a thread: what a task inside a pool may use.
base::ThreadPool& own_thread();

}  // namespace bareattn::attend
