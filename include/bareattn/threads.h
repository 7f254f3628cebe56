// What became of the threads that were asked for. A system that gives no more of them (a limit on processes, on memory,
// of a container) makes nothing fail: fewer threads do the work, with the same bits. The doors ask here and say so.
#pragma once
#include <string>

namespace bareattn {

/// Returns a sentence about the threads that the system refused since the last call, with the limits that may be the
/// cause; empty where it gave all.
std::string take_thread_shortage();

}  // namespace bareattn
