// One block of 256 weights to f32, type by type. Called by dequant.cc only, which knows the sizes; `from` is one block
// and may lie at any address.
#pragma once
#include <cstddef>
#include <cstdint>

namespace bareattn::model {

inline constexpr int64_t k_block = 256;

/// The 16 levels of IQ4_NL and IQ4_XS.
inline constexpr float iq4_levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/// Scale and minimum (6 bits each) of the eight sub-blocks of Q4_K and Q5_K.
struct KScales {
  uint8_t scale[8], minimum[8];
};
KScales unpack_k_scales(const std::byte* twelve);

void block_q2_k(const std::byte* from, float* to);
void block_q3_k(const std::byte* from, float* to);
void block_q4_k(const std::byte* from, float* to);
void block_q5_k(const std::byte* from, float* to);
void block_q6_k(const std::byte* from, float* to);
void block_iq4_xs(const std::byte* from, float* to);

}  // namespace bareattn::model
