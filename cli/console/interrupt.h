// Ctrl-C. The first one asks the run to stop at the next step, so that nothing half-written is left; a second one ends
// the process at once, as without us. A terminal that closes (SIGHUP) asks as well, and never ends it at once.
#pragma once
#include <cstdint>

namespace bareattn::cli {

void watch_interrupts();
bool interrupted();
/// What a run without a progress bar asks whether it may go on.
inline bool unless_interrupted(int64_t, int64_t) { return !interrupted(); }
/// Throws Cancelled if the user pressed Ctrl-C (or the process got SIGTERM or SIGHUP).
void stop_if_interrupted();

/// For commands that write one file after the other: once this was said, "nothing was written" is not.
void say_written();
bool written();

}  // namespace bareattn::cli
