// exp of the distance below a row's maximum: the one polynomial that every kernel, every tail and the backward pass
// use, in scalar form (the twin of exp-inl.h, bit for bit). Error <= 1.1 ulp on [-87, 0] (exp_test goes over every
// float there); x < -87 gives 0, NaN stays NaN. Up to x = 88 it is as good, for callers that are not below a maximum.
//
// Cody-Waite reduction x = n ln2 + f, |f| <= ln2 / 2, a degree-6 minimax polynomial (model error 0.05 ulp), then n is
// added to the exponent bits. Fused multiply-adds in a fixed order. Degree 5 saves one instruction and reads 1.9 ulp.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace bareattn::kernels {

struct ExpConstants {
  static constexpr float lowest = -87.0F;
  static constexpr float log2e = 0x1.715476p+0F;
  static constexpr float magic = 0x1.8p+23F;     // adding it rounds to an integer, which then stands in the low bits
  static constexpr float ln2_hi = 0x1.62e4p-1F;  // 15 bits, so n * ln2_hi is exact
  static constexpr float ln2_lo = 0x1.7f7d1cp-20F;
  static constexpr float c2 = 0x1.fffffap-2F, c3 = 0x1.55548cp-3F, c4 = 0x1.555984p-5F, c5 = 0x1.123cdp-7F,
                         c6 = 0x1.69bac2p-10F;
};

inline float exp_below(float x) {
  using C = ExpConstants;
  const float t = std::fma(x, C::log2e, C::magic);
  const float n = t - C::magic;
  float f = std::fma(n, -C::ln2_hi, x);
  f = std::fma(n, -C::ln2_lo, f);
  float r = std::fma(C::c6, f, C::c5);
  r = std::fma(r, f, C::c4);
  r = std::fma(r, f, C::c3);
  r = std::fma(r, f, C::c2);
  r = std::fma(r, f, 1.0F);
  r = std::fma(r, f, 1.0F);
  const uint32_t bits = std::bit_cast<uint32_t>(r) + (std::bit_cast<uint32_t>(t) << 23);
  // The order of the second comparison lets NaN through.
  return x >= C::lowest ? std::bit_cast<float>(bits) : (0.0F > x ? 0.0F : x);
}

}  // namespace bareattn::kernels
