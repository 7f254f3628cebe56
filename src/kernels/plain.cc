// See plain.h.
#include "kernels/plain.h"

#include <cmath>

#include "kernels/exp.h"
#include "kernels/tree.h"

namespace bareattn::kernels {
namespace {

/// x / (1 + e^-t): e^-|t| never overflows.
float share(float x, float t) {
  const float small = exp_below(-std::fabs(t));
  return x * ((t < 0.0F ? small : 1.0F) / (1.0F + small));
}

template <class F>
void each(const float* gate, const float* up, int64_t n, float* y, const F& f) {
  for (int64_t i = 0; i < n; ++i) y[i] = up == nullptr ? f(gate[i]) : f(gate[i]) * up[i];
}

}  // namespace

void layer_norm(const LayerNorm& norm, const float* x, int64_t width, float* y) {
  float lane[16] = {};
  for (int64_t i = 0; i < width; ++i) lane[i % 16] += x[i];
  const float mean = tree_sum(lane) / static_cast<float>(width);
  float square[16] = {};
  for (int64_t i = 0; i < width; ++i) square[i % 16] += (x[i] - mean) * (x[i] - mean);
  const float size = 1.0F / std::sqrt(tree_sum(square) / static_cast<float>(width) + norm.epsilon);
  for (int64_t i = 0; i < width; ++i) {
    const float value = (x[i] - mean) * size * norm.weight[i];
    y[i] = norm.bias == nullptr ? value : value + norm.bias[i];
  }
}

void rotate_halves(float* x, const float* cosine, const float* sine, int64_t dim) {
  const int64_t half = dim / 2;
  for (int64_t i = 0; i < half; ++i) {
    const float first = x[i], second = x[i + half];
    x[i] = first * cosine[2 * i] + second * sine[2 * i];
    x[i + half] = second * cosine[2 * i + 1] + first * sine[2 * i + 1];
  }
}

void silu(const float* gate, const float* up, int64_t n, float* y) {
  each(gate, up, n, y, [](float x) { return share(x, x); });
}

void gelu(const float* gate, const float* up, int64_t n, float* y) {
  each(gate, up, n, y, [](float x) { return 0.5F * x * (1.0F + std::erf(x * 0.707106781F)); });
}

void gelu_tanh(const float* gate, const float* up, int64_t n, float* y) {
  // (1 + tanh t) / 2 = 1 / (1 + e^-2t), t = sqrt(2 / pi) (x + 0.044715 x^3)
  each(gate, up, n, y, [](float x) { return share(x, 1.595769122F * (x + 0.044715F * x * x * x)); });
}

void scale(float factor, int64_t n, float* x) {
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

void softcap(float c, int64_t n, float* x) {
  for (int64_t i = 0; i < n; ++i) x[i] = c * std::tanh(x[i] / c);
}

}  // namespace bareattn::kernels
