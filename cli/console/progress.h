// The progress bar: one line on stderr, drawn only where a person watches (a terminal, TERM not dumb), rewritten at
// most ten times a second and taken away when done, so that nothing of it stays in the scrollback or a log.
#pragma once
#include <chrono>
#include <string>

#include "bareattn/model.h"
#include "console/terminal.h"

namespace bareattn::cli {

class ProgressBar {
 public:
  /// `unit` names what is counted: "tokens".
  ProgressBar(std::string title, std::string unit);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// For the library: draws, and returns false once the user pressed Ctrl-C. Valid as long as the bar.
  Progress callback();
  /// The line without colour, for a terminal of `width` columns: tests read it.
  static std::string line(const std::string& title, const std::string& unit, int64_t done, int64_t total,
                          double seconds, int width);

 private:
  using Clock = std::chrono::steady_clock;
  void draw(int64_t done, int64_t total);
  std::string title_, unit_;
  Terminal terminal_;
  Clock::time_point start_, drawn_;
  bool visible_ = false;
};

}  // namespace bareattn::cli
