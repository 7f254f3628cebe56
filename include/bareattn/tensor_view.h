// TensorView<T>: data, shape, strides (in elements). It owns nothing. Axis names are spelled the same everywhere:
// B batch, Hq/Hkv query/key-value heads, Sq/Sk lengths, D/Dv head dims, N tokens, L layers, W model width.
#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <type_traits>

namespace bareattn {

template <class T>
struct TensorView {
  static constexpr int max_rank = 4;
  T* data = nullptr;
  int rank = 0;
  std::array<int64_t, max_rank> shape{};
  std::array<int64_t, max_rank> stride{};  // in elements; negative and zero are allowed

  TensorView() = default;
  /// A dense row-major view. rank <= 4.
  TensorView(T* p, std::initializer_list<int64_t> dims) : data(p), rank(static_cast<int>(dims.size())) {
    int axis = 0;
    for (int64_t n : dims) shape[axis++] = n;
    int64_t step = 1;
    for (axis = rank - 1; axis >= 0; --axis) {
      stride[axis] = step;
      step *= shape[axis];
    }
  }
  TensorView(T* p, std::initializer_list<int64_t> dims, std::initializer_list<int64_t> strides) : TensorView(p, dims) {
    int axis = 0;
    for (int64_t s : strides) stride[axis++] = s;
  }
  template <class U>
  requires(!std::is_same_v<T, U> && std::is_same_v<T, const U>)
      TensorView(const TensorView<U>& other)  // NOLINT: a mutable view is a const view
      : data(other.data), rank(other.rank), shape(other.shape), stride(other.stride) {}

  int64_t size() const {
    int64_t n = 1;
    for (int axis = 0; axis < rank; ++axis) n *= shape[axis];
    return n;
  }
  T& at(int64_t i, int64_t j = 0, int64_t k = 0, int64_t l = 0) const {
    return data[i * stride[0] + j * stride[1] + k * stride[2] + l * stride[3]];
  }
};

}  // namespace bareattn
