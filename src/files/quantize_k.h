// Blocks of 256 weights as Q4_K and Q6_K, by a rule of this project's own: ggml's is a search over many scales that
// its Python package does not have, so there is no bit for bit here. What is written is read by every program alike.
// Its error is held to the bounds that quantize_test.cc derives; on real weights it has not been measured.
#pragma once
#include <cstddef>

namespace bareattn::model {

/// 256 finite weights to 144 bytes. Each sub-block of 32 begins with levels from min(0, least) to its largest weight,
/// then scale and minimum are fitted to these levels by least squares and the weights rounded again, up to four times
/// while the squared error falls. Scales and minima become 6 bits of the block's largest.
void write_q4_k(const float* weights, std::byte* to);

/// 256 finite weights to 210 bytes. Each sub-block of 16 has the scale that makes its weight of the largest magnitude
/// the lowest level, fitted and rounded again in the same way. Scales become 8 bits of the block's largest.
void write_q6_k(const float* weights, std::byte* to);

}  // namespace bareattn::model
