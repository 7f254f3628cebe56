// See interrupt.h.
#include "console/interrupt.h"

#include <csignal>

#include "bareattn/model.h"

namespace bareattn::cli {
namespace {
volatile std::sig_atomic_t asked = 0;
bool wrote = false;
}  // namespace

void watch_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { asked = 1; };
  action.sa_flags = SA_RESETHAND;  // the second one ends the process
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  struct sigaction before {};
  sigaction(SIGHUP, nullptr, &before);
  if (before.sa_handler == SIG_IGN) return;  // nohup: it is to go on
  action.sa_flags = 0;                       // a terminal that closes may send more than one
  sigaction(SIGHUP, &action, nullptr);
}

bool interrupted() { return asked != 0; }

void stop_if_interrupted() {
  if (interrupted()) throw Cancelled{};
}

void say_written() { wrote = true; }
bool written() { return wrote; }

}  // namespace bareattn::cli
