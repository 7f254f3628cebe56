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

template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpBelow(D d, V x) {
  using C = ExpConstants;
  const hn::RebindToUnsigned<D> du;
  const V magic = hn::Set(d, C::magic);
  const V one = hn::Set(d, 1.0F);
  const V t = hn::MulAdd(x, hn::Set(d, C::log2e), magic);
  const V n = hn::Sub(t, magic);
  V f = hn::MulAdd(n, hn::Set(d, -C::ln2_hi), x);
  f = hn::MulAdd(n, hn::Set(d, -C::ln2_lo), f);
  V r = hn::MulAdd(hn::Set(d, C::c6), f, hn::Set(d, C::c5));
  r = hn::MulAdd(r, f, hn::Set(d, C::c4));
  r = hn::MulAdd(r, f, hn::Set(d, C::c3));
  r = hn::MulAdd(r, f, hn::Set(d, C::c2));
  r = hn::MulAdd(r, f, one);
  r = hn::MulAdd(r, f, one);
  const auto bits = hn::Add(hn::BitCast(du, r), hn::ShiftLeft<23>(hn::BitCast(du, t)));
  // Max returns its second operand when either is NaN on x86, and NaN elsewhere: NaN comes through.
  return hn::IfThenElse(hn::Ge(x, hn::Set(d, C::lowest)), hn::BitCast(d, bits), hn::Max(hn::Zero(d), x));
}

}  // namespace bareattn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
