// See progress.h.
#include "console/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "console/ending.h"
#include "console/interrupt.h"

namespace bareattn::cli {

ProgressBar::ProgressBar(std::string title, std::string unit)
    : title_(std::move(title)), unit_(std::move(unit)), terminal_(terminal_of(STDERR_FILENO)), start_(Clock::now()) {
  if (terminal_.interactive) draw(0, 0);
}

ProgressBar::~ProgressBar() {
  if (visible_) std::fputs("\r\x1b[K", stderr);
  say_bar_is_drawn(false);
}

Progress ProgressBar::callback() {
  return [this](int64_t done, int64_t total) {
    if (terminal_.interactive && Clock::now() - drawn_ > std::chrono::milliseconds(100)) draw(done, total);
    return !interrupted();
  };
}

void ProgressBar::draw(int64_t done, int64_t total) {
  drawn_ = Clock::now();
  visible_ = true;
  say_bar_is_drawn(true);
  const double seconds = std::chrono::duration<double>(drawn_ - start_).count();
  const std::string text = line(title_, unit_, done, total, seconds, terminal_.width);
  std::fprintf(stderr, "\r%s\x1b[K", text.c_str());
  std::fflush(stderr);
}

std::string ProgressBar::line(const std::string& title, const std::string& unit, int64_t done, int64_t total,
                              double seconds, int width) {
  if (total <= 0) return std::string(prefix(title + " …", width - 1));
  const double share = std::clamp(static_cast<double>(done) / static_cast<double>(total), 0.0, 1.0);
  std::string facts = fmt::format(" {:3.0f} %  {} of {} {}", 100 * share, grouped(done), grouped(total), unit);
  if (done > 0 && seconds > 0.2) {
    const double rate = static_cast<double>(done) / seconds;
    const int64_t left = static_cast<int64_t>(static_cast<double>(total - done) / rate + 0.5);
    facts += fmt::format("  {}/s  {}:{:02} left", grouped(static_cast<int64_t>(rate)), left / 60, left % 60);
  }
  const int room = std::min(30, width - 3 - columns(title) - columns(facts));
  std::string bar;
  if (room >= 5) {
    const int full = static_cast<int>(share * room);
    bar = " ";
    for (int i = 0; i < room; ++i) bar += i < full ? "━" : "┄";
  }
  return std::string(prefix(title + bar + facts, width - 1));
}

}  // namespace bareattn::cli
