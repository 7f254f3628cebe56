// What rows that are finished give to each key (finish_rows): weights in fixed point, added up by key and by cells of
// 16 keys, whose largest is kept; the sums of runs of keys (run_sums) and of
// columns (pool_rows). What is added up over rows in any order are integers.
#if defined(BAREATTN_KERNELS_FINISH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BAREATTN_KERNELS_FINISH_INL_H_
#undef BAREATTN_KERNELS_FINISH_INL_H_
#else
#define BAREATTN_KERNELS_FINISH_INL_H_
#endif
#include <hwy/highway.h>

#include "kernels/kernels.h"
#include "kernels/softmax-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bareattn::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DU = hn::RebindToUnsigned<DF>;
using VU = hn::Vec<DU>;
constexpr int kCells = 4;                              // whose sums are made together
constexpr int kAtOnce = kLanes == lanes ? kCells : 1;  // of them, in the registers there are

// To the nearest integer, ties to even, |x| < 2^31. Highway's own also mends what lies beyond, for three instructions.
HWY_INLINE VU RoundSmall(VF x) {
#if HWY_TARGET == HWY_AVX3
  return VU{_mm512_cvtps_epi32(x.raw)};
#elif HWY_TARGET == HWY_AVX2
  return VU{_mm256_cvtps_epi32(x.raw)};
#else
  return hn::BitCast(DU(), hn::NearestInt(x));
#endif
}

// All rows on N cells from key j on: their sums, by lane, and their largest weights.
template <int N, bool kMax>
HWY_INLINE void FinishCells(const FinishArgs& args, int64_t j, VU (*sum)[kParts], VF (*max)[kParts]) {
  const DF d;
  VU all[N][kParts];
  VF top[N][kParts];
  for (int c = 0; c < N; ++c)
    for (int i = 0; i < kParts; ++i) {
      all[c][i] = hn::Zero(DU());
      top[c][i] = hn::Zero(d);
    }
  for (int r = 0; r < args.rows; ++r) {
    const float* p = args.p[r] + j;
    const VF factor = hn::Set(d, args.factor27[r]);
    for (int c = 0; c < N; ++c) __builtin_prefetch(p + (N + c) * lanes);
#pragma GCC unroll 4
    for (int c = 0; c < N; ++c)
#pragma GCC unroll 4
      for (int i = 0; i < kParts; ++i) {
        const VF w = hn::Mul(hn::LoadU(d, p + c * lanes + i * kLanes), factor);
        all[c][i] = hn::Add(all[c][i], RoundSmall(w));
        if constexpr (kMax) top[c][i] = hn::Max(w, top[c][i]);
      }
  }
  for (int c = 0; c < N; ++c)
    for (int i = 0; i < kParts; ++i) {
      sum[c][i] = all[c][i];
      max[c][i] = top[c][i];
    }
}

HWY_INLINE void AddReceived(const FinishArgs& args, int64_t j, const VU (&sum)[kParts]) {
#if HWY_TARGET != HWY_SCALAR
  const hn::Half<DU> half;
  const hn::Rebind<uint64_t, decltype(half)> dw;
  if (j + lanes <= args.keys) {
    for (int i = 0; i < kParts; ++i) {
      uint64_t* to = args.received + j + i * kLanes;
      const auto low = hn::PromoteTo(dw, hn::LowerHalf(half, sum[i])),
                 high = hn::PromoteTo(dw, hn::UpperHalf(half, sum[i]));
      hn::StoreU(hn::Add(hn::LoadU(dw, to), low), dw, to);
      hn::StoreU(hn::Add(hn::LoadU(dw, to + kLanes / 2), high), dw, to + kLanes / 2);
    }
    return;
  }
#endif
  uint32_t lane[lanes];
  for (int i = 0; i < kParts; ++i) hn::StoreU(sum[i], DU(), lane + i * kLanes);
  for (int64_t i = j; i < args.keys; ++i) args.received[i] += lane[i - j];
}

template <bool kMax>
HWY_INLINE void FinishRows(const FinishArgs& args) {
  for (int64_t j = 0; j < args.padded; j += kCells * lanes) {
    VU sum[kCells][kParts];
    VF max[kCells][kParts];
    const int cells = static_cast<int>(HWY_MIN(int64_t{kCells}, (args.padded - j) / lanes));
    if (cells == kCells) {
      for (int c = 0; c < kCells; c += kAtOnce) FinishCells<kAtOnce, kMax>(args, j + c * lanes, sum + c, max + c);
    } else {
      for (int c = 0; c < kCells; ++c)
        if (c < cells) {
          FinishCells<1, kMax>(args, j + c * lanes, sum + c, max + c);
        } else {
          for (int i = 0; i < kParts; ++i) {
            sum[c][i] = hn::Zero(DU());
            max[c][i] = hn::Zero(DF());
          }
        }
    }
    for (int c = 0; args.received != nullptr && c < cells; ++c) AddReceived(args, j + c * lanes, sum[c]);
    if (args.cell_sum == nullptr) continue;
    uint32_t sums[kCells];
    FourTrees(AddLanes(), DU(), sum[0], sum[1], sum[2], sum[3], sums);
    for (int c = 0; c < cells; ++c) args.cell_sum[j / lanes + c] = sums[c];
    if constexpr (kMax) {
      float tops[kCells];
      FourTrees(MaxLanes(), DF(), max[0], max[1], max[2], max[3], tops);
      for (int c = 0; c < cells; ++c) args.cell_max[j / lanes + c] = tops[c];
    }
  }
}

inline void FinishRowsAny(const FinishArgs& args) {
  args.cell_sum != nullptr&& args.cell_max != nullptr ? FinishRows<true>(args) : FinishRows<false>(args);
}

inline void RunSumsAny(const float* const* s, const int64_t* begin, const int64_t* end, float* to) {
  const DF d;
  VF sum[4][kParts];
  for (int r = 0; r < 4; ++r) {
    for (int i = 0; i < kParts; ++i) sum[r][i] = hn::Zero(d);
    for (int64_t j = begin[r] / lanes * lanes; j < end[r]; j += lanes)
      for (int i = 0; i < kParts; ++i) {
        const int64_t at = j + i * kLanes;
        VF p = hn::LoadU(d, s[r] + at);
        if (at < begin[r]) p = hn::IfThenZeroElse(hn::FirstN(d, static_cast<size_t>(begin[r] - at)), p);
        if (at + kLanes > end[r])
          p = hn::IfThenElseZero(hn::FirstN(d, static_cast<size_t>(HWY_MAX(int64_t{0}, end[r] - at))), p);
        sum[r][i] = hn::Add(sum[r][i], p);
      }
  }
  FourTrees(AddLanes(), d, sum[0], sum[1], sum[2], sum[3], to);
}

inline void PoolRowsAny(const float* w, int64_t ldw, int rows, int64_t keys, float* sum, float* max) {
  const DF d;
  int64_t j = 0;
  for (; j + kLanes <= keys; j += kLanes) {
    VF all = hn::Zero(d), most = hn::Zero(d);
    for (int r = 0; r < rows; ++r) {
      const VF one = hn::LoadU(d, w + r * ldw + j);
      all = hn::Add(all, one);
      most = hn::IfThenElse(hn::Gt(one, most), one, most);
    }
    hn::StoreU(all, d, sum + j);
    hn::StoreU(most, d, max + j);
  }
  if (j < keys) reference_table().pool_rows(w + j, ldw, rows, keys - j, sum + j, max + j);
}

}  // namespace bareattn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
