// See interrupt.h and ending.h. A handler calls what POSIX lists as safe within one, and abandon_files(), which is made
// for it.
#include "console/interrupt.h"

#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <string_view>

#include "bareattn/model.h"
#include "bareattn/signals.h"
#include "console/ending.h"

namespace bareattn::cli {
namespace {

constexpr int patience_ms = 150, again_ms = 10;

std::atomic<int> asked = 0;  // the first signal
std::atomic<bool> wrote = false, serves = false, bar_drawn = false;

void write_out(std::string_view text) {
  if (write(STDERR_FILENO, text.data(), text.size()) < 0) return;
}

void come_back_in(int milliseconds) {
  itimerval timer{};
  timer.it_value.tv_usec = milliseconds * 1000;
  setitimer(ITIMER_REAL, &timer, nullptr);
}

void ask(int signal) {
  int none = 0;
  if (asked.compare_exchange_strong(none, signal)) come_back_in(patience_ms);
}

void end_here(int) {
  const int kept = errno;
  const bool all_or_none = !wrote && !serves;
  if ((all_or_none && files_are_in_place()) || !abandon_files()) {
    come_back_in(again_ms);
    errno = kept;
    return;
  }
  if (bar_drawn) write_out("\r\x1b[K");
  if (!serves) write_out(wrote ? "bareattn: stopped\n" : "bareattn: stopped; nothing was written\n");
  _exit(serves ? served_status() : interrupted_status());
}

void handle(int signal, void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

}  // namespace

void watch_interrupts() {
  handle(SIGALRM, end_here, SA_RESTART);
  handle(SIGINT, ask, SA_RESETHAND);  // the second one ends the process
  handle(SIGTERM, ask, SA_RESETHAND);
  struct sigaction before {};
  sigaction(SIGHUP, nullptr, &before);
  if (before.sa_handler == SIG_IGN) return;  // nohup: it is to go on
  handle(SIGHUP, ask, 0);                    // a terminal that closes may send more than one
}

void watch_no_more() {
  handle(SIGALRM, SIG_IGN, 0);
  come_back_in(0);
}

bool interrupted() { return asked != 0; }
int interrupted_status() { return 128 + (asked == 0 ? SIGINT : asked.load()); }

void serve_until_interrupted() { serves = true; }
int served_status() { return asked == 0 || asked == SIGINT ? 0 : interrupted_status(); }

void stop_if_interrupted() {
  if (interrupted()) throw Cancelled{};
}

void say_bar_is_drawn(bool drawn) { bar_drawn = drawn; }

void say_written() { wrote = true; }
bool written() { return wrote; }

}  // namespace bareattn::cli
