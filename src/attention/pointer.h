// The address of an element of a view that may have no data: TensorView::at would make a reference to nothing of it.
#pragma once
#include <cstdint>

#include "bareattn/tensor_view.h"

namespace bareattn::attend {

/// Where at(i, j, k) lies; null where the view has no data.
template <class T>
T* pointer_to(const TensorView<T>& x, int64_t i, int64_t j = 0, int64_t k = 0) {
  return x.data == nullptr ? nullptr : x.data + (i * x.stride[0] + j * x.stride[1] + k * x.stride[2]);
}

}  // namespace bareattn::attend
