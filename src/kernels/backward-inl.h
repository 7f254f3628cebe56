// The vector forms of backward.h, written once for any width. Lanes are value dims (blend) or keys (softmax), so every
// width gives the same bits. Next: tile-inl.h, whose register tiles these mirror.
#if defined(BAREATTN_KERNELS_BACKWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BAREATTN_KERNELS_BACKWARD_INL_H_
#undef BAREATTN_KERNELS_BACKWARD_INL_H_
#else
#define BAREATTN_KERNELS_BACKWARD_INL_H_
#endif
#include <hwy/highway.h>

#include <limits>

#include "kernels/backward.h"
#include "kernels/exp-inl.h"
#include "kernels/tile-inl.h"
#include "kernels/tree.h"

HWY_BEFORE_NAMESPACE();
namespace bareattn::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The blend's tile with its weights read down a column: C neighbouring keys of one row are one cache line, so the
// transposed read costs no more broadcasts than the straight one and nothing is ever transposed in memory.
template <int C, int NV>
HWY_INLINE void BlendTransposedTile(const float* HWY_RESTRICT p, int64_t ldp, int64_t rows,
                                    const float* HWY_RESTRICT values, int64_t ldv, float* HWY_RESTRICT o, int64_t ldo) {
  const DF d;
  VF acc[C][NV];
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) acc[c][v] = hn::LoadU(d, o + c * ldo + v * kLanes);
  for (int64_t r = 0; r < rows; ++r) {
    VF x[NV];
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) x[v] = hn::LoadU(d, values + r * ldv + v * kLanes);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      const VF w = hn::Set(d, p[r * ldp + c]);
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) acc[c][v] = hn::MulAdd(w, x[v], acc[c][v]);
    }
  }
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) hn::StoreU(hn::Add(acc[c][v], hn::Zero(d)), d, o + c * ldo + v * kLanes);
}

void BlendTransposedAny(const float* p, int64_t ldp, int columns, int64_t rows, const float* v, int64_t ldv, int64_t dv,
                        float* o, int64_t ldo) {
  for (int64_t left = (dv + kLanes - 1) / kLanes, at = 0; left > 0; left -= kMaxVectors, at += kMaxVectors * kLanes)
    WithTile(columns, static_cast<int>(HWY_MIN(left, int64_t{kMaxVectors})),
             [&](auto c, auto n) HWY_ATTR { BlendTransposedTile<c(), n()>(p, ldp, rows, v + at, ldv, o + at, ldo); });
}

void SoftmaxBackwardAny(float* HWY_RESTRICT s, float* HWY_RESTRICT dp, int64_t n, float lse, float delta) {
  const DF d;
  const VF vlse = hn::Set(d, lse), vdelta = hn::Set(d, delta);
  const VF hidden = hn::Set(d, -std::numeric_limits<float>::infinity());
  for (int64_t j = 0; j < n; j += kLanes) {
    const VF score = hn::LoadU(d, s + j);
    const auto unseen = hn::Eq(score, hidden);
    const VF p = ExpBelow(d, hn::Sub(score, vlse));
    const VF ds = hn::Mul(p, hn::Sub(hn::LoadU(d, dp + j), vdelta));
    hn::StoreU(hn::IfThenZeroElse(unseen, p), d, s + j);
    hn::StoreU(hn::IfThenZeroElse(unseen, ds), d, dp + j);
  }
}

float DotAny(const float* a, const float* b, int64_t n) {
  const DF d;
  constexpr int parts = lanes / kLanes;
  VF sum[parts];
  for (auto& v : sum) v = hn::Zero(d);
  for (int64_t i = 0; i < n; i += lanes) {
#pragma GCC unroll 4
    for (int part = 0; part < parts; ++part)
      sum[part] = hn::MulAdd(hn::LoadU(d, a + i + part * kLanes), hn::LoadU(d, b + i + part * kLanes), sum[part]);
  }
  HWY_ALIGN float lane[lanes];
  for (int part = 0; part < parts; ++part) hn::Store(sum[part], d, lane + part * kLanes);
  return tree_sum(lane);
}

// A lane of x * 0 is 0 while x is finite: the sum is NaN from the first that is not.
bool ScaleRowAny(const float* from, int64_t n, float scale, float* to) {
  const DF d;
  const VF factor = hn::Set(d, scale);
  VF bad = hn::Zero(d);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const VF x = hn::Mul(hn::LoadU(d, from + i), factor);
    hn::StoreU(x, d, to + i);
    bad = hn::MulAdd(x, hn::Zero(d), bad);
  }
  float rest = 0;
  for (; i < n; ++i) {
    to[i] = from[i] * scale;
    rest += to[i] * 0.0F;
  }
  return hn::AllTrue(d, hn::Eq(bad, hn::Zero(d))) && rest == 0.0F;
}

void AddScaledAny(const float* HWY_RESTRICT from, int64_t n, float scale, float* HWY_RESTRICT to) {
  const DF d;
  const hn::CappedTag<float, 1> one;  // the tail's fused multiply-adds, without a call to the library's
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    hn::StoreU(hn::MulAdd(hn::LoadU(d, from + i), hn::Set(d, scale), hn::LoadU(d, to + i)), d, to + i);
  for (; i < n; ++i)
    hn::StoreU(hn::MulAdd(hn::LoadU(one, from + i), hn::Set(one, scale), hn::LoadU(one, to + i)), one, to + i);
}

}  // namespace bareattn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
