// The threads that compute answers. Two lanes: quick work (rows, texts, descriptions) goes before tiles, and one thread
// never takes a tile, so that a row never waits for more than another row; and after eight quick ones in a row a thread
// that may takes a tile, so that rows do not starve tiles either.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace bareattn::serving {

enum class Lane { quick, tile };

class Work {
 public:
  using Job = std::function<void()>;  // throws nothing
  /// At least two threads are wanted; where the system gives one, it takes tiles too. OutputError where it gives none.
  explicit Work(int threads);
  ~Work();  // what has not begun is dropped; waits for what has
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;

  void add(Lane lane, Job job);

 private:
  void serve(bool tiles);
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> quick_, tiles_;
  int in_a_row_ = 0;    // quick jobs since the last tile
  bool alone_ = false;  // there is one thread
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace bareattn::serving
