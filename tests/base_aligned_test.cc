// AlignedBuffer: aligned, zero, and what is let go comes back for the next block of its size, within a limit.
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "base/aligned.h"

namespace bareattn::base {
namespace {

constexpr size_t megabyte = size_t{1} << 20;

bool all_zero(const AlignedBuffer& buffer) {
  const auto* p = buffer.as<unsigned char>();
  return std::all_of(p, p + buffer.bytes(), [](unsigned char c) { return c == 0; });
}

TEST(AlignedBuffer, AlignedAndZeroAlsoTheSecondTime) {
  for (const size_t bytes : {size_t{1}, size_t{63}, size_t{4096}, 2 * megabyte - 1, 2 * megabyte, 5 * megabyte + 7})
    for (int time = 0; time < 2; ++time) {
      AlignedBuffer buffer(bytes);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.as<char>()) % 64, 0U);
      EXPECT_EQ(buffer.bytes(), bytes);
      EXPECT_TRUE(all_zero(buffer)) << bytes << ", time " << time;
      std::fill_n(buffer.as<unsigned char>(), bytes, static_cast<unsigned char>(0xAB));
    }
}

TEST(AlignedBuffer, MovesAndGrows) {
  AlignedBuffer one(3 * megabyte);
  one.as<int>()[5] = 7;
  AlignedBuffer two = std::move(one);
  EXPECT_EQ(two.as<int>()[5], 7);
  two.reserve<int>(10);  // there is room
  EXPECT_EQ(two.as<int>()[5], 7);
  two.reserve<int>(4 * megabyte);
  EXPECT_TRUE(all_zero(two));
}

#if defined(__linux__)
TEST(AlignedBuffer, KeepsWhatIsLetGoWithinALimit) {
  AlignedBuffer::give_back_kept();
  EXPECT_EQ(AlignedBuffer::kept_bytes(), 0U);
  { AlignedBuffer small(megabyte); }
  EXPECT_EQ(AlignedBuffer::kept_bytes(), 0U);
  const void* place = nullptr;
  {
    AlignedBuffer large(8 * megabyte);
    place = large.as<char>();
  }
  EXPECT_GE(AlignedBuffer::kept_bytes(), 8 * megabyte);
  {
    AlignedBuffer again(8 * megabyte, Contents::any), other(6 * megabyte);
    EXPECT_EQ(again.as<void>(), place);
    EXPECT_EQ(AlignedBuffer::kept_bytes(), 0U);
  }
  {
    std::vector<AlignedBuffer> many;
    for (int i = 0; i < 40; ++i) many.emplace_back(8 * megabyte);
  }
  EXPECT_LE(AlignedBuffer::kept_bytes(), 128 * megabyte);
  EXPECT_GT(AlignedBuffer::kept_bytes(), 100 * megabyte);
  AlignedBuffer::give_back_kept();
  EXPECT_EQ(AlignedBuffer::kept_bytes(), 0U);
}
#endif

TEST(AlignedBuffer, ThreadsAtOnce) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([t] {
      for (int i = 0; i < 50; ++i) {
        AlignedBuffer one(2 * megabyte + static_cast<size_t>(i % 3) * 4096);
        one.as<int>()[100] += t + 1;
        EXPECT_EQ(one.as<int>()[100], t + 1);
      }
    });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace bareattn::base
