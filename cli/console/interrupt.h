// Ctrl-C, SIGTERM, and SIGHUP (a terminal that closes; not under nohup). The first one asks the run to stop at the next
// step. A step may be long (a layer of a large model, the reading of a file): after 150 ms the process ends where it
// is, its temporary files are removed, and nothing half-written is left either. Only what puts its files in place is
// let finish. A second Ctrl-C or SIGTERM ends it at once, as without us; what that leaves the next start removes.
#pragma once
#include <cstdint>

namespace bareattn::cli {

void watch_interrupts();
/// The work is done, what is left is to say so: from here on nothing ends it half-way.
void watch_no_more();
bool interrupted();
/// 128 and the number of the signal: 130, 143 (SIGTERM), 129 (SIGHUP).
int interrupted_status();
/// For what serves until it is stopped: Ctrl-C is how it ends, with status 0 and without a complaint.
void serve_until_interrupted();
int served_status();
/// What a run without a progress bar asks whether it may go on.
inline bool unless_interrupted(int64_t, int64_t) { return !interrupted(); }
/// Throws Cancelled if interrupted().
void stop_if_interrupted();

/// A progress bar stands on the terminal: it is wiped away where the process ends at once.
void say_bar_is_drawn(bool drawn);

/// For commands that write one file after the other: once this was said, "nothing was written" is not.
void say_written();
bool written();

}  // namespace bareattn::cli
