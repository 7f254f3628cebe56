// The bf16 tiles (scores and blend) on VDPBF16PS, by hand: Highway 1.0.3 has no native bf16 dot. Twice the f32 tile's
// rate (the emulation in tile_bf16-inl.h: a quarter of it). Same tile shape as tile-inl.h: 6 rows x 4 vectors.
#include "kernels/fast.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>
#include <type_traits>

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma")

namespace bareattn::kernels {
namespace {

inline void Expect(const void* p) { __builtin_prefetch(static_cast<const char*>(p) + ahead_bytes); }

template <int R, int NV>
inline void Tile(const uint16_t* __restrict q, int64_t ldq, int64_t dims, const uint16_t* __restrict panel,
                 float* __restrict s, int64_t lds, bool accumulate, const float* __restrict scale) {
  __m512 acc[R][NV];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) acc[r][v] = accumulate ? _mm512_loadu_ps(s + r * lds + v * 16) : _mm512_setzero_ps();
  for (int64_t i = 0; i < dims; i += 2) {
    __m512bh k[NV];
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
      k[v] = reinterpret_cast<__m512bh>(_mm512_load_si512(panel + i * panel_keys + v * 32));
      Expect(panel + i * panel_keys + v * 32);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      int pair;
      std::memcpy(&pair, q + r * ldq + i, 4);
      const __m512bh x = reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) acc[r][v] = _mm512_dpbf16_ps(acc[r][v], x, k[v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v)
      _mm512_storeu_ps(s + r * lds + v * 16, _mm512_mul_ps(acc[r][v], _mm512_set1_ps(scale[r])));
}

template <int R>
void Rows(const uint16_t* q, int64_t ldq, int64_t dims, const uint16_t* panel, int columns, float* s, int64_t lds,
          bool accumulate, const float* scale) {
  for (; columns >= panel_keys; columns -= panel_keys, panel += dims * panel_keys, s += panel_keys)
    Tile<R, 4>(q, ldq, dims, panel, s, lds, accumulate, scale);
  switch ((columns + 15) / 16) {
    case 4:
      return Tile<R, 4>(q, ldq, dims, panel, s, lds, accumulate, scale);
    case 3:
      return Tile<R, 3>(q, ldq, dims, panel, s, lds, accumulate, scale);
    case 2:
      return Tile<R, 2>(q, ldq, dims, panel, s, lds, accumulate, scale);
    case 1:
      return Tile<R, 1>(q, ldq, dims, panel, s, lds, accumulate, scale);
  }
}

void ScoreTileHardware(const uint16_t* q, int64_t ldq, int rows, int64_t dims, const uint16_t* panel, int columns,
                       float* s, int64_t lds, bool accumulate, const float* scale) {
  static const float ones[tile_rows] = {1, 1, 1, 1, 1, 1};
  if (scale == nullptr) scale = ones;
  switch (rows) {
    case 6:
      return Rows<6>(q, ldq, dims, panel, columns, s, lds, accumulate, scale);
    case 5:
      return Rows<5>(q, ldq, dims, panel, columns, s, lds, accumulate, scale);
    case 4:
      return Rows<4>(q, ldq, dims, panel, columns, s, lds, accumulate, scale);
    case 3:
      return Rows<3>(q, ldq, dims, panel, columns, s, lds, accumulate, scale);
    case 2:
      return Rows<2>(q, ldq, dims, panel, columns, s, lds, accumulate, scale);
    default:
      return Rows<1>(q, ldq, dims, panel, columns, s, lds, accumulate, scale);
  }
}

template <int R, int NV>
inline void Blend(const BlendArgs<uint16_t>& args, int64_t at) {
  const uint16_t* __restrict p = args.p;
  const uint16_t* __restrict values = args.v + 2 * at;
  float* __restrict o = args.o + at;
  const int64_t ldp = args.ldp, ldv = args.ldv, ldo = args.ldo;
  const float* ahead = args.ahead == nullptr ? reinterpret_cast<const float*>(p) : args.ahead;
  const int64_t step = args.ahead == nullptr ? 0 : 2 * ahead_floats;
  __m512 acc[R][NV];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) acc[r][v] = _mm512_setzero_ps();
  for (int64_t j = 0; j < args.keys; j += 2) {
    __m512bh x[NV];
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
      x[v] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(values + j * ldv + v * 32));
      Expect(values + j * ldv + v * 32);
    }
    __builtin_prefetch(ahead, 0, 2);
    ahead += step;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      int pair;
      std::memcpy(&pair, p + r * ldp + j, 4);
      const __m512bh w = reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) acc[r][v] = _mm512_dpbf16_ps(acc[r][v], w, x[v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) _mm512_storeu_ps(o + r * ldo + v * 16, _mm512_add_ps(acc[r][v], _mm512_setzero_ps()));
}

template <int R>
void BlendColumns(const BlendArgs<uint16_t>& args) {
  for (int64_t left = (args.dv + 15) / 16, at = 0; left > 0; left -= 4, at += 64) switch (left) {
      default:
        Blend<R, 4>(args, at);
        break;
      case 3:
        Blend<R, 3>(args, at);
        break;
      case 2:
        Blend<R, 2>(args, at);
        break;
      case 1:
        Blend<R, 1>(args, at);
        break;
    }
}

void BlendHardware(const BlendArgs<uint16_t>& args) {
  switch (args.rows) {
    case 6:
      return BlendColumns<6>(args);
    case 5:
      return BlendColumns<5>(args);
    case 4:
      return BlendColumns<4>(args);
    case 3:
      return BlendColumns<3>(args);
    case 2:
      return BlendColumns<2>(args);
    default:
      return BlendColumns<1>(args);
  }
}

// Weights are never denormal (exp.h) and keep NaN: the instruction's own rule is then convert.h's.
void Narrow(const float* from, uint16_t* to, int64_t n) {
  for (int64_t i = 0; i < n; i += 16)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i),
                        reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_loadu_ps(from + i))));
}

}  // namespace

bool use_bf16_avx512(KernelTable& table) {
  table.score_tile_bf16 = ScoreTileHardware;
  table.blend_bf16 = BlendHardware;
  table.narrow_bf16 = Narrow;
  return true;
}

}  // namespace bareattn::kernels
#pragma GCC pop_options
#else
namespace bareattn::kernels {
bool use_bf16_avx512(KernelTable&) { return false; }
}  // namespace bareattn::kernels
#endif
