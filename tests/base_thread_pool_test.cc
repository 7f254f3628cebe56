// The thread pool: every task runs exactly once, exceptions come back and the pool lives on, many short rounds in
// succession. Run it in the tsan preset too: that is where a missing order shows.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <stdexcept>

#include "bareattn/threads.h"
#include "base/thread_pool.h"
#include "failing_threads.h"

using bareattn::base::available_cores;
using bareattn::base::ThreadPool;

namespace {

TEST(ThreadPool, EveryTaskRunsOnce) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    ASSERT_EQ(pool.size(), threads);
    for (int64_t tasks : {0, 1, 2, 7, 1000}) {
      std::vector<int> runs(tasks, 0);  // each task writes its own: no atomics, so that tsan sees a double run
      pool.run(tasks, [&](int64_t task, int worker) {
        ASSERT_TRUE(worker >= 0 && worker < threads);
        ++runs[task];
      });
      EXPECT_EQ(std::accumulate(runs.begin(), runs.end(), int64_t{0}), tasks);
      for (int64_t task = 0; task < tasks; ++task) ASSERT_EQ(runs[task], 1) << task;
    }
  }
}

TEST(ThreadPool, AWorkersNumberIsItsOwn) {
  ThreadPool pool(4);
  std::vector<int64_t> mine(4, 0);  // written without locks: two workers with one number would be a race
  for (int round = 0; round < 200; ++round) {
    pool.run(64, [&](int64_t task, int worker) { mine[worker] += task; });
  }
  EXPECT_EQ(std::accumulate(mine.begin(), mine.end(), int64_t{0}), 200 * 63 * 64 / 2);
}

TEST(ThreadPool, ManyShortRoundsSeeTheirOwnWork) {
  ThreadPool pool(3);
  std::vector<int64_t> values(5, 0);
  for (int64_t round = 1; round <= 1000; ++round) {
    pool.run(5, [&](int64_t task, int) { values[task] = round * 10 + task; });
    for (int64_t task = 0; task < 5; ++task) ASSERT_EQ(values[task], round * 10 + task);
  }
}

TEST(ThreadPool, WakesUpAfterSleep) {
  ThreadPool pool(3);
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // longer than the workers spin
    std::atomic<int> done{0};
    pool.run(9, [&](int64_t, int) { done.fetch_add(1); });
    EXPECT_EQ(done.load(), 9);
  }
}

TEST(ThreadPool, ExceptionsComeBackAndThePoolLivesOn) {
  for (int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 100; ++round) {
      try {
        pool.run(50, [&](int64_t task, int) {
          if (task == round % 50) throw std::runtime_error("task " + std::to_string(task));
        });
        FAIL() << "the exception was lost";
      } catch (const std::runtime_error& error) {
        EXPECT_EQ(error.what(), "task " + std::to_string(round % 50));
      }
      std::atomic<int> done{0};
      pool.run(50, [&](int64_t, int) { done.fetch_add(1); });
      ASSERT_EQ(done.load(), 50);
    }
  }
}

TEST(ThreadPool, WhenAllThrowOneComesBack) {
  ThreadPool pool(4);
  for (int round = 0; round < 200; ++round) {
    EXPECT_THROW(pool.run(8, [](int64_t task, int) { throw std::out_of_range(std::to_string(task)); }),
                 std::out_of_range);
  }
}

TEST(ThreadPool, StartsAndStopsWithoutWork) {
  for (int i = 0; i < 50; ++i) ThreadPool pool(4);
  EXPECT_GE(available_cores(), 1);
  EXPECT_EQ(ThreadPool().size(), available_cores());
}

TEST(ThreadPool, IsSmallerWhereTheSystemGivesFewerThreads) {
  EXPECT_EQ(bareattn::take_thread_shortage(), "");
  for (int given = 0; given <= 7; ++given) {
    const bareattn::test::ThreadLimit limit(given);
    ThreadPool pool(8);
    ASSERT_EQ(pool.size(), given + 1);
    std::atomic<int64_t> sum = 0;
    pool.run(1000, [&](int64_t task, int worker) {
      ASSERT_LE(worker, given);
      sum += task;
    });
    EXPECT_EQ(sum, 499'500);
  }
  EXPECT_NE(bareattn::take_thread_shortage().find("0 of 7 more threads"), std::string::npos);
  EXPECT_EQ(bareattn::take_thread_shortage(), "");
}

}  // namespace
