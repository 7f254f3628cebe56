// The gradients for PyTorch's autograd (python/bareattn/_autograd.py).
#include <nanobind/stl/string.h>

#include "bareattn/attention_backward.h"
#include "bareattn/interrupt.h"
#include "bind.h"
#include "options.h"
#include "values.h"

namespace bareattn::python {
namespace {

TensorView<float> gradient(const char* name, const MutableTensor& tensor) {
  if (tensor.dtype != DType::f32)
    throw nb::type_error((std::string(name) + ": given " + bareattn::name(tensor.dtype) + "; needed float32").c_str());
  TensorView<float> view;
  view.data = static_cast<float*>(tensor.data);
  view.rank = tensor.rank;
  view.shape = tensor.shape;
  view.stride = tensor.stride;
  return view;
}

// forward: q, k, v, o, lse, d_o by name; gradients: d_q, d_k, d_v, d_sinks, d_mask, those that are wanted.
void call_backward(nb::dict forward, nb::dict gradients, nb::dict how, nb::dict options) {
  const bool bf16 = nb::cast<bool>(how["bf16"]);
  const Layout layout = layout_of(nb::cast<std::string>(how["layout"]));
  const auto heads = nb::cast<int64_t>(how["heads"]), kv_heads = nb::cast<int64_t>(how["kv_heads"]);
  Arrays arrays;
  const auto four = [&](const char* name, int64_t h) { return arrays.four(name, forward[name], bf16, layout, h); };
  AttentionForward given;
  given.q = four("q", heads);
  given.k = four("k", kv_heads);
  given.v = four("v", kv_heads);
  given.o = four("o", heads);
  const ConstTensor d_o = four("d_o", heads), lse = arrays.any("lse", forward["lse"], false);
  given.lse.data = static_cast<const float*>(lse.data);
  given.lse.rank = lse.rank;
  given.lse.shape = lse.shape;
  given.lse.stride = lse.stride;
  AttentionGradients wanted;
  const auto shaped = [&](const char* name, TensorView<float>& to, int64_t h) {
    if (gradients.contains(name)) to = gradient(name, arrays.output_four(name, gradients[name], false, layout, h));
  };
  shaped("d_q", wanted.d_q, heads);
  shaped("d_k", wanted.d_k, kv_heads);
  shaped("d_v", wanted.d_v, kv_heads);
  if (gradients.contains("d_sinks"))
    wanted.d_sinks = gradient("d_sinks", arrays.output("d_sinks", gradients["d_sinks"], false));
  if (gradients.contains("d_mask"))
    wanted.d_mask = gradient("d_mask", arrays.output("d_mask", gradients["d_mask"], false));
  const Options parsed(options, nb::dict());
  const Released release;
  const Interruption ended_by_ctrl_c(signals_looked_at());
  attention_backward(given, d_o, wanted, parsed.params);
}

}  // namespace

void bind_backward(nb::module_& module) {
  using namespace nanobind::literals;  // NOLINT: "name"_a
  module.def("attention_backward", &call_backward, "forward"_a, "gradients"_a, "how"_a, "options"_a);
}

}  // namespace bareattn::python
