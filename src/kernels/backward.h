// The inner loops that only the backward pass has; what it shares with the forward (q.k tiles, the blend) is in
// kernels.h. One table per instruction set and a scalar twin, equal bit for bit, chosen together with kernels::table().
// Next: attention/backward_block.cc, which calls them.
#pragma once
#include <cstdint>

#include "kernels/kernels.h"

namespace bareattn::kernels {

struct BackwardKernels {
  /// o[c * ldo + e] = sum over rows r of p[r * ldp + c] * v[r * ldv + e]: P^T times V, one fma chain in row order that
  /// goes on from what o holds, then + 0 (so that no -0 is left). columns (keys) 1..6; dv is rounded up to whole
  /// vectors of at most 16 (v and o are padded for it).
  void (*blend_transposed)(const float* p, int64_t ldp, int columns, int64_t rows, const float* v, int64_t ldv,
                           int64_t dv, float* o, int64_t ldo);

  /// One row of n scores, n a multiple of 16: s becomes p = e^(s - lse) (exp.h), dp becomes ds = p * (dp - delta).
  /// Where s is -inf the key is not seen: both are 0, whatever dp holds and even where lse or delta is NaN.
  void (*softmax_backward)(float* s, float* dp, int64_t n, float lse, float delta);

  /// sum of a[i] * b[i], i in [0, n), n a multiple of 16: fused multiply-adds in 16 lanes, then the tree of tree.h.
  float (*dot)(const float* a, const float* b, int64_t n);

  /// to[i] = from[i] * scale, i in [0, n); whether all of them are finite. from and to may be the same.
  bool (*scale_row)(const float* from, int64_t n, float scale, float* to);
  /// to[i] = fma(from[i], scale, to[i]), i in [0, n).
  void (*add_scaled)(const float* from, int64_t n, float scale, float* to);
};

/// backward.cc: those of the instruction set that Highway's dispatch currently allows, or null.
const BackwardKernels* fast_backward();
/// The scalar twin.
const BackwardKernels& reference_backward();

}  // namespace bareattn::kernels
