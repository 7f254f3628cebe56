// The 16-bit conversions: every binary16 and bfloat16 value, and every rounding boundary between them, against a slow
// definition; array forms against scalar forms, bit for bit, on every target this processor has.
#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernels/convert.h"

namespace k = bareattn::kernels;

// By the definition: sign, exponent and fraction, in double.
static double f16_value(uint16_t h) {
  const int exponent = (h >> 10) & 31, fraction = h & 1023;
  const double size = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return (h & 0x8000) != 0 ? -size : size;
}

TEST(Convert, EveryHalfWidensExactly) {
  for (uint32_t h = 0; h < 65536; ++h) {
    const float f = k::f32_from_f16(static_cast<uint16_t>(h));
    const uint32_t size = h & 0x7FFF;
    if (size > 0x7C00) {
      EXPECT_TRUE(std::isnan(f)) << h;
    } else if (size == 0x7C00) {
      EXPECT_EQ(f, h < 0x8000 ? INFINITY : -INFINITY);
    } else {
      ASSERT_EQ(static_cast<double>(f), f16_value(static_cast<uint16_t>(h))) << h;
      ASSERT_EQ(std::signbit(f), h >= 0x8000);
    }
  }
}

TEST(Convert, RoundsToNearestEvenAtEveryBoundary) {
  for (uint32_t h = 0; h < 0x7C00; ++h) {
    const double low = f16_value(static_cast<uint16_t>(h));
    const double high = h + 1 == 0x7C00 ? 65536.0 : f16_value(static_cast<uint16_t>(h + 1));
    const float middle = static_cast<float>((low + high) / 2);  // exact: one more bit than binary16
    const uint16_t even = static_cast<uint16_t>((h & 1) == 0 ? h : h + 1);
    ASSERT_EQ(k::f16_from_f32(static_cast<float>(low)), h);
    ASSERT_EQ(k::f16_from_f32(middle), even) << h;
    ASSERT_EQ(k::f16_from_f32(std::nextafter(middle, 0.0F)), h);
    ASSERT_EQ(k::f16_from_f32(std::nextafter(middle, INFINITY)), h + 1);
    ASSERT_EQ(k::f16_from_f32(-middle), even | 0x8000);
  }
  for (uint32_t h = 0; h < 0x7F80; ++h) {
    const float low = k::f32_from_bf16(static_cast<uint16_t>(h));
    const float middle = std::bit_cast<float>((h << 16) | 0x8000);
    ASSERT_EQ(k::bf16_from_f32(low), h);
    ASSERT_EQ(k::bf16_from_f32(middle), (h & 1) == 0 ? h : h + 1);
    ASSERT_EQ(k::bf16_from_f32(std::nextafter(middle, 0.0F)), h);
    ASSERT_EQ(k::bf16_from_f32(std::nextafter(middle, INFINITY)), h + 1);
  }
  EXPECT_EQ(k::f16_from_f32(std::numeric_limits<float>::quiet_NaN()), 0x7E00);
  EXPECT_EQ(k::f16_from_f32(-INFINITY), 0xFC00);
  EXPECT_EQ(k::bf16_from_f32(std::bit_cast<float>(0x7F800001)), 0x7FC0);  // would round to infinity as an integer
}

TEST(Convert, ArraysEqualScalarsOnEveryTarget) {
  std::mt19937 random(1);
  std::vector<float> values;
  for (uint32_t h = 0; h < 65536; ++h) {  // every half, its neighbours in float, and arbitrary bits
    const float f = k::f32_from_f16(static_cast<uint16_t>(h));
    values.insert(values.end(), {f, std::nextafter(f, INFINITY), std::nextafter(f, -INFINITY),
                                 std::bit_cast<float>(static_cast<uint32_t>(random()))});
  }
  int targets = 0;
  const int64_t supported = hwy::SupportedTargets();
  for (int64_t rest = supported; rest != 0; rest &= rest - 1) {
    hwy::SetSupportedTargetsForTest(rest & -rest);
    ++targets;
    for (const int64_t count : {int64_t{0}, int64_t{1}, int64_t{15}, int64_t{33}, int64_t(values.size()) - 1}) {
      std::vector<uint16_t> f16(values.size(), 0xABCD), bf16(values.size(), 0xABCD);
      std::vector<float> back(values.size(), -1), bback(values.size(), -1);
      k::f16_from_f32(values.data() + 1, f16.data(), count);  // + 1: unaligned
      k::bf16_from_f32(values.data() + 1, bf16.data(), count);
      k::f32_from_f16(f16.data(), back.data(), count);
      k::f32_from_bf16(bf16.data(), bback.data(), count);
      for (int64_t i = 0; i < count; ++i) {
        ASSERT_EQ(f16[i], k::f16_from_f32(values[i + 1])) << i;
        ASSERT_EQ(bf16[i], k::bf16_from_f32(values[i + 1])) << i;
        ASSERT_EQ(std::bit_cast<uint32_t>(back[i]), std::bit_cast<uint32_t>(k::f32_from_f16(f16[i]))) << i;
        ASSERT_EQ(std::bit_cast<uint32_t>(bback[i]), std::bit_cast<uint32_t>(k::f32_from_bf16(bf16[i]))) << i;
      }
      ASSERT_EQ(f16[count], 0xABCD);  // nothing past the end
      ASSERT_EQ(bf16[count], 0xABCD);
    }
  }
  hwy::SetSupportedTargetsForTest(0);
  EXPECT_GE(targets, 1);
}
