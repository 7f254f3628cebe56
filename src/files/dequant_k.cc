// See dequant_k.h. A block is a few scales of its own and sub-blocks of 16 or 32 weights, whose scales are small
// integers times the block's. The scale of a sub-block is rounded to f32 before it multiplies a weight, as ggml does.
#include "files/dequant_k.h"

#include "kernels/convert.h"

namespace bareattn::model {
namespace {

float half_at(const std::byte* from) {
  const auto low = std::to_integer<uint16_t>(from[0]), high = std::to_integer<uint16_t>(from[1]);
  return kernels::f32_from_f16(static_cast<uint16_t>(low | high << 8));
}

int at(const std::byte* from, int i) { return std::to_integer<int>(from[i]); }

}  // namespace

// Scales 0 to 3 and minima 0 to 3 are the low 6 bits of bytes 0 to 7; those of the other four sub-blocks have their low
// nibbles in bytes 8 to 11 and their upper two bits on top of the former.
KScales unpack_k_scales(const std::byte* twelve) {
  KScales out{};
  for (int j = 0; j < 4; ++j) {
    const int a = at(twelve, j), b = at(twelve, j + 4), rest = at(twelve, j + 8);
    out.scale[j] = static_cast<uint8_t>(a & 63);
    out.minimum[j] = static_cast<uint8_t>(b & 63);
    out.scale[j + 4] = static_cast<uint8_t>((rest & 15) | (a >> 6) << 4);
    out.minimum[j + 4] = static_cast<uint8_t>(rest >> 4 | (b >> 6) << 4);
  }
  return out;
}

// scales 16 (scale, minimum: a nibble each), quants 64, d, dmin. Per 128 weights 32 bytes, two bits of each at a time.
void block_q2_k(const std::byte* from, float* to) {
  const std::byte* quants = from + 16;
  const float d = half_at(from + 80), dmin = half_at(from + 82);
  for (int sub = 0; sub < 16; ++sub) {
    const float scale = d * static_cast<float>(at(from, sub) & 15),
                minimum = dmin * static_cast<float>(at(from, sub) >> 4);
    const std::byte* q = quants + sub / 8 * 32 + sub % 2 * 16;
    const int shift = sub % 8 / 2 * 2;
    for (int i = 0; i < 16; ++i) to[16 * sub + i] = scale * static_cast<float>(at(q, i) >> shift & 3) - minimum;
  }
}

// mask 32 (the third bit, inverted), quants 64 as in Q2_K, scales 12 (6 bits, 32 is zero), d.
void block_q3_k(const std::byte* from, float* to) {
  const std::byte *quants = from + 32, *scales = from + 96;
  const float d = half_at(from + 108);
  for (int sub = 0; sub < 16; ++sub) {
    const int low = sub < 8 ? at(scales, sub) & 15 : at(scales, sub - 8) >> 4;
    const int high = at(scales, 8 + sub % 4) >> (2 * (sub / 4)) & 3;
    const float scale = d * static_cast<float>((low | high << 4) - 32);
    const std::byte *q = quants + sub / 8 * 32 + sub % 2 * 16, *mask = from + sub % 2 * 16;
    const int shift = sub % 8 / 2 * 2, bit = sub / 2;
    for (int i = 0; i < 16; ++i) {
      const int value = (at(q, i) >> shift & 3) - ((at(mask, i) >> bit & 1) != 0 ? 0 : 4);
      to[16 * sub + i] = scale * static_cast<float>(value);
    }
  }
}

// d, dmin, scales 12, quants 128: per 64 weights 32 bytes, the low nibbles first.
void block_q4_k(const std::byte* from, float* to) {
  const float d = half_at(from), dmin = half_at(from + 2);
  const KScales scales = unpack_k_scales(from + 4);
  const std::byte* quants = from + 16;
  for (int sub = 0; sub < 8; ++sub) {
    const float scale = d * static_cast<float>(scales.scale[sub]),
                minimum = dmin * static_cast<float>(scales.minimum[sub]);
    const std::byte* q = quants + sub / 2 * 32;
    const int shift = sub % 2 * 4;
    for (int i = 0; i < 32; ++i) to[32 * sub + i] = scale * static_cast<float>(at(q, i) >> shift & 15) - minimum;
  }
}

// As Q4_K, with the fifth bits of the eight sub-blocks in 32 bytes before the quants.
void block_q5_k(const std::byte* from, float* to) {
  const float d = half_at(from), dmin = half_at(from + 2);
  const KScales scales = unpack_k_scales(from + 4);
  const std::byte *fifth = from + 16, *quants = from + 48;
  for (int sub = 0; sub < 8; ++sub) {
    const float scale = d * static_cast<float>(scales.scale[sub]),
                minimum = dmin * static_cast<float>(scales.minimum[sub]);
    const std::byte* q = quants + sub / 2 * 32;
    const int shift = sub % 2 * 4;
    for (int i = 0; i < 32; ++i) {
      const int value = (at(q, i) >> shift & 15) | (at(fifth, i) >> sub & 1) << 4;
      to[32 * sub + i] = scale * static_cast<float>(value) - minimum;
    }
  }
}

// low nibbles 128, upper two bits 64, scales int8 x 16, d; 32 is zero. Per 128 weights 64 bytes of low nibbles and 32
// of upper bits.
void block_q6_k(const std::byte* from, float* to) {
  const std::byte *upper = from + 128, *scales = from + 192;
  const float d = half_at(from + 208);
  for (int sub = 0; sub < 16; ++sub) {
    const int half = sub / 8, quarter = sub % 8 / 2, offset = sub % 2 * 16;
    const float scale = d * static_cast<float>(static_cast<int8_t>(at(scales, sub)));
    const std::byte *low = from + 64 * half + quarter % 2 * 32 + offset, *high = upper + 32 * half + offset;
    const int low_shift = quarter / 2 * 4, high_shift = 2 * quarter;
    for (int i = 0; i < 16; ++i) {
      const int value = (at(low, i) >> low_shift & 15) | (at(high, i) >> high_shift & 3) << 4;
      to[16 * sub + i] = scale * static_cast<float>(value - 32);
    }
  }
}

// d, upper bits of the scales 2, lower nibbles 4, quants 128: per 32 weights 16 bytes, the low nibbles first.
void block_iq4_xs(const std::byte* from, float* to) {
  const float d = half_at(from);
  const int upper = at(from, 2) | at(from, 3) << 8;
  for (int sub = 0; sub < 8; ++sub) {
    const int low = at(from, 4 + sub / 2) >> (sub % 2 * 4) & 15;
    const float scale = d * static_cast<float>((low | (upper >> (2 * sub) & 3) << 4) - 32);
    const std::byte* q = from + 8 + 16 * sub;
    for (int i = 0; i < 16; ++i) to[32 * sub + i] = scale * iq4_levels[at(q, i) & 15];
    for (int i = 0; i < 16; ++i) to[32 * sub + 16 + i] = scale * iq4_levels[at(q, i) >> 4];
  }
}

}  // namespace bareattn::model
