// See bareattn/interrupt.h: the innermost one of each thread.
#include "bareattn/interrupt.h"

#include <utility>

namespace bareattn {
namespace {

thread_local Interruption* innermost = nullptr;

}  // namespace

Interruption::Interruption(std::function<void()> ask) : ask_(std::move(ask)), outer_(innermost) { innermost = this; }
Interruption::~Interruption() { innermost = outer_; }

void Interruption::point() {
  if (innermost != nullptr) innermost->ask_();
}

}  // namespace bareattn
