// Starting threads where the system may refuse one: those that came do the work of all. Used by thread_pool.h and by
// the workers of serve; what the user is told is in bareattn/threads.h.
#pragma once
#include <functional>
#include <thread>
#include <vector>

namespace bareattn::base {

/// Appends up to `count` threads, each running body(index), and returns how many the system gave. Throws std::bad_alloc
/// only before the first is started, so that a constructor never ends with threads running.
int start_threads(std::vector<std::thread>& threads, int count, const std::function<void(int index)>& body);

/// What a sentence names as causes where the system gives no thread.
inline constexpr const char* thread_limits =
    "a limit on processes or memory: ulimit -u, ulimit -v, pids of a container";

}  // namespace bareattn::base
