// See quantize_blocks.h. Blocks of 32: Q8_0 is a scale and 32 signed bytes; Q4_0 a scale, 16 bytes of two nibbles
// around 8; Q4_1 a scale, a minimum, 16 bytes of two nibbles. The scale is used in f32 and stored in f16, so what is
// read back is not quite what was rounded; that is the format's definition. Multiplications and additions are not
// contracted.
#include "files/quantize_blocks.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/convert.h"

namespace bareattn::model {
namespace {

constexpr size_t block = 32;

void put_half(std::byte* to, float value) {
  const uint16_t half = kernels::f16_from_f32(value);
  std::memcpy(to, &half, sizeof half);
}

float inverse(float scale) { return scale == 0 ? 0.0F : 1.0F / scale; }

// 0 to 15, cut towards zero; a scale too small to invert gives NaN, which is 0.
uint8_t nibble(float value) { return value > 0 ? static_cast<uint8_t>(std::min(value, 15.0F)) : uint8_t{0}; }

void put_nibbles(const uint8_t* values, std::byte* to) {
  for (size_t j = 0; j < block / 2; ++j) to[j] = static_cast<std::byte>(values[j] | values[j + block / 2] << 4);
}

void q8_0(const float* x, std::byte* to) {
  float largest = 0;
  for (size_t j = 0; j < block; ++j) largest = std::max(largest, std::abs(x[j]));
  const float scale = largest / 127, by = inverse(scale);
  put_half(to, scale);
  for (size_t j = 0; j < block; ++j) {
    const float value = x[j] * by;
    const float rounded = std::isfinite(value) ? std::clamp(std::round(value), -127.0F, 127.0F) : 0.0F;
    to[2 + j] = static_cast<std::byte>(static_cast<int8_t>(rounded));
  }
}

void q4_0(const float* x, std::byte* to) {
  float extreme = 0;  // the first of the largest magnitude, with its sign
  for (size_t j = 0; j < block; ++j)
    if (std::abs(x[j]) > std::abs(extreme)) extreme = x[j];
  const float scale = extreme / -8, by = inverse(scale);
  uint8_t values[block];
  for (size_t j = 0; j < block; ++j) {
    const float scaled = x[j] * by;
    values[j] = nibble(scaled + 8.5F);
  }
  put_half(to, scale);
  put_nibbles(values, to + 2);
}

void q4_1(const float* x, std::byte* to) {
  const auto [least, most] = std::minmax_element(x, x + block);
  const float minimum = *least, scale = (*most - minimum) / 15, by = inverse(scale);
  uint8_t values[block];
  for (size_t j = 0; j < block; ++j) {
    const float scaled = (x[j] - minimum) * by;
    values[j] = nibble(scaled + 0.5F);
  }
  put_half(to, scale);
  put_half(to + 2, minimum);
  put_nibbles(values, to + 4);
}

}  // namespace

void quantize_blocks(TensorType type, std::span<const float> from, std::byte* to) {
  const Storage storage = storage_of(type);
  switch (type) {
    case TensorType::f32:
      std::memcpy(to, from.data(), from.size_bytes());
      return;
    case TensorType::f16:
    case TensorType::bf16:
      for (size_t i = 0; i < from.size(); ++i) {
        const uint16_t half =
            type == TensorType::f16 ? kernels::f16_from_f32(from[i]) : kernels::bf16_from_f32(from[i]);
        std::memcpy(to + 2 * i, &half, sizeof half);
      }
      return;
    default:
      break;
  }
  for (size_t i = 0; i < from.size(); i += block, to += storage.bytes) {
    const float* x = from.data() + i;
    type == TensorType::q8_0 ? q8_0(x, to) : type == TensorType::q4_0 ? q4_0(x, to) : q4_1(x, to);
  }
}

}  // namespace bareattn::model
