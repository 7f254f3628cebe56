// What every finished run says in Python, one in memory or one in a file: what _run.py gives names and documentation
// to. Here too what all bindings share: errors as Python's, measures by name, files written whole or not at all.
#include "bareattn/observation.h"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <chrono>
#include <string_view>

#include "bareattn/error.h"
#include "bareattn/files.h"
#include "bind.h"
#include "values.h"

namespace bareattn::python {

namespace nb = nanobind;

Measure measure_of(const std::string& name) {
  std::string known;
  for (int m = 0; m < measure_count; ++m) {
    if (name == measure_info(static_cast<Measure>(m)).id) return static_cast<Measure>(m);
    known += (m == 0 ? "" : ", ") + std::string(measure_info(static_cast<Measure>(m)).id);
  }
  throw std::invalid_argument("measure '" + name + "': one of " + known + " is needed");
}

nb::dict model_facts(const Model& model) {
  const ModelConfig& c = model.config();
  nb::dict facts;
  facts["name"] = c.name;
  facts["file"] = model.path();
  facts["sha256"] = [&] {  // the first call reads the whole file
    const Released free;
    return model.sha256();
  }();
  facts["precision"] = precision_name(model.precision());
  facts["attention"] = precision_name(model.attention());
  facts["layers"] = c.layers;
  facts["heads"] = c.heads;
  facts["kv_heads"] = c.kv_heads;
  facts["head_dim"] = c.head_dim;
  facts["context_length"] = c.context_length;
  return facts;
}

Progress interruptible() {
  return [](int64_t, int64_t) {
    const nb::gil_scoped_acquire held;
    return PyErr_CheckSignals() == 0;
  };
}

std::function<void()> signals_looked_at() {
  using Clock = std::chrono::steady_clock;
  return [last = Clock::now()]() mutable {
    if (Clock::now() - last < std::chrono::milliseconds(20)) return;
    if (!interruptible()(0, 0)) throw Cancelled{};
    last = Clock::now();
  };
}

namespace {

void check_head(const Observation& run, int layer, int head) {
  const ModelConfig& c = run.model().config();
  if (layer < 0 || layer >= c.layers || head < 0 || head >= c.heads)
    throw std::invalid_argument("head " + std::to_string(layer) + "." + std::to_string(head) + ": the model has " +
                                std::to_string(c.layers) + " layers of " + std::to_string(c.heads) + " heads");
}

/// The pooled map as a square, zeros above its diagonal.
template <class T>
auto square_of(const Observation& run, const std::vector<T>& cells) {
  const auto blocks = static_cast<size_t>(run.pool_blocks());
  std::vector<T> square(blocks * blocks);
  for (size_t r = 0; r < blocks; ++r)
    std::copy_n(cells.begin() + static_cast<int64_t>(r * (r + 1) / 2), r + 1,
                square.begin() + static_cast<int64_t>(r * blocks));
  return array_of(std::move(square), {blocks, blocks});
}

}  // namespace

void bind_observation(nb::module_& module) {
  nb::register_exception_translator([](const std::exception_ptr& p, void*) {
    try {
      std::rethrow_exception(p);
    } catch (const Cancelled&) {  // by interruptible(): the error is set
      if (PyErr_Occurred() == nullptr) PyErr_SetNone(PyExc_KeyboardInterrupt);
    } catch (const FileError& error) {
      PyErr_SetString(PyExc_OSError, error.what());
    } catch (const OutputError& error) {
      PyErr_SetString(PyExc_OSError, error.what());
    } catch (const InputError& error) {
      PyErr_SetString(PyExc_ValueError, error.what());
    }
  });
  module.def("write_file", [](const std::string& path, const nb::bytes& content) {
    const std::string_view bytes(content.c_str(), content.size());
    const Released free;
    write_file(path, bytes);
  });
  nb::class_<Observation>(module, "Observation")
      .def("model_facts", [](const Observation& o) { return model_facts(o.model()); })
      .def("seconds", &Observation::seconds)
      .def("tokens", [](const Observation& o) { return array_of(std::vector<int32_t>(o.tokens())); })
      .def("token_texts", &Observation::token_texts)
      .def("row",
           [](const Observation& o, int layer, int head, int64_t row) {
             check_head(o, layer, head);
             return array_of(o.row_weights({layer, head}, row));
           })
      .def("top",
           [](const Observation& o, int layer, int head, int64_t row, int count) {
             check_head(o, layer, head);
             return o.top_keys({layer, head}, row, count);
           })
      .def("rows",
           [](const Observation& o, const std::string& measure, int layer, int head) {
             check_head(o, layer, head);
             return array_of(o.rows(measure_of(measure), {layer, head}));
           })
      .def("mean",
           [](const Observation& o, const std::string& measure, int layer, int head) {
             check_head(o, layer, head);
             return o.mean(measure_of(measure), {layer, head});
           })
      .def("received",
           [](const Observation& o, int layer, int head) {
             check_head(o, layer, head);
             return array_of(o.received({layer, head}));
           })
      .def("max_key",
           [](const Observation& o, int layer, int head) {
             check_head(o, layer, head);
             return array_of(o.max_key({layer, head}));
           })
      .def("pool_block", &Observation::pool_block)
      .def("pool_sum",
           [](const Observation& o, int layer, int head) {
             check_head(o, layer, head);
             return square_of(o, o.pool_sum({layer, head}));
           })
      .def("pool_max",
           [](const Observation& o, int layer, int head) {
             check_head(o, layer, head);
             return square_of(o, o.pool_max({layer, head}));
           })
      .def("spans",
           [](const Observation& o) {
             nb::list spans;
             for (const SpanSet& set : o.span_sets())
               for (const NamedSpan& one : set.ranges) spans.append(nb::make_tuple(set.name, one.begin, one.end));
             return spans;
           })
      .def("measures",
           [](const Observation& o) {
             nb::list names;
             for (int m = 0; m < measure_count; ++m)
               if (const auto measure = static_cast<Measure>(m); o.measured().has(measure))
                 names.append(measure_info(measure).id);
             return names;
           })
      .def("has_roles", [](const Observation& o) { return o.measured().for_roles(); })
      .def("role", [](const Observation& o, int layer, int head) {
        check_head(o, layer, head);
        const Role role = o.role({layer, head});
        return nb::make_tuple(role.name, role.score, role.evidence);
      });
}

}  // namespace bareattn::python
