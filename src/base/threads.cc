// See threads.h, both of them.
#include "base/threads.h"

#include <mutex>
#include <new>
#include <system_error>
#include <utility>

#include "bareattn/threads.h"

namespace bareattn {
namespace {

// The worst of what happened since it was asked for.
struct Shortage {
  std::mutex mutex;
  int wanted = 0, given = 0;
} shortage;

}  // namespace

namespace base {

int start_threads(std::vector<std::thread>& threads, int count, const std::function<void(int index)>& body) {
  const size_t before = threads.size();
  threads.reserve(before + static_cast<size_t>(count));
  const auto given = [&] { return static_cast<int>(threads.size() - before); };
  try {
    while (given() < count) threads.emplace_back(body, given());
    return count;
  } catch (const std::system_error&) {  // no thread, or no room for its stack
  } catch (const std::bad_alloc&) {
  }
  const std::lock_guard lock(shortage.mutex);
  if (count - given() > shortage.wanted - shortage.given) {
    shortage.wanted = count;
    shortage.given = given();
  }
  return given();
}

}  // namespace base

std::string take_thread_shortage() {
  const std::lock_guard lock(shortage.mutex);
  const int wanted = std::exchange(shortage.wanted, 0), given = std::exchange(shortage.given, 0);
  if (wanted == 0) return "";
  return "the system gave " + std::to_string(given) + " of " + std::to_string(wanted) + " more threads (" +
         base::thread_limits + "); the results are the same, but take longer";
}

}  // namespace bareattn
