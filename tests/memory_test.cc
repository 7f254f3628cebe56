// Memory that is not there: whichever allocation fails while a model is loaded and looked at, once or for
// good, what comes out is std::bad_alloc or a sentence, and nothing is left: no file, no descriptor, no thread.
// Handlers that themselves need memory show here as the end of this program. The page is left out: the destructor of
// the library that writes their JSON needs memory itself and ends the process without; the command says so then in a
// sentence (tests/cli/test_faults.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <thread>

#include "bareattn/observation.h"
#include "bareattn/threads.h"
#include "failing_memory.h"
#include "folder.h"
#include "gguf_builder.h"

namespace bareattn {
namespace {

int64_t entries(const std::string& folder) {
  int64_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) count += entry.exists() ? 1 : 0;
  return count;
}
int64_t descriptors() { return entries("/proc/self/fd"); }
int64_t threads() { return entries("/proc/self/task"); }

struct Work {
  test::TemporaryFile model{test::tiny_llama().build()};
  test::Folder folder;
  std::vector<int32_t> tokens = test::byte_tokens(12);

  void look() const {
    const auto loaded = Model::load(model.path(), {.precision = Precision::f32, .threads = 2});
    const auto seen = observe(loaded, tokens, {}, 2);
    static_cast<void>(seen->tile({1, 3}, {0, 12}, {0, 12}));
  }
};

/// Every request, where there are few; `most` of them, evenly, where there are more.
void expect_a_sentence(const std::function<void()>& body, const test::Folder& folder, int64_t most) {
  body();  // what is made once and kept is made now
  for (const auto& entry : std::filesystem::directory_iterator(folder / "")) std::filesystem::remove_all(entry.path());
  int64_t all = 0;
  {
    const test::MemoryLimit none(INT64_MAX - 1, false);
    body();
    all = test::requests;
  }
  ASSERT_GT(all, 100);
  for (const auto& entry : std::filesystem::directory_iterator(folder / "")) std::filesystem::remove_all(entry.path());
  const int64_t open = descriptors(), running = threads(), step = std::max<int64_t>(1, all / most);
  for (const bool stays_gone : {false, true}) {
    int64_t refused = 0;
    for (int64_t at = 0; at < all; at += step) {
      bool failed = false;
      {
        const test::MemoryLimit limit(at, stays_gone);
        try {
          body();
        } catch (const std::bad_alloc&) {
          failed = true;
        } catch (const std::exception&) {  // a sentence
          failed = true;
        }
      }
      refused += failed ? 1 : 0;
      ASSERT_EQ(folder.entries(), 0) << "request " << at;
      ASSERT_EQ(descriptors(), open) << "request " << at;
      // A thread that was joined may be seen for a moment more.
      for (int i = 0; i < 2000 && threads() != running; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      ASSERT_EQ(threads(), running) << "request " << at;
    }
    EXPECT_GT(refused, 50);
  }
  static_cast<void>(take_thread_shortage());
}

int64_t most() { return std::getenv("BAREATTN_TEST_SMALL") == nullptr ? 600 : 60; }

TEST(Memory, AnyAllocationOfALookMayFail) {
  const Work work;
  expect_a_sentence([&] { work.look(); }, work.folder, most());
}

}  // namespace
}  // namespace bareattn
