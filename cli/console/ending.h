// How a command ends before its work is done: with the status of the signal (interrupt.h), and at once where it does
// not come to its next step. A step may be long (a layer of a large model, the reading of a file): 150 ms after the
// signal the process ends where it is, its temporary files are removed, and nothing half-written is left. Only what is
// putting its files in place is let finish.
#pragma once

namespace bareattn::cli {

/// The work is done, what is left is to say so: from here on nothing ends it half-way.
void watch_no_more();
/// 128 and the number of the signal: 130, 143 (SIGTERM), 129 (SIGHUP).
int interrupted_status();
/// For what serves until it is stopped: Ctrl-C is how it ends, with status 0 and without a complaint.
void serve_until_interrupted();
int served_status();
/// A progress bar stands on the terminal: it is wiped away where the process ends at once.
void say_bar_is_drawn(bool drawn);

}  // namespace bareattn::cli
