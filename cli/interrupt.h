// Ctrl-C. The first one asks the run to stop at the next step, so that nothing half-written is left; a second one ends
// the process at once, as without us.
#pragma once

namespace bareattn::cli {

void watch_interrupts();
bool interrupted();
/// Throws Cancelled if the user pressed Ctrl-C (or the process got SIGTERM).
void stop_if_interrupted();

}  // namespace bareattn::cli
