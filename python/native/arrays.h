// Arrays of any library (NumPy, PyTorch, JAX by DLPack or the buffer protocol) as views, without copies. Refuses what
// is no array (TypeError), a type that attention does not take (TypeError), and a shape that does not fit (ValueError).
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <string>
#include <vector>

#include "bareattn/tensor.h"

namespace bareattn::python {

namespace nb = nanobind;

using Array = nb::ndarray<nb::device::cpu>;
using ReadOnly = nb::ndarray<nb::ro, nb::device::cpu>;

/// An array of a library that Python has no business with, taken once: shape and type are what its own memory says, not
/// what attributes of the object do.
struct Taken {
  ReadOnly array;
};
nb::object take_array(nb::handle object, const std::string& name);
std::string type_of(const ReadOnly& array);  // "float32", ...

enum class Layout : uint8_t { bhsd, bshd, packed, thd };
Layout layout_of(const std::string& name);

/// Arrays that a call reads, kept alive until it ends.
class Arrays {
 public:
  /// An array as it is, rank 0 to 4. `bf16`: uint16 elements are bfloat16 (NumPy has no such type of its own).
  ConstTensor any(const char* name, nb::handle object, bool bf16);
  MutableTensor output(const char* name, nb::handle object, bool bf16);
  /// The same seen as [B, H, S, D]; heads: of the packed layout.
  ConstTensor four(const char* name, nb::handle object, bool bf16, Layout layout, int64_t heads);
  MutableTensor output_four(const char* name, nb::handle object, bool bf16, Layout layout, int64_t heads);
  /// Dense one-dimensional values, copied.
  std::vector<float> floats(const char* name, nb::handle object);
  std::vector<int64_t> integers(const char* name, nb::handle object);

 private:
  std::vector<ReadOnly> read_;
  std::vector<Array> written_;
};

std::string kind_of(nb::handle object);

}  // namespace bareattn::python
