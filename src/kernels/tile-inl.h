// Register tiles, written once for any vector width: scores (q . k, also the projections) and the blend (p . v).
// Lanes are keys (or value dims), so every width gives the same bits. 6 rows x 4 vectors of 16 keep 24 accumulators in
// the 32 registers of AVX-512 (two FMA pipes need at least 8 to hide the latency; 10 loads per 24 FMAs leave the load
// pipes half idle); with 16 registers, 6 x 2.
#if defined(BAREATTN_KERNELS_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BAREATTN_KERNELS_TILE_INL_H_
#undef BAREATTN_KERNELS_TILE_INL_H_
#else
#define BAREATTN_KERNELS_TILE_INL_H_
#endif
#include <hwy/highway.h>

#include "kernels/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace bareattn::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::CappedTag<float, 16>;
using VF = hn::Vec<DF>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(DF()));
constexpr int kMaxVectors = HWY_MAX_BYTES >= 64 ? 4 : 2;
// What lies ahead is asked for early: decode over a cache in memory reads up to 1.7 times as fast (no hardware looks
// past a page of 4 KB), and where all is in the cache the load pipes have room for it.
HWY_INLINE void Expect(const void* p) { __builtin_prefetch(static_cast<const char*>(p) + ahead_bytes); }

// s[R][NV vectors] over d, of one panel. GCC keeps acc[][] in registers only when every index is a constant: hence the
// unrolling.
template <int R, int NV>
HWY_INLINE void ScoreTile(const float* HWY_RESTRICT q, int64_t ldq, int64_t d_count, const float* HWY_RESTRICT panel,
                          float* HWY_RESTRICT s, int64_t lds, bool accumulate) {
  const DF d;
  VF acc[R][NV];
  if (accumulate) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) acc[r][v] = hn::LoadU(d, s + r * lds + v * kLanes);
  } else {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) acc[r][v] = hn::Zero(d);
  }
  for (int64_t i = 0; i < d_count; ++i) {
    VF k[NV];
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
      k[v] = hn::Load(d, panel + i * panel_keys + v * kLanes);
      Expect(panel + i * panel_keys + v * kLanes);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const VF x = hn::Set(d, q[r * ldq + i]);
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) acc[r][v] = hn::MulAdd(x, k[v], acc[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) hn::StoreU(acc[r][v], d, s + r * lds + v * kLanes);
}

// Value dims from `at` on.
template <int R, int NV>
HWY_INLINE void BlendTile(const BlendArgs<float>& args, int64_t at) {
  const DF d;
  const float* HWY_RESTRICT p = args.p;
  const float* HWY_RESTRICT values = args.v + at;
  float* HWY_RESTRICT o = args.o + at;
  const int64_t ldp = args.ldp, ldv = args.ldv, ldo = args.ldo;
  // Where nothing else is wanted: a place that is there, again and again.
  const float* ahead = args.ahead == nullptr ? p : args.ahead;
  const int64_t step = args.ahead == nullptr ? 0 : ahead_floats;
  VF acc[R][NV];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) acc[r][v] = args.accumulate ? hn::LoadU(d, o + r * ldo + v * kLanes) : hn::Zero(d);
  for (int64_t j = 0; j < args.keys; ++j) {
    VF x[NV];
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
      x[v] = hn::LoadU(d, values + j * ldv + v * kLanes);
      Expect(values + j * ldv + v * kLanes);
    }
    __builtin_prefetch(ahead, 0, 2);
    ahead += step;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const VF w = hn::Set(d, p[r * ldp + j]);
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) acc[r][v] = hn::MulAdd(w, x[v], acc[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) hn::StoreU(hn::Add(acc[r][v], hn::Zero(d)), d, o + r * ldo + v * kLanes);
}

// Runtime rows and vectors to template arguments; F is a generic lambda (rows, vectors) -> void.
template <int R, class F>
HWY_INLINE void WithVectors(int vectors, F&& f) {
  using std::integral_constant;
  if constexpr (kMaxVectors == 4) {
    if (vectors == 4) return f(integral_constant<int, R>(), integral_constant<int, 4>());
    if (vectors == 3) return f(integral_constant<int, R>(), integral_constant<int, 3>());
  }
  if (vectors == 2) return f(integral_constant<int, R>(), integral_constant<int, 2>());
  return f(integral_constant<int, R>(), integral_constant<int, 1>());
}
template <class F>
HWY_INLINE void WithTile(int rows, int vectors, F&& f) {
  switch (rows) {
    case 6:
      return WithVectors<6>(vectors, f);
    case 5:
      return WithVectors<5>(vectors, f);
    case 4:
      return WithVectors<4>(vectors, f);
    case 3:
      return WithVectors<3>(vectors, f);
    case 2:
      return WithVectors<2>(vectors, f);
    default:
      return WithVectors<1>(vectors, f);
  }
}

inline void ScoreTileAny(const float* q, int64_t ldq, int rows, int64_t dims, const float* panel, int columns, float* s,
                         int64_t lds, bool accumulate) {
  constexpr int kWide = kMaxVectors * kLanes, kPanel = static_cast<int>(panel_keys);
  if (const int whole = columns / kPanel; whole > 0)  // all in one call, which costs 7 % of a panel of 64 dims
    WithTile(rows, kMaxVectors, [=](auto r, auto v) HWY_ATTR {
      for (int p = 0; p < whole; ++p)
        for (int at = 0; at < kPanel; at += kWide)
          ScoreTile<r(), v()>(q, ldq, dims, panel + p * dims * panel_keys + at, s + p * kPanel + at, lds, accumulate);
    });
  const int first = columns / kPanel * kPanel;
  for (int left = (columns - first + kLanes - 1) / kLanes, at = 0; left > 0; left -= kMaxVectors, at += kWide)
    WithTile(rows, HWY_MIN(left, kMaxVectors), [=](auto r, auto v) HWY_ATTR {
      ScoreTile<r(), v()>(q, ldq, dims, panel + first * dims + at, s + first + at, lds, accumulate);
    });
}

inline void BlendAny(const BlendArgs<float>& args) {
  for (int64_t left = (args.dv + kLanes - 1) / kLanes, at = 0; left > 0;
       left -= kMaxVectors, at += kMaxVectors * kLanes)
    WithTile(args.rows, static_cast<int>(HWY_MIN(left, int64_t{kMaxVectors})),
             [&](auto r, auto n) HWY_ATTR { BlendTile<r(), n()>(args, at); });
}

inline void MergeAny(float* o, const float* block, float a, float b, int64_t dv) {
  const DF d;
  const VF va = hn::Set(d, a), vb = hn::Set(d, b);
  for (int64_t e = 0; e < dv; e += kLanes)  // padded to 16
    hn::StoreU(hn::MulAdd(hn::LoadU(d, o + e), va, hn::Mul(hn::LoadU(d, block + e), vb)), d, o + e);
}

// The last few under a mask.
inline void DivideAny(const float* from, float by, float* to, int64_t n) {
  const DF d;
  const VF v = hn::Set(d, by);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) hn::StoreU(hn::Div(hn::LoadU(d, from + i), v), d, to + i);
  if (i == n) return;
  const auto rest = hn::FirstN(d, static_cast<size_t>(n - i));
  hn::BlendedStore(hn::Div(hn::MaskedLoad(rest, d, from + i), v), rest, d, to + i);
}

}  // namespace bareattn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
