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
#include <vector>

#include "bareattn/serve.h"
#include "bareattn/steering.h"
#include "serve/shown.h"

namespace bareattn::serving {

class Live {
 public:
  /// Where what was run goes: instead of what is shown, or (steered) beside it.
  enum class Place { instead, beside };
  using Install = std::function<void(std::shared_ptr<const Shown>, Place)>;  // this class is locked meanwhile
  using Current = std::function<std::shared_ptr<const Shown>()>;             // as well
  Live(const ServeOptions& options, Current current, Install install);
  ~Live();  // stops what runs
  Live(const Live&) = delete;
  Live& operator=(const Live&) = delete;

  /// 202, or why not. The body: {"text"} to run another text, or {"steering"} (docs/steering.md) to run the text that
  /// is shown once more with its weighting changed; and {"page"}, the name that the page gave itself.
  Answer start(const Request& request);
  Answer state() const;
  Answer cancel();
  /// The page that started it has gone: as cancel(). Whether the last run was that page's.
  bool left(const std::string& page);
  bool running() const { return running_; }

 private:
  struct Job {
    std::string text;
    std::shared_ptr<const Trace> before;  // of a steered run: the one that it changes
    std::vector<Intervention> steering;
  };
  void run(const Job& job);
  std::shared_ptr<const Shown> traced(const Job& job);
  void prepare(const Job& job, std::vector<int32_t>& tokens, TraceOptions& how) const;
  bool progress(int64_t done, int64_t total);

  const ServeOptions options_;
  const Current current_;
  const Install install_;
  mutable std::mutex mutex_;  // of what follows
  std::thread thread_;
  std::string page_, phase_ = "idle", error_, shown_;
  std::atomic<bool> running_ = false, stop_ = false;
  std::atomic<int64_t> done_ = 0, total_ = 0;
};

}  // namespace bareattn::serving
