// See work.h.
#include "serve/work.h"

#include <algorithm>

#include "bareattn/error.h"
#include "base/float_environment.h"
#include "base/threads.h"

namespace bareattn::serving {

namespace {
constexpr int most_in_a_row = 8;
}

Work::Work(int threads) {
  const int given = base::start_threads(threads_, std::max(threads, 2), [this](int i) { serve(i != 0); });
  if (given == 0) throw OutputError(std::string("no thread can be started (") + base::thread_limits + ")");
  const std::lock_guard lock(mutex_);
  alone_ = given == 1;
}

Work::~Work() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    quick_.clear();
    tiles_.clear();
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Work::add(Lane lane, Job job) {
  {
    const std::lock_guard lock(mutex_);
    if (stop_) return;
    (lane == Lane::quick ? quick_ : tiles_).push_back(std::move(job));
  }
  wake_.notify_all();  // one alone might wake the thread that takes no tiles
}

void Work::serve(bool tiles) {
  const base::DefaultFloatEnvironment environment;  // the thread has that of who started the server
  for (;;) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stop_ || !quick_.empty() || ((tiles || alone_) && !tiles_.empty()); });
      if (stop_) return;
      const bool tile = (tiles || alone_) && !tiles_.empty() && (quick_.empty() || in_a_row_ >= most_in_a_row);
      std::deque<Job>& lane = tile ? tiles_ : quick_;
      in_a_row_ = tile ? 0 : in_a_row_ + 1;
      job = std::move(lane.front());
      lane.pop_front();
    }
    job();
  }
}

}  // namespace bareattn::serving
