// A long call that can be ended: while an Interruption lives, the loops that its thread runs inside the library
// (attention, its gradients, weights, the reference) ask it between their pieces, on that thread. What the question
// throws ends the call and comes out of it; the arguments it was to fill then hold anything. Calls that have a Progress
// of their own (model.h) need none.
#pragma once
#include <functional>

namespace bareattn {

class Interruption {
 public:
  explicit Interruption(std::function<void()> ask);
  ~Interruption();
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  /// Asks the one that lives in this thread, if there is one.
  static void point();

 private:
  std::function<void()> ask_;
  Interruption* outer_;
};

}  // namespace bareattn
