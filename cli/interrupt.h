// Ctrl-C. The first one asks the run to stop at the next step, so that nothing half-written is left; a second one ends
// the process at once, as without us. A terminal that closes (SIGHUP) asks as well, and never ends it at once.
#pragma once

namespace bareattn::cli {

void watch_interrupts();
bool interrupted();
/// Throws Cancelled if the user pressed Ctrl-C (or the process got SIGTERM or SIGHUP).
void stop_if_interrupted();

/// For commands that write one file after the other: once this was said, "nothing was written" is not.
void say_written();
bool written();

}  // namespace bareattn::cli
