// bareattn._native: the C++ functions with their arrays, no more. What users see, with its defaults and documentation,
// is python/bareattn/. The GIL is released while attention runs.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bareattn/attention_cache.h"
#include "bareattn/interrupt.h"
#include "bareattn/threads.h"
#include "bareattn/weights.h"
#include "bind.h"
#include "options.h"
#include "values.h"

namespace bareattn::python {
Released::~Released() {
  free_.reset();
  if (PyErr_Occurred() != nullptr) return;  // the next one will say it
  const std::string sentence = take_thread_shortage();
  if (!sentence.empty() && PyErr_WarnEx(PyExc_RuntimeWarning, sentence.c_str(), 1) != 0) PyErr_WriteUnraisable(nullptr);
}

namespace {

using namespace nanobind::literals;  // NOLINT: "name"_a

struct Heads {
  Layout layout;
  int64_t q, kv;
};

Heads heads_of(const std::string& layout, int64_t q, int64_t kv) { return {layout_of(layout), q, kv}; }

void same_types(const char* name, const ConstTensor& tensor, const ConstTensor& q) {
  if (tensor.dtype != q.dtype)
    throw nb::type_error((std::string(name) + ": given " + bareattn::name(tensor.dtype) + "; needed " +
                          bareattn::name(q.dtype) + ", as q has")
                             .c_str());
}

void no_f64(const char* name, const ConstTensor& tensor) {
  if (tensor.dtype == DType::f64 || tensor.dtype == DType::boolean)
    throw nb::type_error(
        (std::string(name) + ": given " + bareattn::name(tensor.dtype) + "; needed float32, float16 or bfloat16")
            .c_str());
}

void call(nb::handle q, nb::handle k, nb::handle v, nb::handle o, nb::dict how, nb::dict options, nb::dict returns) {
  const bool bf16 = nb::cast<bool>(how["bf16"]), reference = nb::cast<bool>(how["reference"]);
  const Heads heads = heads_of(nb::cast<std::string>(how["layout"]), nb::cast<int64_t>(how["heads"]),
                               nb::cast<int64_t>(how["kv_heads"]));
  Arrays arrays;
  const ConstTensor tq = arrays.four("q", q, bf16, heads.layout, heads.q);
  const ConstTensor tk = arrays.four("k", k, bf16, heads.layout, heads.kv);
  const ConstTensor tv = arrays.four("v", v, bf16, heads.layout, heads.kv);
  if (!reference) no_f64("q", tq);
  same_types("k", tk, tq);
  same_types("v", tv, tq);
  const MutableTensor to = arrays.output_four("o", o, bf16, heads.layout, heads.q);
  const Options given(options, returns);
  const Released release;
  const Interruption ended_by_ctrl_c(signals_looked_at());
  reference ? reference_attention(tq, tk, tv, to, given.params) : attention(tq, tk, tv, to, given.params);
}

void call_weights(nb::handle q, nb::handle k, nb::handle out, nb::dict how, nb::dict options, nb::dict rectangle) {
  const bool bf16 = nb::cast<bool>(how["bf16"]);
  const Heads heads = heads_of(nb::cast<std::string>(how["layout"]), nb::cast<int64_t>(how["heads"]),
                               nb::cast<int64_t>(how["kv_heads"]));
  Arrays arrays;
  const ConstTensor tq = arrays.four("q", q, bf16, heads.layout, heads.q);
  const ConstTensor tk = arrays.four("k", k, bf16, heads.layout, heads.kv);
  no_f64("q", tq);
  same_types("k", tk, tq);
  const MutableTensor to = arrays.output("out", out, false);
  const Options given(options, nb::dict());
  Rectangle part;
  part.row_begin = nb::cast<int64_t>(rectangle["row_begin"]);
  part.row_end = nb::cast<int64_t>(rectangle["row_end"]);
  part.key_begin = nb::cast<int64_t>(rectangle["key_begin"]);
  part.key_end = nb::cast<int64_t>(rectangle["key_end"]);
  part.stage = static_cast<ScoreStage>(nb::cast<int>(rectangle["stage"]));
  using Dense = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
  Dense max_logit, row_sum;  // alive until the end
  if (rectangle.contains("max_logit")) {
    max_logit = nb::cast<Dense>(nb::object(rectangle["max_logit"]));
    row_sum = nb::cast<Dense>(nb::object(rectangle["row_sum"]));
    part.max_logit = max_logit.data();
    part.row_sum = row_sum.data();
  }
  const Released release;
  const Interruption ended_by_ctrl_c(signals_looked_at());
  weights(tq, tk, to, part, given.params);
}

void append(AttentionCache& cache, nb::handle k, nb::handle v, nb::dict how, nb::handle counts) {
  const bool bf16 = nb::cast<bool>(how["bf16"]);
  const Layout layout = layout_of(nb::cast<std::string>(how["layout"]));
  Arrays arrays;
  const ConstTensor tk = arrays.four("k", k, bf16, layout, cache.kv_heads());
  const ConstTensor tv = arrays.four("v", v, bf16, layout, cache.kv_heads());
  no_f64("k", tk);
  no_f64("v", tv);
  std::vector<int64_t> list;
  if (!counts.is_none()) list = arrays.integers("counts", counts);
  const Released release;
  cache.append(tk, tv, list);
}

void append_pages(AttentionCache& cache, nb::handle k, nb::handle v, bool bf16, nb::handle table, nb::handle lengths) {
  Arrays arrays;
  PagedKeyValues pages;
  pages.k = arrays.any("k_pages", k, bf16);
  pages.v = arrays.any("v_pages", v, bf16);
  no_f64("k_pages", pages.k);
  no_f64("v_pages", pages.v);
  const auto rows = nb::cast<nb::ndarray<const int32_t, nb::ndim<2>, nb::device::cpu>>(nb::object(nb::borrow(table)));
  pages.table = {rows.data(),
                 {static_cast<int64_t>(rows.shape(0)), static_cast<int64_t>(rows.shape(1))},
                 {rows.stride(0), rows.stride(1)}};
  const std::vector<int64_t> list = arrays.integers("lengths", lengths);
  pages.lengths = list;
  const Released release;
  cache.append(pages);
}

void call_cache(const AttentionCache& cache, nb::handle q, nb::handle o, nb::dict how, nb::dict options,
                nb::dict returns) {
  const bool bf16 = nb::cast<bool>(how["bf16"]);
  const Heads heads = heads_of(nb::cast<std::string>(how["layout"]), nb::cast<int64_t>(how["heads"]),
                               nb::cast<int64_t>(how["kv_heads"]));
  Arrays arrays;
  const ConstTensor tq = arrays.four("q", q, bf16, heads.layout, heads.q);
  no_f64("q", tq);
  const MutableTensor to = arrays.output_four("o", o, bf16, heads.layout, heads.q);
  const Options given(options, returns);
  const Released release;
  const Interruption ended_by_ctrl_c(signals_looked_at());
  attention(tq, cache, to, given.params);
}

void call_merge(nb::handle o1, nb::handle lse1, nb::handle o2, nb::handle lse2) {
  Arrays arrays;
  const auto typed = [](auto tensor, const char* name) {
    using T = std::conditional_t<std::is_same_v<decltype(tensor), MutableTensor>, float, const float>;
    if (tensor.dtype != DType::f32)
      throw nb::type_error(
          (std::string(name) + ": given " + bareattn::name(tensor.dtype) + "; needed float32").c_str());
    TensorView<T> view;
    view.data = static_cast<T*>(tensor.data);
    view.rank = tensor.rank;
    view.shape = tensor.shape;
    view.stride = tensor.stride;
    return view;
  };
  merge_partial(typed(arrays.output("o1", o1, false), "o1"), typed(arrays.output("lse1", lse1, false), "lse1"),
                typed(arrays.any("o2", o2, false), "o2"), typed(arrays.any("lse2", lse2, false), "lse2"));
}

}  // namespace

NB_MODULE(_native, module) {
  nb::class_<Taken>(module, "Taken")
      .def_prop_ro("shape",
                   [](const Taken& taken) {
                     nb::list sizes;
                     for (size_t axis = 0; axis < taken.array.ndim(); ++axis) sizes.append(taken.array.shape(axis));
                     return nb::tuple(sizes);
                   })
      .def_prop_ro("dtype", [](const Taken& taken) { return type_of(taken.array); });
  module.def("take", &take_array, "object"_a, "name"_a);
  module.def("attention", &call, "q"_a, "k"_a, "v"_a, "o"_a, "how"_a, "options"_a, "returns"_a);
  module.def("weights", &call_weights, "q"_a, "k"_a, "out"_a, "how"_a, "options"_a, "rectangle"_a);
  module.def("merge_partial", &call_merge, "o1"_a, "lse1"_a, "o2"_a, "lse2"_a);
  bind_backward(module);
  bind_observation(module);
  bind_trace(module);
  bind_model(module);
  bind_runs(module);
  bind_heads(module);
  nb::class_<AttentionCache>(module, "Cache")
      .def(
          "__init__",
          [](AttentionCache* self, int64_t batch, int64_t kv_heads, int64_t head_dim, int64_t value_dim, bool bf16) {
            new (self) AttentionCache(batch, kv_heads, head_dim, value_dim, bf16 ? Compute::bf16 : Compute::f32);
          },
          "batch"_a, "kv_heads"_a, "head_dim"_a, "value_dim"_a, "bf16"_a)
      .def("append", &append, "k"_a, "v"_a, "how"_a, "counts"_a.none())
      .def("append_pages", &append_pages, "k"_a, "v"_a, "bf16"_a, "table"_a, "lengths"_a)
      .def("attention", &call_cache, "q"_a, "o"_a, "how"_a, "options"_a, "returns"_a)
      .def("truncate", &AttentionCache::truncate, "b"_a, "length"_a)
      .def_prop_ro("lengths",
                   [](const AttentionCache& cache) {
                     return std::vector<int64_t>(cache.lengths().begin(), cache.lengths().end());
                   })
      .def_prop_ro("batch", &AttentionCache::batch)
      .def_prop_ro("kv_heads", &AttentionCache::kv_heads)
      .def_prop_ro("head_dim", &AttentionCache::head_dim)
      .def_prop_ro("value_dim", &AttentionCache::value_dim)
      .def_prop_ro("bytes", &AttentionCache::bytes);
}

}  // namespace bareattn::python
