// See widen.h.
#include "attention/widen.h"

#include <cstring>

#include "kernels/convert.h"

namespace bareattn {

const char* name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "float32";
    case DType::f16:
      return "float16";
    case DType::bf16:
      return "bfloat16";
    case DType::f64:
      return "float64";
    case DType::boolean:
      return "bool";
  }
  return "?";
}

int64_t bytes_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return 4;
    case DType::f64:
      return 8;
    case DType::boolean:
      return 1;
    default:
      return 2;
  }
}

namespace attend {
namespace {

template <class T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <class To>
void widen_any(DType dtype, const void* from, int64_t step, int64_t count, To* to) {
  const auto* at = static_cast<const std::byte*>(from);
  const int64_t bytes = step * bytes_of(dtype);
  for (int64_t i = 0; i < count; ++i, at += bytes) switch (dtype) {
      case DType::f32:
        to[i] = static_cast<To>(load<float>(at));
        break;
      case DType::f64:
        to[i] = static_cast<To>(load<double>(at));
        break;
      case DType::f16:
        to[i] = static_cast<To>(kernels::f32_from_f16(load<uint16_t>(at)));
        break;
      case DType::bf16:
        to[i] = static_cast<To>(kernels::f32_from_bf16(load<uint16_t>(at)));
        break;
      case DType::boolean:
        to[i] = load<uint8_t>(at) != 0 ? 1 : 0;
        break;
    }
}

template <class From>
void narrow_any(const From* from, int64_t count, DType dtype, void* to, int64_t step) {
  auto* at = static_cast<std::byte*>(to);
  const int64_t bytes = step * bytes_of(dtype);
  for (int64_t i = 0; i < count; ++i, at += bytes) switch (dtype) {
      case DType::f64: {
        const auto value = static_cast<double>(from[i]);
        std::memcpy(at, &value, sizeof value);
        break;
      }
      case DType::f16:
      case DType::bf16: {
        const auto value = static_cast<float>(from[i]);
        const uint16_t half = dtype == DType::f16 ? kernels::f16_from_f32(value) : kernels::bf16_from_f32(value);
        std::memcpy(at, &half, sizeof half);
        break;
      }
      default: {
        const auto value = static_cast<float>(from[i]);
        std::memcpy(at, &value, sizeof value);
      }
    }
}

bool aligned(const void* p, size_t bytes) { return reinterpret_cast<uintptr_t>(p) % bytes == 0; }

}  // namespace

bool is_plain(const ConstTensor& tensor) { return tensor.dtype == DType::f32 && aligned(tensor.data, 4); }

const void* address(const ConstTensor& tensor, int64_t i, int64_t j, int64_t k, int64_t l) {
  const int64_t elements = i * tensor.stride[0] + j * tensor.stride[1] + k * tensor.stride[2] + l * tensor.stride[3];
  return static_cast<const std::byte*>(tensor.data) + elements * bytes_of(tensor.dtype);
}

void widen(DType dtype, const void* from, int64_t step, int64_t count, float* to) {
  if (count == 0) return;
  if (step == 1 && dtype == DType::f32) {
    std::memcpy(to, from, static_cast<size_t>(count) * 4);
  } else if (step == 1 && dtype == DType::f16 && aligned(from, 2)) {
    kernels::f32_from_f16(static_cast<const uint16_t*>(from), to, count);
  } else if (step == 1 && dtype == DType::bf16 && aligned(from, 2)) {
    kernels::f32_from_bf16(static_cast<const uint16_t*>(from), to, count);
  } else {
    widen_any(dtype, from, step, count, to);
  }
}

void narrow(const float* from, int64_t count, DType dtype, void* to, int64_t step) {
  if (count == 0) return;
  if (step == 1 && dtype == DType::f32) {
    std::memcpy(to, from, static_cast<size_t>(count) * 4);
  } else if (step == 1 && dtype == DType::f16 && aligned(to, 2)) {
    kernels::f16_from_f32(from, static_cast<uint16_t*>(to), count);
  } else if (step == 1 && dtype == DType::bf16 && aligned(to, 2)) {
    kernels::bf16_from_f32(from, static_cast<uint16_t*>(to), count);
  } else {
    narrow_any(from, count, dtype, to, step);
  }
}

void widen(DType dtype, const void* from, int64_t step, int64_t count, double* to) {
  widen_any(dtype, from, step, count, to);
}
void narrow(const double* from, int64_t count, DType dtype, void* to, int64_t step) {
  narrow_any(from, count, dtype, to, step);
}

}  // namespace attend
}  // namespace bareattn
