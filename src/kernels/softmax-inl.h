// The pass over a strip of scores: maximum, exponentials, sums (softmax_rows), and, once a row is finished, what it
// gives to each key (finish_rows, carry). Sums run in 16 virtual lanes (key mod 16) and end in one fixed tree, so that
// the width of the hardware does not show.
#if defined(BAREATTN_KERNELS_SOFTMAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BAREATTN_KERNELS_SOFTMAX_INL_H_
#undef BAREATTN_KERNELS_SOFTMAX_INL_H_
#else
#define BAREATTN_KERNELS_SOFTMAX_INL_H_
#endif
#include <hwy/highway.h>

#include <limits>

#include "kernels/exp-inl.h"
#include "kernels/kernels.h"
#include "kernels/tile-inl.h"
#include "kernels/tree.h"

HWY_BEFORE_NAMESPACE();
namespace bareattn::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int kParts = lanes / kLanes;  // vectors that make up the 16 virtual lanes

// The trees (tree.h) of four sums at once, to[0, 4).
#if HWY_TARGET == HWY_SCALAR
HWY_INLINE void TreeSums(const VF (&a)[kParts], const VF (&b)[kParts], const VF (&c)[kParts], const VF (&e)[kParts],
                         float* to) {
  const VF* all[] = {a, b, c, e};
  for (int k = 0; k < 4; ++k) {
    float lane[lanes];
    for (int i = 0; i < lanes; ++i) lane[i] = hn::GetLane(all[k][i]);
    to[k] = tree_sum(lane);
  }
}
#else
using DQuarter = hn::FixedTag<float, 4>;
using VQuarter = hn::Vec<DQuarter>;

// The first two steps: lanes i + i 8, then i + i 4.
template <int P>
HWY_INLINE VQuarter Quarter(const VF (&part)[P]) {
  if constexpr (P == 4) {
    return hn::Add(hn::Add(part[0], part[2]), hn::Add(part[1], part[3]));
  } else if constexpr (P == 2) {
    const auto sum = hn::Add(part[0], part[1]);
    return hn::Add(hn::LowerHalf(DQuarter(), sum), hn::UpperHalf(DQuarter(), sum));
  } else {
    const hn::Half<DF> d;
    const auto sum = hn::Add(hn::LowerHalf(d, part[0]), hn::UpperHalf(d, part[0]));
    return hn::Add(hn::LowerHalf(DQuarter(), sum), hn::UpperHalf(DQuarter(), sum));
  }
}
HWY_INLINE void TreeSums(const VF (&a)[kParts], const VF (&b)[kParts], const VF (&c)[kParts], const VF (&e)[kParts],
                         float* to) {
  const DQuarter d;
  const VQuarter x = Quarter(a), y = Quarter(b), z = Quarter(c), w = Quarter(e);
  const auto xy = hn::Add(hn::InterleaveLower(d, x, y), hn::InterleaveUpper(d, x, y));  // (0 + 2) and (1 + 3) of each
  const auto zw = hn::Add(hn::InterleaveLower(d, z, w), hn::InterleaveUpper(d, z, w));
  hn::StoreU(hn::Add(hn::ConcatLowerLower(d, zw, xy), hn::ConcatUpperUpper(d, zw, xy)), d, to);
}
#endif

// Keys past `keys` up to the next multiple of 16 are -inf before anything is read.
HWY_INLINE float BlockMax(const float* s, int64_t padded) {
  const DF d;
  VF m[4];
  for (auto& v : m) v = hn::Set(d, -std::numeric_limits<float>::infinity());
  // Max(new, old) keeps old where new is NaN (x86), and the order of the rest does not matter.
  int64_t j = 0;
  for (; j + 4 * kLanes <= padded; j += 4 * kLanes) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) m[i] = hn::Max(hn::LoadU(d, s + j + i * kLanes), m[i]);
  }
  for (; j < padded; j += kLanes) m[0] = hn::Max(hn::LoadU(d, s + j), m[0]);
  return hn::GetLane(hn::MaxOfLanes(d, hn::Max(hn::Max(m[0], m[1]), hn::Max(m[2], m[3]))));
}

// The first key whose score is the maximum (it is there): four vectors at a time, most rows end early.
HWY_INLINE int32_t FirstKey(const float* s, int64_t whole, float max) {
  const DF d;
  const VF top = hn::Set(d, max);
  int64_t j = 0;
  for (; j + 4 * kLanes <= whole; j += 4 * kLanes) {
    const auto low = hn::Or(hn::Eq(hn::LoadU(d, s + j), top), hn::Eq(hn::LoadU(d, s + j + kLanes), top));
    const auto high =
        hn::Or(hn::Eq(hn::LoadU(d, s + j + 2 * kLanes), top), hn::Eq(hn::LoadU(d, s + j + 3 * kLanes), top));
    if (!hn::AllFalse(d, hn::Or(low, high))) break;
  }
  for (; j < whole; j += kLanes) {
    const auto found = hn::Eq(hn::LoadU(d, s + j), top);
    if (!hn::AllFalse(d, found)) return static_cast<int32_t>(j + hn::FindFirstTrue(d, found));
  }
  return -1;
}

