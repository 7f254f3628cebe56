// A fixed crew of workers for loops over independent tasks. Tasks are handed out in order, one at a time, so put the
// long ones first. Results must not depend on which worker runs what: the project's contract is the same bits for any
// number of threads. The calling thread is worker 0 and works too; a pool of 1 starts no thread.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace bareattn::base {

/// Cores this process may use (its affinity mask), at least 1.
int available_cores();

class ThreadPool {
 public:
  explicit ThreadPool(int threads = 0);  // 0: all available cores
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(threads_.size()) + 1; }

  /// body(task, worker) for every task in [0, tasks); returns when all are done. The first exception is rethrown here,
  /// after the rest have stopped. Not reentrant.
  void run(int64_t tasks, const std::function<void(int64_t task, int worker)>& body);

 private:
  void work(int worker);
  void serve(int worker);

  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable start_, finished_;
  const std::function<void(int64_t, int)>* body_ = nullptr;
  int64_t tasks_ = 0;
  std::atomic<int64_t> next_{0};
  std::atomic<uint64_t> round_{0};
  std::atomic<int> busy_{0};  // workers in the round, the caller aside; rises only under the mutex while it is open
  std::exception_ptr error_;
  bool open_ = false;  // the round still takes workers in
  bool stop_ = false;
};

}  // namespace bareattn::base
