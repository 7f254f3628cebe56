// See interrupt.h.
#include "interrupt.h"

#include <csignal>

#include "bareattn/model.h"

namespace bareattn::cli {
namespace {
volatile std::sig_atomic_t asked = 0;
}  // namespace

void watch_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { asked = 1; };
  action.sa_flags = SA_RESETHAND;  // the second one ends the process
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() { return asked != 0; }

void stop_if_interrupted() {
  if (interrupted()) throw Cancelled{};
}

}  // namespace bareattn::cli
