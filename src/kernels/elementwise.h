// The loops between projections and attention: RMSNorm, rotary embedding, SwiGLU, residual addition. Each works on one
// row (or one head of a row) and is single-threaded; the caller splits rows over workers. Every instruction set gives
// the bits of the scalar twin in namespace reference: sums run in 16 virtual lanes and one fixed tree, multiply-adds
// are fused exactly where the twin says std::fma. No alignment is needed. Where to go next: elementwise.cc,
// elementwise_reference.cc; who calls it: model/layer.cc.
#pragma once
#include <cstdint>

namespace bareattn::kernels {

/// y [width] = x * (1 / sqrt(mean(x^2) + epsilon)) * weight, in that order. y may be x.
void rms_norm(const float* x, const float* weight, int64_t width, float epsilon, float* y);

/// Rotates pairs (x[2i], x[2i+1]) by angle i, in place: dim values, dim even. cosine and sine [dim] hold each angle
/// twice, the sine negated at even places: (c0, c0, c1, c1, ..), (-s0, s0, -s1, s1, ..).
void rotate_pairs(float* x, const float* cosine, const float* sine, int64_t dim);

/// y [n] = gate / (1 + e^-gate) * up. y may be gate or up. Error <= 4 ulp; NaN and infinity as IEEE has them.
void silu_multiply(const float* gate, const float* up, int64_t n, float* y);

/// y [n] += x
void add(const float* x, int64_t n, float* y);

namespace reference {
void rms_norm(const float* x, const float* weight, int64_t width, float epsilon, float* y);
void rotate_pairs(float* x, const float* cosine, const float* sine, int64_t dim);
void silu_multiply(const float* gate, const float* up, int64_t n, float* y);
void add(const float* x, int64_t n, float* y);
}  // namespace reference

}  // namespace bareattn::kernels
