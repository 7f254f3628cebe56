// exp.h in vectors of any width, bit for bit. Included once per target by fast.cc and elementwise.cc.
#if defined(BAREATTN_KERNELS_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BAREATTN_KERNELS_EXP_INL_H_
#undef BAREATTN_KERNELS_EXP_INL_H_
#else
#define BAREATTN_KERNELS_EXP_INL_H_
#endif
#include <hwy/highway.h>

#include "kernels/exp.h"

HWY_BEFORE_NAMESPACE();
namespace bareattn::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// r * 2^n, 0 where x < lowest; counts: the other lanes (NaN may be either). n is t - magic and stands in the low bits
// of t, too. AVX-512 has an instruction that multiplies by 2^n and clears what is not in the mask, for x <= 0 or NaN
// (kBelow): at +infinity it has a rule of its own.
template <bool kBelow, class D, class V = hn::Vec<D>>
HWY_INLINE V Scaled(D d, V r, [[maybe_unused]] V t, [[maybe_unused]] V n, V x, hn::Mask<D>* counts) {
  const V lowest = hn::Set(d, ExpConstants::lowest);
#if HWY_TARGET == HWY_AVX3
  if constexpr (kBelow && hn::MaxLanes(d) == 16) {
    const __mmask16 keep = _mm512_cmp_ps_mask(x.raw, lowest.raw, _CMP_NLT_UQ);
    *counts = hn::Mask<D>{keep};
    return V{_mm512_maskz_scalef_ps(keep, r.raw, n.raw)};
  }
#endif
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::Add(hn::BitCast(du, r), hn::ShiftLeft<23>(hn::BitCast(du, t)));
  *counts = hn::Ge(x, lowest);
  // Max returns its second operand when either is NaN on x86, and NaN elsewhere: NaN comes through.
  return hn::IfThenElse(*counts, hn::BitCast(d, bits), hn::Max(hn::Zero(d), x));
}

// x[i] becomes e^x[i]. Step by step over all N: the chain of one is 50 cycles long, and with one vector after the other
// the scheduler holds too few of them to fill both pipes (9.1 cycles per vector instead of 5).
template <bool kBelow, int N, class D, class V = hn::Vec<D>>
HWY_INLINE void ExpBelow(D d, V (&x)[N], hn::Mask<D> (&counts)[N]) {
  using C = ExpConstants;
  const V one = hn::Set(d, 1.0F);
  V t[N], n[N], f[N], r[N];
#define BAREATTN_EACH _Pragma("GCC unroll 8") for (int i = 0; i < N; ++i)
  BAREATTN_EACH t[i] = hn::MulAdd(x[i], hn::Set(d, C::log2e), hn::Set(d, C::magic));
  BAREATTN_EACH n[i] = hn::Sub(t[i], hn::Set(d, C::magic));
  BAREATTN_EACH f[i] = hn::MulAdd(n[i], hn::Set(d, -C::ln2_hi), x[i]);
  BAREATTN_EACH f[i] = hn::MulAdd(n[i], hn::Set(d, -C::ln2_lo), f[i]);
  BAREATTN_EACH r[i] = hn::MulAdd(hn::Set(d, C::c6), f[i], hn::Set(d, C::c5));
  BAREATTN_EACH r[i] = hn::MulAdd(r[i], f[i], hn::Set(d, C::c4));
  BAREATTN_EACH r[i] = hn::MulAdd(r[i], f[i], hn::Set(d, C::c3));
  BAREATTN_EACH r[i] = hn::MulAdd(r[i], f[i], hn::Set(d, C::c2));
  BAREATTN_EACH r[i] = hn::MulAdd(r[i], f[i], one);
  BAREATTN_EACH r[i] = hn::MulAdd(r[i], f[i], one);
  BAREATTN_EACH x[i] = Scaled<kBelow>(d, r[i], t[i], n[i], x[i], &counts[i]);
#undef BAREATTN_EACH
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpBelow(D d, V x) {
  V one[1] = {x};
  hn::Mask<D> counts[1];
  ExpBelow<false>(d, one, counts);
  return one[0];
}

}  // namespace bareattn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
