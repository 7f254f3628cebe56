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

// x[i] becomes e^x[i]. Step by step over all N: the chain of one is 50 cycles long, and with one vector after the other
// the scheduler holds too few of them to fill both pipes (9.1 cycles per vector instead of 5).
template <int N, class D, class V = hn::Vec<D>>
HWY_INLINE void ExpBelow(D d, V (&x)[N]) {
  using C = ExpConstants;
  const hn::RebindToUnsigned<D> du;
  const V one = hn::Set(d, 1.0F);
  V t[N], f[N], r[N];
#define BAREATTN_EACH _Pragma("GCC unroll 8") for (int i = 0; i < N; ++i)
  BAREATTN_EACH t[i] = hn::MulAdd(x[i], hn::Set(d, C::log2e), hn::Set(d, C::magic));
  BAREATTN_EACH r[i] = hn::Sub(t[i], hn::Set(d, C::magic));
  BAREATTN_EACH f[i] = hn::MulAdd(r[i], hn::Set(d, -C::ln2_hi), x[i]);
  BAREATTN_EACH f[i] = hn::MulAdd(r[i], hn::Set(d, -C::ln2_lo), f[i]);
  BAREATTN_EACH r[i] = hn::MulAdd(hn::Set(d, C::c6), f[i], hn::Set(d, C::c5));
  BAREATTN_EACH r[i] = hn::MulAdd(r[i], f[i], hn::Set(d, C::c4));
  BAREATTN_EACH r[i] = hn::MulAdd(r[i], f[i], hn::Set(d, C::c3));
  BAREATTN_EACH r[i] = hn::MulAdd(r[i], f[i], hn::Set(d, C::c2));
  BAREATTN_EACH r[i] = hn::MulAdd(r[i], f[i], one);
  BAREATTN_EACH r[i] = hn::MulAdd(r[i], f[i], one);
  // Max returns its second operand when either is NaN on x86, and NaN elsewhere: NaN comes through.
  BAREATTN_EACH {
    const auto bits = hn::Add(hn::BitCast(du, r[i]), hn::ShiftLeft<23>(hn::BitCast(du, t[i])));
    x[i] = hn::IfThenElse(hn::Ge(x[i], hn::Set(d, C::lowest)), hn::BitCast(d, bits), hn::Max(hn::Zero(d), x[i]));
  }
#undef BAREATTN_EACH
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpBelow(D d, V x) {
  V one[1] = {x};
  ExpBelow(d, one);
  return one[0];
}

}  // namespace bareattn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
