// Loops over a row that only some families need: LayerNorm, GELU, rotation of halves. One plain form each, whose every
// operation is one rounding, so its bits are the same on every instruction set without a twin; they take a few percent
// of a run. Sums run in 16 lanes and one tree, as in elementwise.h, which has the loops of every model.
#pragma once
#include <cstdint>

namespace bareattn::kernels {

/// y [width] = (x - mean) / sqrt(variance + epsilon) * weight + bias; bias may be null. y may be x.
struct LayerNorm {
  const float *weight, *bias;  // [width]
  float epsilon;
};
void layer_norm(const LayerNorm& norm, const float* x, int64_t width, float* y);

/// Rotates pairs (x[i], x[i + dim / 2]) by angle i, in place; cosine and sine as rotate_pairs() has them.
void rotate_halves(float* x, const float* cosine, const float* sine, int64_t dim);

/// y [n] = f(gate) * up, or f(gate) where up is null. y may be gate or up. Error of each within 8 ulp of f's largest
/// term.
void silu(const float* gate, const float* up, int64_t n, float* y);
void gelu(const float* gate, const float* up, int64_t n, float* y);       // x (1 + erf(x / sqrt 2)) / 2
void gelu_tanh(const float* gate, const float* up, int64_t n, float* y);  // its approximation by tanh

/// x [n] *= factor; x [n] = c tanh(x / c).
void scale(float factor, int64_t n, float* x);
void softcap(float c, int64_t n, float* x);

}  // namespace bareattn::kernels
