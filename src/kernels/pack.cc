// transpose32 by 4 x 4 blocks in 128-bit registers, which every target has: memory is the limit, not the width.
#include "kernels/pack.h"

#include <hwy/highway.h>

namespace bareattn::kernels {
namespace hn = hwy::HWY_NAMESPACE;

void transpose32(const void* from_bits, int64_t ld_from, int64_t rows, int64_t columns, void* to_bits,
                 int64_t ld_to) noexcept {
  const auto* from = static_cast<const uint32_t*>(from_bits);
  auto* to = static_cast<uint32_t*>(to_bits);
  int64_t r = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::FixedTag<uint32_t, 4> d;
  const hn::FixedTag<uint64_t, 2> d2;
  for (; r + 4 <= rows; r += 4) {
    const uint32_t* row = from + r * ld_from;
    int64_t c = 0;
    for (; c + 4 <= columns; c += 4) {
      const auto a = hn::LoadU(d, row + c), b = hn::LoadU(d, row + ld_from + c);
      const auto e = hn::LoadU(d, row + 2 * ld_from + c), f = hn::LoadU(d, row + 3 * ld_from + c);
      const auto ab_low = hn::BitCast(d2, hn::InterleaveLower(d, a, b)),
                 ef_low = hn::BitCast(d2, hn::InterleaveLower(d, e, f));
      const auto ab_up = hn::BitCast(d2, hn::InterleaveUpper(d, a, b)),
                 ef_up = hn::BitCast(d2, hn::InterleaveUpper(d, e, f));
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d2, ab_low, ef_low)), d, to + c * ld_to + r);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d2, ab_low, ef_low)), d, to + (c + 1) * ld_to + r);
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d2, ab_up, ef_up)), d, to + (c + 2) * ld_to + r);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d2, ab_up, ef_up)), d, to + (c + 3) * ld_to + r);
    }
    for (; c < columns; ++c)
      for (int64_t i = 0; i < 4; ++i) to[c * ld_to + r + i] = row[i * ld_from + c];
  }
#endif
  for (; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) to[c * ld_to + r] = from[r * ld_from + c];
}

}  // namespace bareattn::kernels
