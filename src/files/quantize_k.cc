// See quantize_k.h. Sums run in the order of the weights and products are not contracted, so a block has the same bytes
// on every machine. A weight that is no number of levels (a scale that cannot be inverted, or one beyond f16) becomes
// level zero: defined bytes, as for the blocks of 32.
#include "files/quantize_k.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/convert.h"

namespace bareattn::model {
namespace {

constexpr int weights_per_block = 256;
constexpr int fits = 4;  // more changed the error by less than a thousandth

/// The level of x in [0, most]; NaN is 0.
uint8_t level(float x, float most) { return x > 0 ? static_cast<uint8_t>(std::min(std::round(x), most)) : uint8_t{0}; }

float inverse(float scale) { return scale == 0 ? 0.0F : 1.0F / scale; }

/// Writes `value` as f16 and returns what is read back.
float put_half(std::byte* to, float value) {
  const uint16_t half = kernels::f16_from_f32(value);
  std::memcpy(to, &half, sizeof half);
  return kernels::f32_from_f16(half);
}

/// w = scale * level - minimum, scale and minimum not negative, levels 0 to 15.
struct Affine {
  float scale = 0, minimum = 0;

  void round(const float* x, int count, uint8_t* levels) const {
    const float by = inverse(scale);
    for (int i = 0; i < count; ++i) levels[i] = level((x[i] + minimum) * by, 15);
  }
  float error(const float* x, int count, const uint8_t* levels) const {
    float sum = 0;
    for (int i = 0; i < count; ++i) {
      const float off = scale * static_cast<float>(levels[i]) - minimum - x[i];
      sum += off * off;
    }
    return sum;
  }
};

/// The scale and minimum of the least squared error for these levels.
Affine fit_affine(const float* x, int count, const uint8_t* levels) {
  float q1 = 0, q2 = 0, x1 = 0, qx = 0;
  for (int i = 0; i < count; ++i) {
    const auto q = static_cast<float>(levels[i]);
    q1 += q, q2 += q * q, x1 += x[i], qx += q * x[i];
  }
  const auto n = static_cast<float>(count);
  const float determinant = n * q2 - q1 * q1;
  if (!(determinant > 0)) return {};
  Affine fit;
  fit.scale = (n * qx - q1 * x1) / determinant;
  fit.minimum = (fit.scale * q1 - x1) / n;
  if (fit.minimum < 0) fit = {qx / q2, 0};
  return fit;
}

Affine best_affine(const float* x, int count) {
  const auto [least, most] = std::minmax_element(x, x + count);
  Affine best;
  best.minimum = std::max(0.0F, -*least);
  best.scale = std::max(0.0F, *most + best.minimum) / 15;
  uint8_t levels[32];
  best.round(x, count, levels);
  float error = best.error(x, count, levels);
  for (int i = 0; i < fits; ++i) {
    const Affine fit = fit_affine(x, count, levels);
    if (!(fit.scale > 0)) break;
    fit.round(x, count, levels);
    const float now = fit.error(x, count, levels);
    if (!(now < error)) break;
    best = fit, error = now;
  }
  return best;
}

/// The reverse of unpack_k_scales (dequant_k.cc).
void pack_k_scales(const uint8_t* scale, const uint8_t* minimum, std::byte* twelve) {
  for (int j = 0; j < 4; ++j) {
    twelve[j] = static_cast<std::byte>(scale[j] | scale[j + 4] >> 4 << 6);
    twelve[j + 4] = static_cast<std::byte>(minimum[j] | minimum[j + 4] >> 4 << 6);
    twelve[j + 8] = static_cast<std::byte>((scale[j + 4] & 15) | (minimum[j + 4] & 15) << 4);
  }
}

/// w = scale * (level - 32), levels 0 to 63, the scale of either sign.
void round_signed(const float* x, int count, float scale, uint8_t* levels) {
  const float by = inverse(scale);
  for (int i = 0; i < count; ++i) levels[i] = level(x[i] * by + 32, 63);
}

float signed_error(const float* x, int count, float scale, const uint8_t* levels) {
  float sum = 0;
  for (int i = 0; i < count; ++i) {
    const float off = scale * static_cast<float>(levels[i] - 32) - x[i];
    sum += off * off;
  }
  return sum;
}

float best_signed(const float* x, int count) {
  float extreme = 0;
  for (int i = 0; i < count; ++i)
    if (std::abs(x[i]) > std::abs(extreme)) extreme = x[i];
  float best = extreme / -32;
  uint8_t levels[16];
  round_signed(x, count, best, levels);
  float error = signed_error(x, count, best, levels);
  for (int i = 0; i < fits; ++i) {
    float qx = 0, q2 = 0;
    for (int k = 0; k < count; ++k) {
      const auto q = static_cast<float>(levels[k] - 32);
      qx += q * x[k], q2 += q * q;
    }
    const float fit = q2 > 0 ? qx / q2 : 0;
    round_signed(x, count, fit, levels);
    const float now = signed_error(x, count, fit, levels);
    if (!(now < error)) break;
    best = fit, error = now;
  }
  return best;
}

}  // namespace

// d, dmin, scales 12, quants 128: per 64 weights 32 bytes, the low nibbles first.
void write_q4_k(const float* weights, std::byte* to) {
  constexpr int subs = 8, size = weights_per_block / subs;
  Affine affine[subs];
  float most_scale = 0, most_minimum = 0;
  for (int s = 0; s < subs; ++s) {
    affine[s] = best_affine(weights + s * size, size);
    most_scale = std::max(most_scale, affine[s].scale);
    most_minimum = std::max(most_minimum, affine[s].minimum);
  }
  const float d = put_half(to, most_scale / 63), dmin = put_half(to + 2, most_minimum / 63);
  uint8_t scales[subs], minima[subs], levels[weights_per_block];
  for (int s = 0; s < subs; ++s) {
    scales[s] = level(affine[s].scale * inverse(d), 63);
    minima[s] = level(affine[s].minimum * inverse(dmin), 63);
    const Affine stored = {d * static_cast<float>(scales[s]), dmin * static_cast<float>(minima[s])};
    stored.round(weights + s * size, size, levels + s * size);
  }
  pack_k_scales(scales, minima, to + 4);
  for (int i = 0; i < weights_per_block / 2; ++i) {
    const uint8_t* low = levels + i / 32 * 64 + i % 32;
    to[16 + i] = static_cast<std::byte>(low[0] | low[32] << 4);
  }
}

// low nibbles 128, upper two bits 64, scales int8 x 16, d.
void write_q6_k(const float* weights, std::byte* to) {
  constexpr int subs = 16, size = weights_per_block / subs;
  float scale[subs], extreme = 0;
  for (int s = 0; s < subs; ++s) {
    scale[s] = best_signed(weights + s * size, size);
    if (std::abs(scale[s]) > std::abs(extreme)) extreme = scale[s];
  }
  const float d = put_half(to + 208, extreme / -128), by = inverse(d);
  uint8_t levels[weights_per_block];
  for (int s = 0; s < subs; ++s) {
    const float times = scale[s] * by;
    const float kept = std::isfinite(times) ? std::clamp(std::round(times), -128.0F, 127.0F) : 0.0F;
    to[192 + s] = static_cast<std::byte>(static_cast<int8_t>(kept));
    round_signed(weights + s * size, size, d * kept, levels + s * size);
  }
  for (int half = 0; half < 2; ++half) {
    const uint8_t* q = levels + 128 * half;
    for (int i = 0; i < 64; ++i) to[64 * half + i] = static_cast<std::byte>((q[i] & 15) | (q[i + 64] & 15) << 4);
    for (int i = 0; i < 32; ++i)
      to[128 + 32 * half + i] =
          static_cast<std::byte>(q[i] >> 4 | q[i + 32] >> 4 << 2 | q[i + 64] >> 4 << 4 | q[i + 96] >> 4 << 6);
  }
}

}  // namespace bareattn::model
