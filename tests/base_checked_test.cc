// CheckedSize against 128-bit arithmetic: either the true result, or SizeError with both operands in the text.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <array>
#include <vector>

#include "base/checked.h"

using bareattn::base::check_range;
using bareattn::base::CheckedSize;
using bareattn::base::SizeError;
using u128 = unsigned __int128;

namespace {

constexpr uint64_t max64 = UINT64_MAX;

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const SizeError& error) {
    return error.what();
  }
  return "";
}

template <class T>
CheckedSize product(const std::vector<T>& shape) {
  return CheckedSize::product(std::span<const T>(shape), "tensor 'x'");
}

/// Numbers where wrapping happens: near 0, near 2^32, near 2^64.
rc::Gen<uint64_t> size_gen() {
  return rc::gen::oneOf(rc::gen::arbitrary<uint64_t>(), rc::gen::inRange<uint64_t>(0, 5),
                        rc::gen::map(rc::gen::inRange<uint64_t>(0, 5), [](uint64_t n) { return max64 - n; }),
                        rc::gen::map(rc::gen::inRange<int>(0, 64), [](int bit) { return uint64_t{1} << bit; }));
}

TEST(CheckedSize, AgreesWith128BitArithmetic) {
  EXPECT_TRUE(rc::check([] {
    const uint64_t a = *size_gen(), b = *size_gen();
    const auto expect = [](u128 truth, auto&& compute) {
      if (truth > max64) {
        RC_ASSERT(!error_of(compute).empty());
      } else {
        RC_ASSERT(compute().value() == static_cast<uint64_t>(truth));
      }
    };
    expect(u128{a} + b, [&] { return CheckedSize(a) + b; });
    expect(u128{a} * b, [&] { return CheckedSize(a) * b; });
    expect(a < b ? u128{max64} + 1 : u128{a - b}, [&] { return CheckedSize(a) - b; });
    if (b != 0) expect((u128{a} + b - 1) / b * b, [&] { return CheckedSize(a).align_up(b); });
  }));
}

TEST(CheckedSize, NamesBothOperands) {
  EXPECT_EQ(error_of([] { return CheckedSize(uint64_t{1} << 32) * (uint64_t{1} << 32); }),
            "4294967296 * 4294967296 does not fit in 64 bits");
  EXPECT_EQ(error_of([] { return CheckedSize(3) - 5; }), "3 - 5 is negative");
  EXPECT_EQ(error_of([] { return CheckedSize(-7); }), "size -7 is negative");
  EXPECT_EQ(error_of([] { return CheckedSize(7).divide_exactly(2); }), "7 / 2 leaves a remainder");
  EXPECT_NE(error_of([] { return CheckedSize(7) / 0; }), "");
  EXPECT_NE(error_of([] { return CheckedSize(7).align_up(0); }), "");
}

TEST(CheckedSize, NarrowsOrRefuses) {
  EXPECT_EQ(CheckedSize(127).to<int8_t>(), 127);
  EXPECT_EQ(error_of([] { return CheckedSize(128).to<int8_t>(); }), "size 128 is over the limit 127");
  EXPECT_NE(error_of([] { return CheckedSize(max64).to<int64_t>(); }), "");
  EXPECT_EQ(CheckedSize(max64).to<uint64_t>(), max64);
}

TEST(CheckedSize, ShapesThatWrapAreRefusedByName) {
  EXPECT_EQ(product<int64_t>({3, 4, 5}).value(), 60);
  EXPECT_EQ(product<int64_t>({}).value(), 1);
  EXPECT_EQ(product<int64_t>({5, 0, 7}).value(), 0);
  // 2^32 x 2^32 is 0 modulo 2^64, and a product that wraps only beside a zero is refused as well.
  EXPECT_EQ(error_of([] {
              return product<uint64_t>({uint64_t{1} << 32, uint64_t{1} << 32});
            }),
            "tensor 'x' [4294967296, 4294967296]: 4294967296 * 4294967296 does not fit in 64 bits");
  EXPECT_NE(error_of([] { return product<int64_t>({0, int64_t{1} << 40, int64_t{1} << 40}); }), "");
  EXPECT_NE(error_of([] { return product<int64_t>({4, -1}); }), "");
}

TEST(CheckedSize, RangesDoNotWrap) {
  EXPECT_NO_THROW(check_range(0, 0, 0, "x"));
  EXPECT_NO_THROW(check_range(3, 7, 10, "x"));
  EXPECT_EQ(error_of([] { check_range(3, 8, 10, "tensor 'x'"); }), "tensor 'x': 8 bytes at 3 end past 10");
  EXPECT_NE(error_of([] { check_range(max64, 2, 10, "x"); }), "");
  EXPECT_NE(error_of([] { check_range(2, max64, 10, "x"); }), "");
}

}  // namespace
