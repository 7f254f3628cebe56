// The bf16 score tile for machines without the instruction: the same order and the same flushing (bf16.h), in vectors.
// About a quarter of the f32 tile's speed; it is here so that bf16 gives one answer everywhere, not to be fast.
#if defined(BAREATTN_KERNELS_TILE_BF16_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BAREATTN_KERNELS_TILE_BF16_INL_H_
#undef BAREATTN_KERNELS_TILE_BF16_INL_H_
#else
#define BAREATTN_KERNELS_TILE_BF16_INL_H_
#endif
#include <hwy/highway.h>

#include <bit>

#include "kernels/convert.h"
#include "kernels/kernels.h"
#include "kernels/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bareattn::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

HWY_INLINE VF Flush(VF x) {
  const DF d;
  const hn::RebindToUnsigned<DF> du;
  const auto bits = hn::BitCast(du, x);
  const auto normal = hn::Ne(hn::And(bits, hn::Set(du, 0x7F800000U)), hn::Zero(du));
  const auto sign = hn::And(bits, hn::Set(du, 0x80000000U));
  return hn::BitCast(d, hn::IfThenElse(normal, bits, sign));
}

template <int R>
HWY_INLINE void EmulatedTile(const uint16_t* q, int64_t ldq, int64_t dims, const uint16_t* panel, float* s, int64_t lds,
                             bool accumulate) {
  const DF d;
  const hn::RebindToUnsigned<DF> du;
  const auto high_half = hn::Set(du, 0xFFFF0000U);
  VF acc[R];
  for (int r = 0; r < R; ++r) acc[r] = accumulate ? hn::LoadU(d, s + r * lds) : hn::Zero(d);
  for (int64_t i = 0; i < dims; i += 2) {
    const auto pair = hn::LoadU(du, reinterpret_cast<const uint32_t*>(panel + i * panel_keys));
    const VF odd = Flush(hn::BitCast(d, hn::And(pair, high_half)));
    const VF even = Flush(hn::BitCast(d, hn::ShiftLeft<16>(pair)));
    for (int r = 0; r < R; ++r) {
      const VF a1 = Flush(hn::BitCast(d, hn::Set(du, static_cast<uint32_t>(q[r * ldq + i + 1]) << 16)));
      const VF a0 = Flush(hn::BitCast(d, hn::Set(du, static_cast<uint32_t>(q[r * ldq + i]) << 16)));
      acc[r] = Flush(hn::MulAdd(a1, odd, Flush(acc[r])));
      acc[r] = Flush(hn::MulAdd(a0, even, acc[r]));
    }
  }
  for (int r = 0; r < R; ++r) hn::StoreU(acc[r], d, s + r * lds);
}

inline void ScoreTileBf16Emulated(const uint16_t* q, int64_t ldq, int rows, int64_t dims, const uint16_t* panel,
                                  int columns, float* s, int64_t lds, bool accumulate, const float* scale) {
  const DF d;
  for (int c = 0; c < columns; c += kLanes)
    for (int r = 0; r < rows; ++r) {
      float* to = s + r * lds + c;
      const int64_t in_panel = c % panel_keys;
      EmulatedTile<1>(q + r * ldq, ldq, dims, panel + (c - in_panel) * dims + 2 * in_panel, to, lds, accumulate);
      if (scale != nullptr) hn::StoreU(hn::Mul(hn::LoadU(d, to), hn::Set(d, scale[r])), d, to);
    }
}

inline void BlendBf16Emulated(const BlendArgs<uint16_t>& args) {
  const DF d;
  const hn::RebindToUnsigned<DF> du;
  const auto high_half = hn::Set(du, 0xFFFF0000U);
  for (int r = 0; r < args.rows; ++r)
    for (int64_t e = 0; e < args.dv; e += kLanes) {
      const uint16_t* p = args.p + r * args.ldp;
      VF acc = hn::Zero(d);
      for (int64_t j = 0; j < args.keys; j += 2) {
        const auto pair = hn::LoadU(du, reinterpret_cast<const uint32_t*>(args.v + j * args.ldv + 2 * e));
        const VF p1 = Flush(hn::BitCast(d, hn::Set(du, static_cast<uint32_t>(p[j + 1]) << 16)));
        const VF p0 = Flush(hn::BitCast(d, hn::Set(du, static_cast<uint32_t>(p[j]) << 16)));
        acc = Flush(hn::MulAdd(p1, Flush(hn::BitCast(d, hn::And(pair, high_half))), acc));
        acc = Flush(hn::MulAdd(p0, Flush(hn::BitCast(d, hn::ShiftLeft<16>(pair))), acc));
      }
      hn::StoreU(hn::Add(acc, hn::Zero(d)), d, args.o + r * args.ldo + e);
    }
}

inline void NarrowBf16(const float* from, uint16_t* to, int64_t n) { bf16_from_f32(from, to, n); }

}  // namespace bareattn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
