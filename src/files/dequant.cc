// See dequant.h. Plain loops that the compiler vectorises: loading 135 million weights takes a tenth of a second, and
// the packing that follows costs more.
#include "files/dequant.h"

#include <algorithm>
#include <array>
#include <cstring>

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

template <class Block>
void each_block(const std::byte* from, int64_t bytes, int64_t count, float* to, Block&& block) {
  for (int64_t i = 0; i < count; i += quant_block, from += bytes) block(from, to + i);
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

}  // namespace

Storage storage_of(TensorType type) {
  switch (type) {
    case TensorType::f32:
      return {1, 4};
    case TensorType::f16:
      return {1, 2};
    case TensorType::bf16:
      return {1, 2};
    case TensorType::q8_0:
      return {quant_block, 34};
    case TensorType::q4_0:
      return {quant_block, 18};
    case TensorType::q4_1:
      return {quant_block, 20};
  }
  return {};
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

std::string readable_types() { return "F32, F16, BF16, Q8_0, Q4_0, Q4_1"; }

void dequantize(TensorType type, std::span<const std::byte> from, int64_t count, float* to) {
  const int64_t bytes = storage_of(type).bytes;
  const std::byte* data = from.data();
  switch (type) {
    case TensorType::f32:
      std::memcpy(to, data, static_cast<size_t>(4 * count));
      return;
    case TensorType::f16:
      return widen(data, count, to, [](auto* a, float* b, int64_t n) { kernels::f32_from_f16(a, b, n); });
    case TensorType::bf16:
      return widen(data, count, to, [](auto* a, float* b, int64_t n) { kernels::f32_from_bf16(a, b, n); });
    case TensorType::q8_0:
      return each_block(data, bytes, count, to, block_q8_0);
    case TensorType::q4_0:
      return each_block(data, bytes, count, to, block_q4_0);
    case TensorType::q4_1:
      return each_block(data, bytes, count, to, block_q4_1);
  }
}

}  // namespace bareattn::model
