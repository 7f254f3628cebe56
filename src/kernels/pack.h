// Moving 32-bit units (an f32, or two bf16) from rows to panels. No arithmetic.
#pragma once
#include <cstdint>

namespace bareattn::kernels {

/// to[c * ld_to + r] = from[r * ld_from + c] for r in [0, rows), c in [0, columns); any alignment, no overlap.
void transpose32(const void* from, int64_t ld_from, int64_t rows, int64_t columns, void* to, int64_t ld_to) noexcept;

}  // namespace bareattn::kernels