template <bool kMeasure>
struct RowSums {
  VF sum[kParts], entropy[kParts], squares[kParts], distance[kParts], away[kParts];  // away: origin - key, exact

  HWY_INLINE void Clear(float origin) {
    const DF d;
    for (int i = 0; i < kParts; ++i) {
      sum[i] = entropy[i] = squares[i] = distance[i] = hn::Zero(d);
      away[i] = hn::Sub(hn::Set(d, origin), hn::Iota(d, static_cast<float>(i * kLanes)));
    }
  }
  // N vectors of scores become weights. Vector i adds to the lanes of its part, in order.
  template <int N>
  HWY_INLINE void Take(float* s, VF m) {
    const DF d;
    VF x[N], p[N];
    hn::Mask<DF> counts[N];  // p is not 0
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) p[i] = x[i] = hn::Sub(hn::LoadU(d, s + i * kLanes), m);
    ExpBelow<true>(d, p, counts);
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) {
      const int part = i % kParts;
      hn::StoreU(p[i], d, s + i * kLanes);
      sum[part] = hn::Add(sum[part], p[i]);
      if constexpr (kMeasure) {
        entropy[part] = hn::MulAdd(p[i], hn::IfThenElseZero(counts[i], x[i]), entropy[part]);  // 0 * -inf: NaN
        squares[part] = hn::MulAdd(p[i], p[i], squares[part]);
        distance[part] = hn::MulAdd(p[i], away[part], distance[part]);
        away[part] = hn::Sub(away[part], hn::Set(d, static_cast<float>(lanes)));
      }
    }
  }
  HWY_INLINE void Finish(BlockState* HWY_RESTRICT state) {
    float four[4];
    if constexpr (kMeasure) {
      TreeSums(sum, entropy, squares, distance, four);
      state->entropy = four[1];
      state->squares = four[2];
      state->distance = four[3];
    } else {
      TreeSums(sum, sum, sum, sum, four);
    }
    state->sum = four[0];
  }
};

// Phase by phase over the rows, so that the reductions at the end of one row run beside those of the next.
template <bool kMeasure>
HWY_INLINE void SoftmaxRows(const SoftmaxArgs& args) {
  constexpr int kGroup = kParts > kMaxVectors ? kParts : kMaxVectors;
  const DF d;
  float max[tile_rows];
  for (int r = 0; r < args.rows; ++r) {
    float* s = args.s + r * args.lds;
    const int64_t whole = (args.keys[r] + lanes - 1) / lanes * lanes;
    for (int64_t j = args.keys[r]; j < whole; ++j) s[j] = -std::numeric_limits<float>::infinity();
    max[r] = BlockMax(s, whole);
  }
  for (int r = 0; kMeasure && r < args.rows; ++r)
    args.state[r].max_key = max[r] > args.seen_max[r]
                                ? FirstKey(args.s + r * args.lds, (args.keys[r] + lanes - 1) / lanes * lanes, max[r])
                                : -1;
  for (int r = 0; r < args.rows; ++r) {
    float* s = args.s + r * args.lds;
    const int64_t whole = (args.keys[r] + lanes - 1) / lanes * lanes;
    const VF m = hn::Set(d, max[r] == -std::numeric_limits<float>::infinity() ? 0.0F : max[r]);
    RowSums<kMeasure> sums;
    sums.Clear(args.origin == nullptr ? 0.0F : args.origin[r]);
    int64_t j = 0;
    for (; j + kGroup * kLanes <= whole; j += kGroup * kLanes) sums.template Take<kGroup>(s + j, m);
    for (; j < whole; j += kParts * kLanes) sums.template Take<kParts>(s + j, m);
    for (j = whole; j < args.padded; j += kLanes) hn::StoreU(hn::Zero(d), d, s + j);
    args.state[r].max = max[r] + 0.0F;  // 0 rather than -0, whichever lane it came from
    sums.Finish(&args.state[r]);
  }
}

inline void SoftmaxRowsAny(const SoftmaxArgs& args) {
  args.seen_max != nullptr ? SoftmaxRows<true>(args) : SoftmaxRows<false>(args);
}

// To the nearest integer, ties to even, |x| < 2^31. Highway's own also mends what lies beyond, for three instructions.
HWY_INLINE hn::Vec<hn::RebindToUnsigned<DF>> RoundSmall(VF x) {
#if HWY_TARGET == HWY_AVX3
  return hn::Vec<hn::RebindToUnsigned<DF>>{_mm512_cvtps_epi32(x.raw)};
#elif HWY_TARGET == HWY_AVX2
  return hn::Vec<hn::RebindToUnsigned<DF>>{_mm256_cvtps_epi32(x.raw)};
#else
  return hn::BitCast(hn::RebindToUnsigned<DF>(), hn::NearestInt(x));
#endif
}

