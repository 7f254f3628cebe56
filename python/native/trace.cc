// Traces in Python: what _trace.py gives names and documentation to. Arrays are new NumPy arrays. The GIL is released
// while weights are made.
#include "bareattn/trace.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bareattn/diff.h"
#include "bareattn/error.h"
#include "bareattn/highlights.h"
#include "bareattn/page.h"
#include "bind.h"

namespace bareattn::python {
namespace {

namespace nb = nanobind;
using namespace nanobind::literals;  // NOLINT: "name"_a

// A NumPy array that owns the vector.
template <class T>
nb::ndarray<nb::numpy, T> array_of(std::vector<T> values, std::initializer_list<size_t> shape) {
  auto* kept = new std::vector<T>(std::move(values));
  const nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  return nb::ndarray<nb::numpy, T>(kept->data(), shape.size(), shape.begin(), owner);
}
template <class T>
nb::ndarray<nb::numpy, T> array_of(std::vector<T> values) {
  const size_t count = values.size();
  return array_of(std::move(values), {count});
}

Measure measure_of(const std::string& name) {
  std::string known;
  for (int m = 0; m < measure_count; ++m) {
    if (name == measure_info(static_cast<Measure>(m)).id) return static_cast<Measure>(m);
    known += (m == 0 ? "" : ", ") + std::string(measure_info(static_cast<Measure>(m)).id);
  }
  throw std::invalid_argument("measure '" + name + "': one of " + known + " is needed");
}

nb::dict facts(const Trace& trace) {
  const ModelConfig& c = trace.model().config();
  nb::dict model, all;
  model["name"] = c.name;
  model["file"] = trace.model().path();
  model["sha256"] = trace.model().sha256();
  model["precision"] = precision_name(trace.model().precision());
  model["layers"] = c.layers;
  model["heads"] = c.heads;
  model["kv_heads"] = c.kv_heads;
  model["head_dim"] = c.head_dim;
  model["context_length"] = c.context_length;
  nb::list spans;
  for (const NamedSpan& span : trace.spans()) spans.append(nb::make_tuple(span.name, span.begin, span.end));
  all["model"] = model;
  all["path"] = trace.path();
  all["store"] = store_name(trace.store());
  all["engine_version"] = trace.engine_version();
  all["title"] = trace.title();
  all["spans"] = spans;
  all["seconds"] = trace.seconds();
  all["threads"] = trace.threads();
  all["beyond"] = beyond_name(trace.run().reach.beyond);
  all["window"] = trace.run().reach.window;
  all["sinks"] = trace.run().reach.sinks;
  return all;
}

}  // namespace

void bind_trace(nb::module_& module) {
  nb::register_exception_translator([](const std::exception_ptr& p, void*) {
    try {
      std::rethrow_exception(p);
    } catch (const FileError& error) {
      PyErr_SetString(PyExc_OSError, error.what());
    } catch (const OutputError& error) {
      PyErr_SetString(PyExc_OSError, error.what());
    } catch (const InputError& error) {
      PyErr_SetString(PyExc_ValueError, error.what());
    }
  });
  const auto release = nb::call_guard<nb::gil_scoped_release>();
  nb::class_<Trace>(module, "Trace")
      .def("facts", &facts)
      .def("check_model_file", &Trace::check_model_file, "path"_a, release)
      .def("verify", &Trace::verify, release)
      .def("tokens", [](const Trace& t) { return array_of(std::vector<int32_t>(t.tokens())); })
      .def("token_texts", &Trace::token_texts)
      .def("tile",
           [](const Trace& t, int layer, int head, std::pair<int64_t, int64_t> rows, std::pair<int64_t, int64_t> keys) {
             std::vector<float> weights;
             {
               const nb::gil_scoped_release free;
               weights = t.tile({layer, head}, {rows.first, rows.second}, {keys.first, keys.second});
             }
             return array_of(std::move(weights), {static_cast<size_t>(rows.second - rows.first),
                                                  static_cast<size_t>(keys.second - keys.first)});
           })
      .def("row",
           [](const Trace& t, int layer, int head, int64_t row) {
             return array_of(t.row_weights({layer, head}, row));
           })
      .def("top",
           [](const Trace& t, int layer, int head, int64_t row, int count) {
             return t.top_keys({layer, head}, row, count);
           })
      .def("rows",
           [](const Trace& t, const std::string& measure, int layer, int head) {
             return array_of(t.rows(measure_of(measure), {layer, head}));
           })
      .def("mean",
           [](const Trace& t, const std::string& measure, int layer, int head) {
             return t.mean(measure_of(measure), {layer, head});
           })
      .def("received",
           [](const Trace& t, int layer, int head) {
             return array_of(t.received({layer, head}));
           })
      .def("max_key",
           [](const Trace& t, int layer, int head) {
             return array_of(t.max_key({layer, head}));
           })
      .def("role", [](const Trace& t, int layer, int head) {
        const Role role = t.role({layer, head});
        return nb::make_tuple(role.name, role.score, role.evidence);
      });
  module.def("diff", [](const Trace& a, const Trace& b, int top, int threads) {
    RunDiff found;
    {
      const nb::gil_scoped_release free;
      found = diff(a, b, {.top = top, .threads = threads});
    }
    const ModelConfig& config = a.model().config();
    const auto grid = [&](auto value) {
      using Value = decltype(value(found.heads.front()));
      std::vector<Value> values;
      for (const HeadDiff& head : found.heads) values.push_back(value(head));
      return array_of(std::move(values), {static_cast<size_t>(config.layers), static_cast<size_t>(config.heads)});
    };
    nb::dict all;
    all["kl"] = grid([](const HeadDiff& h) { return h.kl; });
    all["js"] = grid([](const HeadDiff& h) { return h.js; });
    all["lse_shift"] = grid([](const HeadDiff& h) { return h.lse_shift; });
    all["lse_change"] = grid([](const HeadDiff& h) { return h.lse_change; });
    all["entropy_shift"] = grid([](const HeadDiff& h) { return h.entropy_shift; });
    all["top_overlap"] = grid([](const HeadDiff& h) { return h.top_overlap; });
    all["first_mass_shift"] = grid([](const HeadDiff& h) { return h.first_mass_shift; });
    all["worst_row"] = grid([](const HeadDiff& h) { return h.worst_row; });
    all["worst_js"] = grid([](const HeadDiff& h) { return h.worst_js; });
    all["token_js"] = array_of(std::move(found.token_js));
    return all;
  });
  module.def(
      "render_page",
      [](const Trace& t, const std::string& title, int64_t budget) {
        PageOptions options;
        options.title = title;
        options.size_budget = budget;
        options.telling = telling_heads(t);
        return render_page(t, options);
      },
      "trace"_a, "title"_a, "budget"_a, release);
  module.def(
      "open_trace", [](const std::string& path) { return std::const_pointer_cast<Trace>(Trace::open(path)); }, "path"_a,
      release);
}

}  // namespace bareattn::python
