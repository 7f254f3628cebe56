// Conversions between f32 and the two 16-bit formats (binary16 and bfloat16, as bits), scalar and for whole arrays.
// Narrowing rounds to nearest, ties to even; overflow gives infinity; subnormals are kept; every NaN becomes the quiet
// NaN of its sign (the payload is not kept), so the scalar and the array forms agree bit for bit on every input.
// Widening is exact. The array forms are vectorised (convert.cc) and safe to call from any thread.
#pragma once
#include <bit>
#include <cstdint>

namespace bareattn::kernels {

inline uint16_t f16_from_f32(float value) {
  constexpr uint32_t infinity = 0x7F800000, first_overflow = (127U + 16) << 23, first_normal = (127U - 14) << 23;
  constexpr uint32_t magic = ((127U - 15) + (23 - 10) + 1) << 23;  // adding it rounds at the subnormals' last place
  const uint32_t bits = std::bit_cast<uint32_t>(value), sign = (bits >> 16) & 0x8000;
  const uint32_t size = bits & 0x7FFFFFFF;
  uint32_t half;
  if (size >= first_overflow) {
    half = size > infinity ? 0x7E00 : 0x7C00;
  } else if (size < first_normal) {
    half = std::bit_cast<uint32_t>(std::bit_cast<float>(size) + std::bit_cast<float>(magic)) - magic;
  } else {
    half = (size - ((127U - 15) << 23) + 0xFFF + ((size >> 13) & 1)) >> 13;
  }
  return static_cast<uint16_t>(half | sign);
}

inline float f32_from_f16(uint16_t half) {
  constexpr uint32_t exponent = 0x7C00U << 13, magic = (127U - 14) << 23;
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  uint32_t size = static_cast<uint32_t>(half & 0x7FFF) << 13;
  const uint32_t own = size & exponent;
  size += (127U - 15) << 23;
  if (own == exponent) {
    size += (128U - 16) << 23;
  } else if (own == 0) {
    size = std::bit_cast<uint32_t>(std::bit_cast<float>(size + (1U << 23)) - std::bit_cast<float>(magic));
  }
  return std::bit_cast<float>(size | sign);
}

inline uint16_t bf16_from_f32(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return static_cast<uint16_t>(((bits >> 16) & 0x8000) | 0x7FC0);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

inline float f32_from_bf16(uint16_t half) { return std::bit_cast<float>(static_cast<uint32_t>(half) << 16); }

/// Arrays of `count` elements, dense, at any alignment; source and target do not overlap.
void f16_from_f32(const float* from, uint16_t* to, int64_t count) noexcept;
void f32_from_f16(const uint16_t* from, float* to, int64_t count) noexcept;
void bf16_from_f32(const float* from, uint16_t* to, int64_t count) noexcept;
void f32_from_bf16(const uint16_t* from, float* to, int64_t count) noexcept;

}  // namespace bareattn::kernels
