// The states of rows over blocks of keys: merged block by block into one (merge_states), and, when all are in, the
// factor by which each block's weights count and the rows' measures (join_states).
#if defined(BAREATTN_KERNELS_STATES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BAREATTN_KERNELS_STATES_INL_H_
#undef BAREATTN_KERNELS_STATES_INL_H_
#else
#define BAREATTN_KERNELS_STATES_INL_H_
#endif
#include <hwy/highway.h>

#include <limits>

#include "kernels/exp-inl.h"
#include "kernels/kernels.h"
#include "kernels/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bareattn::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

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

inline void JoinFactors(const JoinArgs& args) {
  const DF d;
  const VF infinity = hn::Set(d, std::numeric_limits<float>::infinity());
  for (int64_t r = 0; r < args.rows; r += kLanes) {
    const VF max = hn::LoadU(d, args.max + r), sum = hn::LoadU(d, args.sum + r);
    const VF base = hn::IfThenElse(hn::Eq(max, hn::Neg(infinity)), hn::Zero(d), max);
    const VF total = hn::IfThenElse(hn::Eq(sum, hn::Zero(d)), infinity, sum);
    for (int64_t b = 0; b < args.blocks; ++b) {
      const VF x = hn::Sub(hn::LoadU(d, args.states.max + b * args.stride + r), base);
      hn::StoreU(hn::Div(ExpBelow(d, x), total), d, args.factor + b * args.stride + r);
    }
  }
}

inline void JoinKeys(const JoinArgs& args) {
  const DF d;
  const hn::RebindToSigned<DF> di;
  for (int64_t r = 0; r < args.rows; r += kLanes) {
    const VF max = hn::LoadU(d, args.max + r);
    auto key = hn::LoadU(di, args.max_key + r);
    for (int64_t b = args.blocks - 1; b >= 0; --b) {
      const auto own = hn::LoadU(di, args.states.max_key + b * args.stride + r);
      const auto here = hn::And(hn::Gt(own, hn::Set(di, -1)),
                                hn::RebindMask(di, hn::Eq(hn::LoadU(d, args.states.max + b * args.stride + r), max)));
      const auto start = hn::Set(di, args.first_key + static_cast<int32_t>(b * block_keys));
      key = hn::IfThenElse(here, hn::Add(start, own), key);
    }
    hn::StoreU(key, di, args.max_key + r);
  }
}

inline void JoinMeasures(const JoinArgs& args) {
  const hn::CappedTag<double, 8> d;
  const hn::Rebind<float, decltype(d)> df;
  const auto zero = hn::Zero(d);
  const auto wide = [&](const float* from) HWY_ATTR { return hn::PromoteTo(d, hn::LoadU(df, from)); };
  for (int64_t r = 0; r < args.rows; r += static_cast<int64_t>(hn::MaxLanes(d))) {
    const auto max = wide(args.max + r);
    auto entropy = hn::LoadU(d, args.entropy + r), squares = hn::LoadU(d, args.squares + r),
         distance = hn::LoadU(d, args.distance + r);
    for (int64_t b = args.blocks - 1; b >= 0; --b) {
      const int64_t at = b * args.stride + r;
      const auto share = wide(args.factor + at), sum = wide(args.states.sum + at);
      // Not Ne: what is no number counts, and shows.
      const auto counts = hn::Not(hn::Or(hn::Eq(share, zero), hn::Eq(sum, zero)));
      const auto above = hn::Mul(sum, hn::Sub(wide(args.states.max + at), max));
      const auto part = hn::Mul(share, hn::Add(wide(args.states.entropy + at), above));
      entropy = hn::Sub(entropy, hn::IfThenElseZero(counts, part));
      squares =
          hn::Add(squares, hn::IfThenElseZero(counts, hn::Mul(hn::Mul(share, share), wide(args.states.squares + at))));
      distance = hn::Add(distance, hn::IfThenElseZero(counts, hn::Mul(share, wide(args.states.distance + at))));
    }
    hn::StoreU(entropy, d, args.entropy + r);
    hn::StoreU(squares, d, args.squares + r);
    hn::StoreU(distance, d, args.distance + r);
  }
}

inline void JoinStatesAny(const JoinArgs& args) {
  JoinFactors(args);
  if (args.entropy == nullptr) return;
  JoinKeys(args);
  JoinMeasures(args);
}

}  // namespace bareattn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
