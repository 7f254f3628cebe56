// See shared_pool.h.
#include "attention/shared_pool.h"

#include <pthread.h>

#include <map>

namespace bareattn::attend {
namespace {

struct Crew {
  std::mutex busy;
  std::unique_ptr<base::ThreadPool> pool;
};
struct Crews {
  std::mutex mutex;
  std::map<int, Crew> by_size;
};
// Replaced, not freed, in a forked child: its mutexes may be locked and its threads are not there.
Crews* crews = nullptr;

Crews& all_crews() {
  static const bool once = [] {
    crews = new Crews;
    pthread_atfork(nullptr, nullptr, [] { crews = new Crews; });
    return true;
  }();
  static_cast<void>(once);
  return *crews;
}

int default_threads() {
  static const int cores = base::available_cores();
  return cores;
}

}  // namespace

base::ThreadPool& own_thread() {
  static thread_local base::ThreadPool pool(1);
  return pool;
}

PoolLease::PoolLease(int threads) {
  if (threads == 0) threads = default_threads();
  if (threads == 1) {
    pool_ = &own_thread();
    return;
  }
  Crews& all = all_crews();
  Crew* crew = nullptr;
  {
    std::lock_guard lock(all.mutex);
    crew = &all.by_size[threads];
  }
  busy_ = std::unique_lock(crew->busy, std::try_to_lock);
  if (!busy_.owns_lock()) {
    pool_ = &own_thread();
    return;
  }
  if (!crew->pool) crew->pool = std::make_unique<base::ThreadPool>(threads);
  pool_ = crew->pool.get();
}

}  // namespace bareattn::attend
