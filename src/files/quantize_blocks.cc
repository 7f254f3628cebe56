// See quantize_blocks.h. Blocks of 32: Q8_0 is a scale and 32 signed bytes; Q4_0 a scale, 16 bytes of two nibbles
// around 8; Q4_1 a scale, a minimum, 16 bytes of two nibbles; Q5_0 and Q5_1 are these with a fifth bit of each weight
// in four bytes of their own. Blocks of 256 are made in quantize_k.cc. The scale is used in f32 and stored in f16, so
// what is read back is not quite what was rounded; that is the format's definition. Multiplications and additions are
// not contracted.
#include "files/quantize_blocks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "files/quantize_k.h"
#include "kernels/convert.h"

namespace bareattn::model {
namespace {

constexpr size_t block = 32;

void put_half(std::byte* to, float value) {
  const uint16_t half = kernels::f16_from_f32(value);
  std::memcpy(to, &half, sizeof half);
}

float inverse(float scale) { return scale == 0 ? 0.0F : 1.0F / scale; }

// 0 to `most`, cut towards zero; a scale too small to invert gives NaN, which is 0.
uint8_t level(float value, float most) { return value > 0 ? static_cast<uint8_t>(std::min(value, most)) : uint8_t{0}; }

void put_nibbles(const uint8_t* values, std::byte* to) {
  for (size_t j = 0; j < block / 2; ++j) to[j] = static_cast<std::byte>((values[j] & 15) | values[j + block / 2] << 4);
}

void put_fifth_bits(const uint8_t* values, std::byte* to) {
  uint32_t bits = 0;
  for (size_t j = 0; j < block; ++j) bits |= static_cast<uint32_t>(values[j] >> 4) << j;
  std::memcpy(to, &bits, sizeof bits);
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

// Levels around the middle one: the scale makes the weight of the largest magnitude the lowest level.
float levels_around(const float* x, float middle, uint8_t* values) {
  float extreme = 0;  // the first of the largest magnitude, with its sign
  for (size_t j = 0; j < block; ++j)
    if (std::abs(x[j]) > std::abs(extreme)) extreme = x[j];
  const float scale = extreme / -middle, by = inverse(scale);
  for (size_t j = 0; j < block; ++j) {
    const float scaled = x[j] * by;
    values[j] = level(scaled + (middle + 0.5F), 2 * middle - 1);
  }
  return scale;
}

// Levels from the least weight to the largest: its scale, and the least.
std::pair<float, float> levels_between(const float* x, float most_level, uint8_t* values) {
  const auto [least, most] = std::minmax_element(x, x + block);
  const float minimum = *least, scale = (*most - minimum) / most_level, by = inverse(scale);
  for (size_t j = 0; j < block; ++j) {
    const float scaled = (x[j] - minimum) * by;
    values[j] = level(scaled + 0.5F, most_level);
  }
  return {scale, minimum};
}

void q4_0(const float* x, std::byte* to) {
  uint8_t values[block];
  put_half(to, levels_around(x, 8, values));
  put_nibbles(values, to + 2);
}

void q5_0(const float* x, std::byte* to) {
  uint8_t values[block];
  put_half(to, levels_around(x, 16, values));
  put_fifth_bits(values, to + 2);
  put_nibbles(values, to + 6);
}

void q4_1(const float* x, std::byte* to) {
  uint8_t values[block];
  const auto [scale, minimum] = levels_between(x, 15, values);
  put_half(to, scale);
  put_half(to + 2, minimum);
  put_nibbles(values, to + 4);
}

void q5_1(const float* x, std::byte* to) {
  uint8_t values[block];
  const auto [scale, minimum] = levels_between(x, 31, values);
  put_half(to, scale);
  put_half(to + 2, minimum);
  put_fifth_bits(values, to + 4);
  put_nibbles(values, to + 8);
}

using WriteBlock = void (*)(const float*, std::byte*);
WriteBlock writer_of(TensorType type) {
  switch (type) {
    case TensorType::q8_0:
      return q8_0;
    case TensorType::q4_0:
      return q4_0;
    case TensorType::q4_1:
      return q4_1;
    case TensorType::q5_0:
      return q5_0;
    case TensorType::q5_1:
      return q5_1;
    case TensorType::q4_k:
      return write_q4_k;
    case TensorType::q6_k:
      return write_q6_k;
    default:
      return nullptr;
  }
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
  const WriteBlock write = writer_of(type);
  if (write == nullptr) throw std::logic_error("weights are not written as " + type_name(static_cast<uint32_t>(type)));
  const auto weights = static_cast<size_t>(storage.block);
  for (size_t i = 0; i < from.size(); i += weights, to += storage.bytes) write(from.data() + i, to);
}

}  // namespace bareattn::model
