// The pass over a strip of scores: maximum, exponentials, sums. What becomes of the
// blocks' states: states-inl.h; what finished rows give to each key: finish-inl.h. Sums run in 16 virtual lanes (key
// mod 16) and end in one fixed tree, so that the width of the hardware does not show.
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

struct AddLanes {
  template <class V>
  HWY_INLINE V operator()(V a, V b) const {
    return hn::Add(a, b);
  }
};
struct MaxLanes {
  template <class V>
  HWY_INLINE V operator()(V a, V b) const {
    return hn::Max(a, b);
  }
};

// The trees (tree.h) of four times 16 lanes at once, to[0, 4), by sums or another operation.
#if HWY_TARGET == HWY_SCALAR
template <class Op, class D, class V = hn::Vec<D>, class T = hn::TFromD<D>>
HWY_INLINE void FourTrees(Op op, D, const V (&a)[kParts], const V (&b)[kParts], const V (&c)[kParts],
                          const V (&e)[kParts], T* to) {
  const V* all[] = {a, b, c, e};
  for (int k = 0; k < 4; ++k) {
    V half[8];
    for (int i = 0; i < 8; ++i) half[i] = op(all[k][i], all[k][i + 8]);
    for (int i = 0; i < 4; ++i) half[i] = op(half[i], half[i + 4]);
    to[k] = hn::GetLane(op(op(half[0], half[2]), op(half[1], half[3])));
  }
}
#else
// The first two steps: lanes i and i + 8, then i and i + 4.
template <class Op, class V, class DQ>
HWY_INLINE hn::Vec<DQ> Quarter(Op op, DQ d, const V (&part)[kParts]) {
  if constexpr (kParts == 4) {
    return op(op(part[0], part[2]), op(part[1], part[3]));
  } else if constexpr (kParts == 2) {
    const auto both = op(part[0], part[1]);
    return op(hn::LowerHalf(d, both), hn::UpperHalf(d, both));
  } else {
    const hn::Twice<DQ> half;
    const auto both = op(hn::LowerHalf(half, part[0]), hn::UpperHalf(half, part[0]));
    return op(hn::LowerHalf(d, both), hn::UpperHalf(d, both));
  }
}
template <class Op, class D, class V = hn::Vec<D>, class T = hn::TFromD<D>>
HWY_INLINE void FourTrees(Op op, D, const V (&a)[kParts], const V (&b)[kParts], const V (&c)[kParts],
                          const V (&e)[kParts], T* to) {
  const hn::FixedTag<T, 4> d;
  const auto x = Quarter(op, d, a), y = Quarter(op, d, b), z = Quarter(op, d, c), w = Quarter(op, d, e);
  const auto xy = op(hn::InterleaveLower(d, x, y), hn::InterleaveUpper(d, x, y));  // (0, 2) and (1, 3) of each
  const auto zw = op(hn::InterleaveLower(d, z, w), hn::InterleaveUpper(d, z, w));
  hn::StoreU(op(hn::ConcatLowerLower(d, zw, xy), hn::ConcatUpperUpper(d, zw, xy)), d, to);
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

// e^x x joins where e^x is not 0: 0 times -inf would be NaN.
HWY_INLINE VF MulAddWhere(hn::Mask<DF> counts, VF p, VF x, VF sum) {
#if HWY_TARGET == HWY_AVX3
  return VF{_mm512_mask3_fmadd_ps(p.raw, x.raw, sum.raw, counts.raw)};
#else
  return hn::MulAdd(p, hn::IfThenElseZero(counts, x), sum);
#endif
}

// The distance in two steps: its multiple of 16 is the same for all lanes of a vector, a multiplier from memory that
// costs no instruction; what is left of it is a constant of the lane and comes in once, times the lane's sum.
template <bool kMeasure>
struct RowSums {
  VF sum[kParts], entropy[kParts], squares[kParts], distance[kParts];
  HWY_ALIGN float whole[kMeasure ? block_keys / lanes : 1];  // of the distance to each group of 16 keys
  int32_t rest;

  HWY_INLINE void Clear(int32_t origin) {
    const DF d;
    for (int i = 0; i < kParts; ++i) sum[i] = entropy[i] = squares[i] = distance[i] = hn::Zero(d);
    rest = origin & (lanes - 1);
    if constexpr (kMeasure) {
      const VF first = hn::Set(d, static_cast<float>(origin - rest));
      for (int t = 0; t < block_keys / lanes; t += kLanes)
        hn::Store(hn::Sub(first, hn::Mul(hn::Iota(d, static_cast<float>(t)), hn::Set(d, static_cast<float>(lanes)))), d,
                  whole + t);
    }
  }
  // N vectors of scores become weights. Vector i adds to the lanes of its part, in order.
  template <int N>
  HWY_INLINE void Take(float* s, int64_t j, VF m) {
    const DF d;
    VF x[N], p[N];
    hn::Mask<DF> counts[N];  // p is not 0
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) p[i] = x[i] = hn::Sub(hn::LoadU(d, s + j + i * kLanes), m);
    ExpBelow<true>(d, p, counts);
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) {
      const int part = i % kParts;
      hn::StoreU(p[i], d, s + j + i * kLanes);
      sum[part] = hn::Add(sum[part], p[i]);
      if constexpr (kMeasure) {
        entropy[part] = MulAddWhere(counts[i], p[i], x[i], entropy[part]);
        squares[part] = hn::MulAdd(p[i], p[i], squares[part]);
        distance[part] = hn::MulAdd(p[i], hn::Set(d, whole[j / lanes + i / kParts]), distance[part]);
      }
    }
  }
  HWY_INLINE void Finish(const BlockStates& state, int r) {
    float four[4];
    if constexpr (kMeasure) {
      const DF d;
      for (int i = 0; i < kParts; ++i)
        distance[i] =
            hn::MulAdd(hn::Sub(hn::Set(d, static_cast<float>(rest)), hn::Iota(d, static_cast<float>(i * kLanes))),
                       sum[i], distance[i]);
      FourTrees(AddLanes(), DF(), sum, entropy, squares, distance, four);
      state.entropy[r] = four[1];
      state.squares[r] = four[2];
      state.distance[r] = four[3];
    } else {
      FourTrees(AddLanes(), DF(), sum, sum, sum, sum, four);
    }
    state.sum[r] = four[0];
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
    args.state.max_key[r] = max[r] > args.seen_max[r]
                                ? FirstKey(args.s + r * args.lds, (args.keys[r] + lanes - 1) / lanes * lanes, max[r])
                                : -1;
  for (int r = 0; r < args.rows; ++r) {
    float* s = args.s + r * args.lds;
    const int64_t whole = (args.keys[r] + lanes - 1) / lanes * lanes;
    const VF m = hn::Set(d, max[r] == -std::numeric_limits<float>::infinity() ? 0.0F : max[r]);
    RowSums<kMeasure> sums;
    sums.Clear(kMeasure ? args.origin[r] : 0);
    int64_t j = 0;
    for (; j + kGroup * kLanes <= whole; j += kGroup * kLanes) sums.template Take<kGroup>(s, j, m);
    for (; j < whole; j += kParts * kLanes) sums.template Take<kParts>(s, j, m);
    for (j = whole; j < args.padded; j += kLanes) hn::StoreU(hn::Zero(d), d, s + j);
    args.state.max[r] = max[r] + 0.0F;  // 0 rather than -0, whichever lane it came from
    sums.Finish(args.state, r);
  }
}

inline void SoftmaxRowsAny(const SoftmaxArgs& args) {
  args.seen_max != nullptr ? SoftmaxRows<true>(args) : SoftmaxRows<false>(args);
}

}  // namespace bareattn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