template <int R, bool kLargest>
HWY_INLINE void FinishRows(const FinishArgs& args) {
  const DF d;
  const hn::RebindToUnsigned<DF> du;
  VF f[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) f[r] = hn::Set(d, args.factor27[r]);
  for (int64_t j = 0; j < args.padded; j += kLanes) {
    auto fixed = hn::LoadU(du, args.received + j);
    VF largest = kLargest ? hn::LoadU(d, args.largest + j) : hn::Zero(d);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const VF w = hn::Mul(hn::LoadU(d, args.p + r * args.ldp + j), f[r]);
      fixed = hn::Add(fixed, RoundSmall(w));
      if constexpr (kLargest) largest = hn::Max(w, largest);
    }
    hn::StoreU(fixed, du, args.received + j);
    if constexpr (kLargest) hn::StoreU(largest, d, args.largest + j);
  }
}

template <bool kLargest>
HWY_INLINE void FinishRowsOf(const FinishArgs& args) {
  switch (args.rows) {
    case 6:
      return FinishRows<6, kLargest>(args);
    case 5:
      return FinishRows<5, kLargest>(args);
    case 4:
      return FinishRows<4, kLargest>(args);
    case 3:
      return FinishRows<3, kLargest>(args);
    case 2:
      return FinishRows<2, kLargest>(args);
    default:
      return FinishRows<1, kLargest>(args);
  }
}

inline void FinishRowsAny(const FinishArgs& args) {
  args.largest != nullptr ? FinishRowsOf<true>(args) : FinishRowsOf<false>(args);
}

inline void MergeStatesAny(float* max, float* sum, const float* block_max, const float* block_sum, float* a, float* b,
                           int64_t n) {
  const DF d;
  const VF nothing = hn::Set(d, -std::numeric_limits<float>::infinity());
  for (int64_t i = 0; i < n; i += kLanes) {
    const VF old = hn::LoadU(d, max + i), block = hn::LoadU(d, block_max + i);
    const VF now = hn::Max(old, block);
    const VF base = hn::IfThenElse(hn::Eq(now, nothing), hn::Zero(d), now);
    const VF va = ExpBelow(d, hn::Sub(old, base)), vb = ExpBelow(d, hn::Sub(block, base));
    hn::StoreU(va, d, a + i);
    hn::StoreU(vb, d, b + i);
    hn::StoreU(now, d, max + i);
    hn::StoreU(hn::MulAdd(hn::LoadU(d, sum + i), va, hn::Mul(hn::LoadU(d, block_sum + i), vb)), d, sum + i);
  }
}

inline void ExpBelowAny(const float* x, float* y, int64_t n) {
  const DF d;
  for (int64_t i = 0; i < n; i += kLanes) hn::StoreU(ExpBelow(d, hn::LoadU(d, x + i)), d, y + i);
}

inline void CarryAny(const CarryArgs& args) {
  const DF d;
  const hn::RebindToSigned<DF> di;
  const hn::RebindToUnsigned<DF> du;
  const hn::Rebind<uint64_t, hn::Half<DF>> dw;
  const hn::Rebind<uint32_t, decltype(dw)> dn;
  for (int64_t j = 0; j < args.keys && args.sums != nullptr; j += static_cast<int64_t>(hn::MaxLanes(dw)))
    hn::StoreU(hn::Add(hn::LoadU(dw, args.sums + j), hn::PromoteTo(dw, hn::LoadU(dn, args.received + j))), dw,
               args.sums + j);
  for (int64_t j = 0; j < args.keys && args.cell_sum != nullptr; j += lanes) {
    auto sum = hn::LoadU(di, reinterpret_cast<const int32_t*>(args.received + j));
    for (int i = 1; i < kParts; ++i)
      sum = hn::Add(sum, hn::LoadU(di, reinterpret_cast<const int32_t*>(args.received + j + i * kLanes)));
    // In two halves: the compiler's own reduction adds signed lanes, where passing 2^31 is undefined.
    const auto low = hn::SumOfLanes(di, hn::And(sum, hn::Set(di, 0xFFFF)));
    const auto high = hn::SumOfLanes(di, hn::BitCast(di, hn::ShiftRight<16>(hn::BitCast(du, sum))));
    args.cell_sum[j / lanes] =
        static_cast<uint32_t>(hn::GetLane(low)) + (static_cast<uint32_t>(hn::GetLane(high)) << 16);
    if (args.largest == nullptr) continue;
    VF max = hn::LoadU(d, args.largest + j);
    for (int i = 1; i < kParts; ++i) max = hn::Max(max, hn::LoadU(d, args.largest + j + i * kLanes));
    args.cell_max[j / lanes] = hn::GetLane(hn::MaxOfLanes(d, max));
  }
}

}  // namespace bareattn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
