// Live mode: runs a text that was typed into the page, one at a time, into a trace of its own, and hands it over. The
// trace is a file in a private folder that is removed as soon as it is open, so that nothing stays, whatever happens
// but a kill. Asked by routes.cc.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "bareattn/serve.h"
#include "serve/shown.h"

namespace bareattn::serving {

class Live {
 public:
  using Install = std::function<void(std::shared_ptr<const Shown>)>;
  Live(const ServeOptions& options, Install install);
  ~Live();  // stops what runs
  Live(const Live&) = delete;
  Live& operator=(const Live&) = delete;

  Answer start(const Request& request);  // 202, or why not
  Answer state() const;
  Answer cancel();
  /// The page that started it has gone: as cancel().
  void left(const std::string& page);
  bool running() const { return running_; }

 private:
  void run(const std::string& text);
  std::shared_ptr<const Shown> traced(const std::string& text);
  bool progress(int64_t done, int64_t total);

  const ServeOptions options_;
  const Install install_;
  mutable std::mutex mutex_;  // of what follows
  std::thread thread_;
  std::string page_, phase_ = "idle", error_, shown_;
  std::atomic<bool> running_ = false, stop_ = false;
  std::atomic<int64_t> done_ = 0, total_ = 0;
};

}  // namespace bareattn::serving
