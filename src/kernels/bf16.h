// The bf16 dot product in scalar form: pairs, as the hardware instruction (VDPBF16PS)
// does it: the odd product first, then the even one, each a fused multiply-add rounded to nearest even, denormal
// inputs, sums and results counted as 0 (rounding to bf16 is convert.h's). Found by experiment on Zen 5 (2,000,000
// random pairs, all equal) and the same as Intel documents; bf16_test repeats the experiment.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/convert.h"

namespace bareattn::kernels {

inline float flush_denormal(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  return (bits & 0x7F800000U) == 0 ? std::bit_cast<float>(bits & 0x80000000U) : x;
}

/// acc + a[0] b[0] + a[1] b[1] in the order above.
inline float dot_pair_bf16(const uint16_t* a, const uint16_t* b, float acc) {
  for (int i = 1; i >= 0; --i)
    acc = flush_denormal(
        std::fma(flush_denormal(f32_from_bf16(a[i])), flush_denormal(f32_from_bf16(b[i])), flush_denormal(acc)));
  return acc;
}

}  // namespace bareattn::kernels
