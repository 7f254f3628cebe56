// See dequant.h. Plain loops that the compiler vectorises: loading 135 million weights takes a tenth of a second, and
// the packing that follows costs more.
#include "files/dequant.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "files/dequant_k.h"
#include "kernels/convert.h"

namespace bareattn::model {
namespace {

constexpr int64_t quant_block = 32;

float read_f16(const std::byte* from) {
  uint16_t bits;
  std::memcpy(&bits, from, sizeof bits);
  return kernels::f32_from_f16(bits);
}

// d, 32 signed bytes: w = q d
void block_q8_0(const std::byte* from, float* to) {
  const float d = read_f16(from);
  std::array<int8_t, 32> q;
  std::memcpy(q.data(), from + 2, q.size());
  for (int i = 0; i < 32; ++i) to[i] = static_cast<float>(q[i]) * d;
}

// d, 16 bytes; weight i in the low half of byte i, weight i + 16 in its high half: w = (q - 8) d
void block_q4_0(const std::byte* from, float* to) {
  const float d = read_f16(from);
  std::array<uint8_t, 16> q;
  std::memcpy(q.data(), from + 2, q.size());
  for (int i = 0; i < 16; ++i) to[i] = static_cast<float>((q[i] & 15) - 8) * d;
  for (int i = 0; i < 16; ++i) to[i + 16] = static_cast<float>((q[i] >> 4) - 8) * d;
}

// d, m, 16 bytes: w = q d + m
void block_q4_1(const std::byte* from, float* to) {
  const float d = read_f16(from);
  const float m = read_f16(from + 2);
  std::array<uint8_t, 16> q;
  std::memcpy(q.data(), from + 4, q.size());
  for (int i = 0; i < 16; ++i) to[i] = static_cast<float>(q[i] & 15) * d + m;
  for (int i = 0; i < 16; ++i) to[i + 16] = static_cast<float>(q[i] >> 4) * d + m;
}

// d, fifth bits 4, 16 bytes as in Q4_0: w = (q - 16) d
void block_q5_0(const std::byte* from, float* to) {
  const float d = read_f16(from);
  uint32_t fifth;
  std::array<uint8_t, 16> q;
  std::memcpy(&fifth, from + 2, sizeof fifth);
  std::memcpy(q.data(), from + 6, q.size());
  const auto bit = [fifth](int i) { return static_cast<int>(fifth >> i & 1) << 4; };
  for (int i = 0; i < 16; ++i) to[i] = static_cast<float>(((q[i] & 15) | bit(i)) - 16) * d;
  for (int i = 0; i < 16; ++i) to[i + 16] = static_cast<float>((q[i] >> 4 | bit(i + 16)) - 16) * d;
}

// d, m, fifth bits 4, 16 bytes: w = q d + m
void block_q5_1(const std::byte* from, float* to) {
  const float d = read_f16(from);
  const float m = read_f16(from + 2);
  uint32_t fifth;
  std::array<uint8_t, 16> q;
  std::memcpy(&fifth, from + 4, sizeof fifth);
  std::memcpy(q.data(), from + 8, q.size());
  const auto bit = [fifth](int i) { return static_cast<int>(fifth >> i & 1) << 4; };
  for (int i = 0; i < 16; ++i) to[i] = static_cast<float>((q[i] & 15) | bit(i)) * d + m;
  for (int i = 0; i < 16; ++i) to[i + 16] = static_cast<float>(q[i] >> 4 | bit(i + 16)) * d + m;
}

// d, 16 bytes of numbers of levels: w = level d
void block_iq4_nl(const std::byte* from, float* to) {
  const float d = read_f16(from);
  for (int i = 0; i < 16; ++i) to[i] = iq4_levels[std::to_integer<int>(from[2 + i]) & 15] * d;
  for (int i = 0; i < 16; ++i) to[i + 16] = iq4_levels[std::to_integer<int>(from[2 + i]) >> 4] * d;
}

// One byte e, 16 bytes of numbers of levels (twice the 4-bit floats of the MX format): w = level 2^(e - 128)
void block_mxfp4(const std::byte* from, float* to) {
  static constexpr float levels[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  const auto e = std::to_integer<uint32_t>(from[0]);
  const float d = std::bit_cast<float>(e < 2 ? uint32_t{0x00200000} << e : (e - 1) << 23);  // the first two: denormal
  for (int i = 0; i < 16; ++i) to[i] = levels[std::to_integer<int>(from[1 + i]) & 15] * d;
  for (int i = 0; i < 16; ++i) to[i + 16] = levels[std::to_integer<int>(from[1 + i]) >> 4] * d;
}

// 16-bit values may lie at an odd address in a map: copied in pieces first.
template <class Convert>
void widen(const std::byte* from, int64_t count, float* to, Convert&& convert) {
  std::array<uint16_t, 1024> piece;
  for (int64_t i = 0; i < count; i += static_cast<int64_t>(piece.size())) {
    const int64_t n = std::min<int64_t>(static_cast<int64_t>(piece.size()), count - i);
    std::memcpy(piece.data(), from + 2 * i, static_cast<size_t>(2 * n));
    convert(piece.data(), to + i, n);
  }
}

struct Layout {
  TensorType type;
  Storage storage;
  void (*block)(const std::byte*, float*);  // null: not stored in blocks
};
// In the order in which messages name them.
constexpr Layout layouts[] = {
    {TensorType::f32, {1, 4}, nullptr},
    {TensorType::f16, {1, 2}, nullptr},
    {TensorType::bf16, {1, 2}, nullptr},
    {TensorType::q8_0, {quant_block, 34}, block_q8_0},
    {TensorType::q4_0, {quant_block, 18}, block_q4_0},
    {TensorType::q4_1, {quant_block, 20}, block_q4_1},
    {TensorType::q5_0, {quant_block, 22}, block_q5_0},
    {TensorType::q5_1, {quant_block, 24}, block_q5_1},
    {TensorType::q2_k, {k_block, 84}, block_q2_k},
    {TensorType::q3_k, {k_block, 110}, block_q3_k},
    {TensorType::q4_k, {k_block, 144}, block_q4_k},
    {TensorType::q5_k, {k_block, 176}, block_q5_k},
    {TensorType::q6_k, {k_block, 210}, block_q6_k},
    {TensorType::iq4_nl, {quant_block, 18}, block_iq4_nl},
    {TensorType::iq4_xs, {k_block, 136}, block_iq4_xs},
    {TensorType::mxfp4, {quant_block, 17}, block_mxfp4},
};

const Layout* layout_of(TensorType type) {
  const auto* found =
      std::find_if(std::begin(layouts), std::end(layouts), [&](const Layout& l) { return l.type == type; });
  return found == std::end(layouts) ? nullptr : found;
}

}  // namespace

Storage storage_of(TensorType type) {
  const Layout* layout = layout_of(type);
  return layout == nullptr ? Storage{} : layout->storage;
}

std::string type_name(uint32_t type) {
  static constexpr std::array<const char*, 40> names = {
      "F32",    "F16",   "Q4_0",  "Q4_1",   "Q4_2",  "Q4_3",  "Q5_0",    "Q5_1",   "Q8_0",    "Q8_1",
      "Q2_K",   "Q3_K",  "Q4_K",  "Q5_K",   "Q6_K",  "Q8_K",  "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S",
      "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8",    "I16",   "I32",     "I64",    "F64",     "IQ1_M",
      "BF16",   nullptr, nullptr, nullptr,  "TQ1_0", "TQ2_0", nullptr,   nullptr,  nullptr,   "MXFP4"};
  if (type < names.size() && names[type] != nullptr) return names[type];
  return "type " + std::to_string(type);
}

std::string readable_types() {
  std::string all;
  for (const Layout& layout : layouts) all += (all.empty() ? "" : ", ") + type_name(static_cast<uint32_t>(layout.type));
  return all;
}

void dequantize(TensorType type, std::span<const std::byte> from, int64_t count, float* to) {
  const std::byte* data = from.data();
  switch (type) {
    case TensorType::f32:
      std::memcpy(to, data, static_cast<size_t>(4 * count));
      return;
    case TensorType::f16:
      return widen(data, count, to, [](auto* a, float* b, int64_t n) { kernels::f32_from_f16(a, b, n); });
    case TensorType::bf16:
      return widen(data, count, to, [](auto* a, float* b, int64_t n) { kernels::f32_from_bf16(a, b, n); });
    default:
      break;
  }
  const Layout* layout = layout_of(type);
  if (layout == nullptr) return;
  for (int64_t i = 0; i < count; i += layout->storage.block, data += layout->storage.bytes) layout->block(data, to + i);
}

}  // namespace bareattn::model
