// The scalar twin of elementwise.cc: plain C++, std::fma where the fast loops fuse, the same order of every rounding.
#include <cmath>

#include "kernels/elementwise.h"
#include "kernels/exp.h"
#include "kernels/tree.h"

namespace bareattn::kernels::reference {

void rms_norm(const float* x, const float* weight, int64_t width, float epsilon, float* y) {
  float lane[16] = {};
  for (int64_t i = 0; i < width; ++i) lane[i % 16] = std::fma(x[i], x[i], lane[i % 16]);
  const float scale = 1.0F / std::sqrt(tree_sum(lane) / static_cast<float>(width) + epsilon);
  for (int64_t i = 0; i < width; ++i) y[i] = x[i] * scale * weight[i];
}

void rotate_pairs(float* x, const float* cosine, const float* sine, int64_t dim) {
  for (int64_t i = 0; i + 1 < dim; i += 2) {
    const float even = x[i];
    const float odd = x[i + 1];
    x[i] = even * cosine[i] + odd * sine[i];
    x[i + 1] = odd * cosine[i + 1] + even * sine[i + 1];
  }
}

void silu_multiply(const float* gate, const float* up, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) {
    const float small = exp_below(-std::fabs(gate[i]));  // never overflows
    const float numerator = gate[i] < 0.0F ? small : 1.0F;
    y[i] = gate[i] * (numerator / (1.0F + small)) * up[i];
  }
}

void add(const float* x, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] += x[i];
}

}  // namespace bareattn::kernels::reference
