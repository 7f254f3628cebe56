// The scalar twin of the backward kernels: the same order of every rounding, one number at a time.
#include <cmath>
#include <limits>

#include "kernels/backward.h"
#include "kernels/exp.h"
#include "kernels/tree.h"

namespace bareattn::kernels {
namespace {

void blend_transposed(const float* p, int64_t ldp, int columns, int64_t rows, const float* v, int64_t ldv, int64_t dv,
                      float* o, int64_t ldo) {
  for (int c = 0; c < columns; ++c)
    for (int64_t e = 0; e < dv; ++e) {
      float acc = o[c * ldo + e];
      for (int64_t r = 0; r < rows; ++r) acc = std::fma(p[r * ldp + c], v[r * ldv + e], acc);
      o[c * ldo + e] = acc + 0.0F;
    }
}

void softmax_backward(float* s, float* dp, int64_t n, float lse, float delta) {
  for (int64_t j = 0; j < n; ++j) {
    const bool unseen = s[j] == -std::numeric_limits<float>::infinity();
    const float p = exp_below(s[j] - lse);
    const float ds = p * (dp[j] - delta);
    s[j] = unseen ? 0.0F : p;
    dp[j] = unseen ? 0.0F : ds;
  }
}

float dot(const float* a, const float* b, int64_t n) {
  float lane[lanes] = {};
  for (int64_t i = 0; i < n; ++i) lane[i % lanes] = std::fma(a[i], b[i], lane[i % lanes]);
  return tree_sum(lane);
}

bool scale_row(const float* from, int64_t n, float scale, float* to) {
  bool finite = true;
  for (int64_t i = 0; i < n; ++i) {
    to[i] = from[i] * scale;
    finite = finite && std::isfinite(to[i]);
  }
  return finite;
}

void add_scaled(const float* from, int64_t n, float scale, float* to) {
  for (int64_t i = 0; i < n; ++i) to[i] = std::fma(from[i], scale, to[i]);
}

}  // namespace

const BackwardKernels& reference_backward() {
  static const BackwardKernels kernels = {blend_transposed, softmax_backward, dot, scale_row, add_scaled};
  return kernels;
}

}  // namespace bareattn::kernels
