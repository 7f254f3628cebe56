// The array forms of convert.h, compiled once per target and chosen at run time. All steps are the scalar form's, on
// integers and on one float addition, so no target's own conversion instruction (whose treatment of NaN payloads and
// subnormals differs) has a say. About 12 instructions per vector: memory bandwidth is the limit from L2 outwards.
#include "kernels/convert.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/convert.cc"
#include <hwy/foreach_target.h>  // first
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace bareattn::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::ScalableTag<float>;
using DU = hn::RebindToUnsigned<DF>;
using DI = hn::RebindToSigned<DF>;
using DH = hn::Rebind<uint16_t, DF>;

void F16FromF32(const float* HWY_RESTRICT from, uint16_t* HWY_RESTRICT to, int64_t count) {
  const DF df;
  const DU du;
  const DI di;
  const DH dh;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  const auto infinity = hn::Set(du, 0x7F800000U), last_finite = hn::Set(du, ((127U + 16) << 23) - 1);
  const auto first_normal = hn::Set(du, (127U - 14) << 23), magic = hn::Set(du, ((127U - 15) + (23 - 10) + 1) << 23);
  const auto rebias = hn::Set(du, 0xFFFU - ((127U - 15) << 23)), one = hn::Set(du, 1U);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto bits = hn::BitCast(du, hn::LoadU(df, from + i));
    const auto size = hn::And(bits, hn::Set(du, 0x7FFFFFFFU));
    const auto sign = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 0x8000U));
    const auto odd = hn::And(hn::ShiftRight<13>(size), one);
    const auto normal = hn::ShiftRight<13>(hn::Add(hn::Add(size, rebias), odd));
    const auto sum = hn::Add(hn::BitCast(df, size), hn::BitCast(df, magic));
    const auto subnormal = hn::Sub(hn::BitCast(du, sum), magic);
    const auto special = hn::IfThenElse(hn::Gt(size, infinity), hn::Set(du, 0x7E00U), hn::Set(du, 0x7C00U));
    auto half = hn::IfThenElse(hn::Gt(first_normal, size), subnormal, normal);
    half = hn::IfThenElse(hn::Gt(size, last_finite), special, half);
    hn::StoreU(hn::DemoteTo(dh, hn::BitCast(di, hn::Or(half, sign))), dh, to + i);
  }
  for (; i < count; ++i) to[i] = kernels::f16_from_f32(from[i]);
}

void F32FromF16(const uint16_t* HWY_RESTRICT from, float* HWY_RESTRICT to, int64_t count) {
  const DF df;
  const DU du;
  const DH dh;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  const auto exponent = hn::Set(du, 0x7C00U << 13);
  const auto magic = hn::BitCast(df, hn::Set(du, (127U - 14) << 23));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto bits = hn::PromoteTo(du, hn::LoadU(dh, from + i));
    const auto sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(du, 0x8000U)));
    const auto shifted = hn::ShiftLeft<13>(hn::And(bits, hn::Set(du, 0x7FFFU)));
    const auto own = hn::And(shifted, exponent);
    const auto normal = hn::Add(shifted, hn::Set(du, (127U - 15) << 23));
    const auto special = hn::Add(normal, hn::Set(du, (128U - 16) << 23));
    const auto lifted = hn::BitCast(df, hn::Add(normal, hn::Set(du, 1U << 23)));
    auto size = hn::IfThenElse(hn::Eq(own, hn::Zero(du)), hn::BitCast(du, hn::Sub(lifted, magic)), normal);
    size = hn::IfThenElse(hn::Eq(own, exponent), special, size);
    hn::StoreU(hn::BitCast(df, hn::Or(size, sign)), df, to + i);
  }
  for (; i < count; ++i) to[i] = kernels::f32_from_f16(from[i]);
}

void Bf16FromF32(const float* HWY_RESTRICT from, uint16_t* HWY_RESTRICT to, int64_t count) {
  const DF df;
  const DU du;
  const DI di;
  const DH dh;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto bits = hn::BitCast(du, hn::LoadU(df, from + i));
    const auto size = hn::And(bits, hn::Set(du, 0x7FFFFFFFU));
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1U));
    const auto rounded = hn::ShiftRight<16>(hn::Add(hn::Add(bits, hn::Set(du, 0x7FFFU)), odd));
    const auto nan = hn::Or(hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 0x8000U)), hn::Set(du, 0x7FC0U));
    const auto half = hn::IfThenElse(hn::Gt(size, hn::Set(du, 0x7F800000U)), nan, rounded);
    hn::StoreU(hn::DemoteTo(dh, hn::BitCast(di, half)), dh, to + i);
  }
  for (; i < count; ++i) to[i] = kernels::bf16_from_f32(from[i]);
}

void F32FromBf16(const uint16_t* HWY_RESTRICT from, float* HWY_RESTRICT to, int64_t count) {
  const DF df;
  const DU du;
  const DH dh;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto bits = hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(dh, from + i)));
    hn::StoreU(hn::BitCast(df, bits), df, to + i);
  }
  for (; i < count; ++i) to[i] = kernels::f32_from_bf16(from[i]);
}

}  // namespace bareattn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bareattn::kernels {
HWY_EXPORT(F16FromF32);
HWY_EXPORT(F32FromF16);
HWY_EXPORT(Bf16FromF32);
HWY_EXPORT(F32FromBf16);

void f16_from_f32(const float* from, uint16_t* to, int64_t count) noexcept {
  HWY_DYNAMIC_DISPATCH(F16FromF32)(from, to, count);
}
void f32_from_f16(const uint16_t* from, float* to, int64_t count) noexcept {
  HWY_DYNAMIC_DISPATCH(F32FromF16)(from, to, count);
}
void bf16_from_f32(const float* from, uint16_t* to, int64_t count) noexcept {
  HWY_DYNAMIC_DISPATCH(Bf16FromF32)(from, to, count);
}
void f32_from_bf16(const uint16_t* from, float* to, int64_t count) noexcept {
  HWY_DYNAMIC_DISPATCH(F32FromBf16)(from, to, count);
}
}  // namespace bareattn::kernels
#endif
