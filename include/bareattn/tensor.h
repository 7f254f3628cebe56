// A view whose element type is known at run time: what the front door takes, so that f32, f16 and bf16 (and booleans,
// for masks) share one signature. It owns nothing; strides are in elements and may be zero or negative. A TensorView
// converts to it. Next: attention.h.
#pragma once
#include <array>
#include <cstdint>
#include <type_traits>

#include "bareattn/tensor_view.h"

namespace bareattn {

enum class DType : uint8_t { f32, f16, bf16, f64, boolean };

/// "float32", "float16", "bfloat16", "float64", "bool"
const char* name(DType dtype);
int64_t bytes_of(DType dtype);

/// The two 16-bit formats as bits: binary16 and bfloat16.
struct F16 {
  uint16_t bits;
};
struct BF16 {
  uint16_t bits;
};

template <class T>
constexpr DType dtype_of() {
  using U = std::remove_const_t<T>;
  static_assert(std::is_same_v<U, float> || std::is_same_v<U, F16> || std::is_same_v<U, BF16> ||
                std::is_same_v<U, double> || std::is_same_v<U, bool> || std::is_same_v<U, uint8_t>);
  if constexpr (std::is_same_v<U, float>) return DType::f32;
  if constexpr (std::is_same_v<U, F16>) return DType::f16;
  if constexpr (std::is_same_v<U, BF16>) return DType::bf16;
  if constexpr (std::is_same_v<U, double>) return DType::f64;
  return DType::boolean;
}

/// Void is `const void` (read) or `void` (written).
template <class Void>
struct BasicTensor {
  static constexpr int max_rank = 4;
  Void* data = nullptr;
  DType dtype = DType::f32;
  int rank = 0;  // 0: there is none
  std::array<int64_t, max_rank> shape{};
  std::array<int64_t, max_rank> stride{};  // in elements

  BasicTensor() = default;
  template <class T>
  requires(std::is_const_v<Void> || !std::is_const_v<T>)
      BasicTensor(const TensorView<T>& view)  // NOLINT: a typed view is a view
      : data(view.data), dtype(dtype_of<T>()), rank(view.rank), shape(view.shape), stride(view.stride) {}
  template <class Other>
  requires(std::is_const_v<Void> && !std::is_const_v<Other>)
      BasicTensor(const BasicTensor<Other>& other)  // NOLINT: a mutable view is a const view
      : data(other.data), dtype(other.dtype), rank(other.rank), shape(other.shape), stride(other.stride) {}

  int64_t size() const {
    int64_t n = 1;
    for (int axis = 0; axis < rank; ++axis) n *= shape[axis];
    return n;
  }
};
using ConstTensor = BasicTensor<const void>;
using MutableTensor = BasicTensor<void>;

/// [B, S, H, D] in memory, seen as [B, H, S, D].
template <class T>
TensorView<T> bshd(T* data, int64_t batch, int64_t length, int64_t heads, int64_t dim) {
  return {data, {batch, heads, length, dim}, {length * heads * dim, dim, heads * dim, 1}};
}
/// [B, S, H * D] in memory (the packed 3-D layout), seen as [B, H, S, D]: the same memory as bshd.
template <class T>
TensorView<T> packed(T* data, int64_t batch, int64_t length, int64_t heads, int64_t dim) {
  return bshd(data, batch, length, heads, dim);
}

}  // namespace bareattn
