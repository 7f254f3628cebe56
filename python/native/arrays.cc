// See arrays.h.
#include "arrays.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>

namespace bareattn::python {
namespace {

std::string dtype_text(nb::dlpack::dtype dtype) {
  using Code = nb::dlpack::dtype_code;
  const std::string bits = std::to_string(dtype.bits);
  switch (static_cast<Code>(dtype.code)) {
    case Code::Int:
      return "int" + bits;
    case Code::UInt:
      return "uint" + bits;
    case Code::Float:
      return "float" + bits;
    case Code::Bfloat:
      return "bfloat" + bits;
    case Code::Bool:
      return "bool";
    case Code::Complex:
      return "complex" + bits;
    default:
      return "type code " + std::to_string(dtype.code) + " of " + bits + " bits";
  }
}

DType dtype_of(const char* name, nb::dlpack::dtype dtype, bool bf16) {
  using Code = nb::dlpack::dtype_code;
  const auto code = static_cast<Code>(dtype.code);
  if (code == Code::Float && dtype.bits == 32) return DType::f32;
  if (code == Code::Float && dtype.bits == 16) return DType::f16;
  if (code == Code::Float && dtype.bits == 64) return DType::f64;
  if (code == Code::Bfloat && dtype.bits == 16) return DType::bf16;
  if (code == Code::UInt && dtype.bits == 16 && bf16) return DType::bf16;
  if (code == Code::Bool && dtype.bits == 8) return DType::boolean;
  throw nb::type_error(
      (std::string(name) + ": given " + dtype_text(dtype) + "; needed float32, float16 or bfloat16").c_str());
}

template <class A>
auto view_of(const char* name, const A& array, bool bf16) {
  using Void = std::conditional_t<std::is_same_v<A, ReadOnly>, const void, void>;
  BasicTensor<Void> view;
  if (array.ndim() > 4)
    throw std::invalid_argument(std::string(name) + ": given rank " + std::to_string(array.ndim()) +
                                "; needed 4 or less");
  view.dtype = dtype_of(name, array.dtype(), bf16);
  view.rank = static_cast<int>(array.ndim());
  view.data = const_cast<void*>(static_cast<const void*>(array.data()));
  for (int axis = 0; axis < view.rank; ++axis) {
    view.shape[axis] = static_cast<int64_t>(array.shape(static_cast<size_t>(axis)));
    view.stride[axis] = array.stride(static_cast<size_t>(axis));
  }
  return view;
}

template <class Tensor>
Tensor arranged(const char* name, Tensor t, Layout layout, int64_t heads) {
  const int wanted = layout == Layout::packed || layout == Layout::thd ? 3 : 4;
  if (t.rank != wanted) {
    const char* shapes[] = {"[B, H, S, D] (bhsd)", "[B, S, H, D] (bshd)", "[B, S, H * D] (packed)", "[T, H, D] (thd)"};
    throw std::invalid_argument(std::string(name) + ": given rank " + std::to_string(t.rank) + "; needed " +
                                shapes[static_cast<int>(layout)]);
  }
  Tensor out = t;
  out.rank = 4;
  switch (layout) {
    case Layout::bhsd:
      break;
    case Layout::bshd:
      std::swap(out.shape[1], out.shape[2]);
      std::swap(out.stride[1], out.stride[2]);
      break;
    case Layout::packed:
      if (heads <= 0 || t.shape[2] % heads != 0)
        throw std::invalid_argument(std::string(name) + ": given a last axis of " + std::to_string(t.shape[2]) +
                                    " for " + std::to_string(heads) +
                                    " heads; needed a multiple (num_heads, num_kv_heads)");
      out.shape = {t.shape[0], heads, t.shape[1], t.shape[2] / heads};
      out.stride = {t.stride[0], t.stride[2] * out.shape[3], t.stride[1], t.stride[2]};
      break;
    case Layout::thd:
      out.shape = {1, t.shape[1], t.shape[0], t.shape[2]};
      out.stride = {0, t.stride[1], t.stride[0], t.stride[2]};
      break;
  }
  return out;
}

template <class A>
A import_as(const char* name, nb::handle object, const char* what) {
  A array;
  if (!nb::try_cast<A>(object, array, false))
    throw nb::type_error((std::string(name) + ": given " + kind_of(object) + "; needed " + what).c_str());
  return array;
}

ReadOnly imported(const char* name, nb::handle object) {
  if (const Taken * taken; nb::try_cast(object, taken, false) && taken != nullptr) return taken->array;
  return import_as<ReadOnly>(name, object, "an array in this computer's memory (NumPy, PyTorch, JAX)");
}

}  // namespace

nb::object take_array(nb::handle object, const std::string& name) {
  return nb::cast(Taken{imported(name.c_str(), object)});
}

std::string type_of(const ReadOnly& array) { return dtype_text(array.dtype()); }

std::string kind_of(nb::handle object) { return nb::cast<std::string>(nb::str(object.type().attr("__name__"))); }

Layout layout_of(const std::string& name) {
  if (name == "bhsd") return Layout::bhsd;
  if (name == "bshd") return Layout::bshd;
  if (name == "packed") return Layout::packed;
  if (name == "thd") return Layout::thd;
  throw std::invalid_argument("layout: given '" + name + "'; needed 'bhsd', 'bshd', 'packed' or 'thd'");
}

ConstTensor Arrays::any(const char* name, nb::handle object, bool bf16) {
  read_.push_back(imported(name, object));
  return view_of(name, read_.back(), bf16);
}

MutableTensor Arrays::output(const char* name, nb::handle object, bool bf16) {
  written_.push_back(import_as<Array>(name, object, "a writable array in this computer's memory"));
  return view_of(name, written_.back(), bf16);
}

ConstTensor Arrays::four(const char* name, nb::handle object, bool bf16, Layout layout, int64_t heads) {
  return arranged(name, any(name, object, bf16), layout, heads);
}

MutableTensor Arrays::output_four(const char* name, nb::handle object, bool bf16, Layout layout, int64_t heads) {
  return arranged(name, output(name, object, bf16), layout, heads);
}

std::vector<float> Arrays::floats(const char* name, nb::handle object) {
  try {
    return nb::cast<std::vector<float>>(object);
  } catch (const nb::cast_error&) {
    throw nb::type_error((std::string(name) + ": given " + kind_of(object) + "; needed a sequence of numbers").c_str());
  }
}

std::vector<int64_t> Arrays::integers(const char* name, nb::handle object) {
  try {
    return nb::cast<std::vector<int64_t>>(object);
  } catch (const nb::cast_error&) {
    throw nb::type_error(
        (std::string(name) + ": given " + kind_of(object) + "; needed a sequence of integers").c_str());
  }
}

}  // namespace bareattn::python
