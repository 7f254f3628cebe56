// Elements of any type and stride to dense f32, and back: the only place where the front door looks at a DType.
// Widening is exact, narrowing rounds to nearest even. Pointers need no alignment. f64 is the reference's alone.
#pragma once
#include <cstdint>

#include "bareattn/tensor.h"

namespace bareattn::attend {

/// Whether a kernel can read it in place: f32 at an address that a float may have.
bool is_plain(const ConstTensor& tensor);
/// Address of element (i, j, k, l).
const void* address(const ConstTensor& tensor, int64_t i, int64_t j, int64_t k, int64_t l);

/// to[0, count) = count elements that are `step` elements apart, from `from` on.
void widen(DType dtype, const void* from, int64_t step, int64_t count, float* to);
void widen(DType dtype, const void* from, int64_t step, int64_t count, double* to);
void narrow(const float* from, int64_t count, DType dtype, void* to, int64_t step);
void narrow(const double* from, int64_t count, DType dtype, void* to, int64_t step);

}  // namespace bareattn::attend
