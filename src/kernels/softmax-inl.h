// The pass over a strip of scores: maximum, exponentials, sums (softmax_block), and, once a row is finished, what it
// gives to each key (finish_rows, carry). Sums run in 16 virtual lanes (key mod 16) and end in one fixed tree, so that the
// width of the hardware does not show.
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

HWY_INLINE float TreeSum(const VF (&part)[kParts]) {
  HWY_ALIGN float lane[lanes];
  for (int i = 0; i < kParts; ++i) hn::Store(part[i], DF(), lane + i * kLanes);
  return tree_sum(lane);
}

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

template <bool kMeasure>
HWY_INLINE void SoftmaxBlock(float* HWY_RESTRICT s, int64_t keys, int64_t padded, float origin,
                             BlockState* HWY_RESTRICT state) {
  const DF d;
  const int64_t whole = (keys + lanes - 1) / lanes * lanes;
  for (int64_t j = keys; j < whole; ++j) s[j] = -std::numeric_limits<float>::infinity();
  const float max = BlockMax(s, whole);
  const bool nothing = max == -std::numeric_limits<float>::infinity();
  const VF m = hn::Set(d, nothing ? 0.0F : max);
  if constexpr (kMeasure) {  // in the scores: e^x is already 1 half an ulp below the maximum
    state->max_key = -1;
    const VF top = hn::Set(d, max);
    for (int64_t j = 0; j < whole && !nothing; j += kLanes) {
      const auto found = hn::Eq(hn::LoadU(d, s + j), top);
      if (hn::AllFalse(d, found)) continue;
      state->max_key = static_cast<int32_t>(j + hn::FindFirstTrue(d, found));
      break;
    }
  }
  VF sum[kParts], entropy[kParts], squares[kParts], distance[kParts], away[kParts];
  for (int i = 0; i < kParts; ++i) {
    sum[i] = entropy[i] = squares[i] = distance[i] = hn::Zero(d);
    away[i] = hn::Sub(hn::Set(d, origin), hn::Iota(d, static_cast<float>(i * kLanes)));
  }
  const VF lowest = hn::Set(d, -1e30F), step = hn::Set(d, static_cast<float>(lanes));
  for (int64_t j = 0; j < whole; j += lanes) {
#pragma GCC unroll 4
    for (int i = 0; i < kParts; ++i) {
      const VF x = hn::Sub(hn::LoadU(d, s + j + i * kLanes), m);
      const VF p = ExpBelow(d, x);
      hn::StoreU(p, d, s + j + i * kLanes);
      sum[i] = hn::Add(sum[i], p);
      if constexpr (kMeasure) {
        entropy[i] = hn::MulAdd(p, hn::Max(x, lowest), entropy[i]);  // 0 * -inf would be NaN
        squares[i] = hn::MulAdd(p, p, squares[i]);
        distance[i] = hn::MulAdd(p, away[i], distance[i]);
        away[i] = hn::Sub(away[i], step);
      }
    }
  }
  for (int64_t j = whole; j < padded; j += kLanes) hn::StoreU(hn::Zero(d), d, s + j);
  state->max = max + 0.0F;  // 0 rather than -0, whichever lane it came from
  state->sum = TreeSum(sum);
  if constexpr (kMeasure) {
    state->entropy = TreeSum(entropy);
    state->squares = TreeSum(squares);
    state->distance = TreeSum(distance);
  }
}

inline void SoftmaxBlockAny(float* s, int64_t keys, int64_t padded, bool measure, float origin, BlockState* state) {
  measure ? SoftmaxBlock<true>(s, keys, padded, origin, state) : SoftmaxBlock<false>(s, keys, padded, origin, state);
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

template <int R>
HWY_INLINE void FinishRows(const FinishArgs& args) {
  const DF d;
  const hn::RebindToUnsigned<DF> du;
  VF f[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) f[r] = hn::Set(d, args.factor27[r]);
  for (int64_t j = 0; j < args.padded; j += kLanes) {
    auto fixed = hn::LoadU(du, args.received + j);
    VF largest = hn::LoadU(d, args.largest + j);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const VF w = hn::Mul(hn::LoadU(d, args.p + r * args.ldp + j), f[r]);
      fixed = hn::Add(fixed, RoundSmall(w));
      largest = hn::Max(w, largest);
    }
    hn::StoreU(fixed, du, args.received + j);
    hn::StoreU(largest, d, args.largest + j);
  }
}

inline void FinishRowsAny(const FinishArgs& args) {
  switch (args.rows) {
    case 6: return FinishRows<6>(args);
    case 5: return FinishRows<5>(args);
    case 4: return FinishRows<4>(args);
    case 3: return FinishRows<3>(args);
    case 2: return FinishRows<2>(args);
    default: return FinishRows<1>(args);
  }
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
    VF max = hn::LoadU(d, args.largest + j);
    for (int i = 1; i < kParts; ++i) {
      sum = hn::Add(sum, hn::LoadU(di, reinterpret_cast<const int32_t*>(args.received + j + i * kLanes)));
      max = hn::Max(max, hn::LoadU(d, args.largest + j + i * kLanes));
    }
    // In two halves: the compiler's own reduction adds signed lanes, where passing 2^31 is undefined.
    const auto low = hn::SumOfLanes(di, hn::And(sum, hn::Set(di, 0xFFFF)));
    const auto high = hn::SumOfLanes(di, hn::BitCast(di, hn::ShiftRight<16>(hn::BitCast(du, sum))));
    args.cell_sum[j / lanes] =
        static_cast<uint32_t>(hn::GetLane(low)) + (static_cast<uint32_t>(hn::GetLane(high)) << 16);
    args.cell_max[j / lanes] = hn::GetLane(hn::MaxOfLanes(d, max));
  }
}

}  // namespace bareattn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
