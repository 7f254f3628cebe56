// Traces in Python: what _trace.py gives names and documentation to; what every run has is observation.cc. Arrays are
// new NumPy arrays. The GIL is released while weights are made.
#include "bareattn/trace.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bareattn/diff.h"
#include "bareattn/files.h"
#include "bareattn/highlights.h"
#include "bareattn/page.h"
#include "bind.h"
#include "values.h"

namespace bareattn::python {
namespace {

namespace nb = nanobind;
using namespace nanobind::literals;  // NOLINT: "name"_a

nb::dict facts(const Trace& trace) {
  nb::dict all;
  nb::list spans;
  for (const NamedSpan& span : trace.spans()) spans.append(nb::make_tuple(span.name, span.begin, span.end));
  all["model"] = model_facts(trace.model());
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
  const auto release = nb::call_guard<Released>();
  nb::class_<Trace, Observation>(module, "Trace")
      .def("facts", &facts)
      .def("check_model_file", &Trace::check_model_file, "path"_a, release)
      .def("verify", &Trace::verify, release)
      .def("tile",
           [](const Trace& t, int layer, int head, std::pair<int64_t, int64_t> rows, std::pair<int64_t, int64_t> keys) {
             std::vector<float> weights;
             {
               const Released free;
               weights = t.tile({layer, head}, {rows.first, rows.second}, {keys.first, keys.second});
             }
             return array_of(std::move(weights), {static_cast<size_t>(rows.second - rows.first),
                                                  static_cast<size_t>(keys.second - keys.first)});
           });
  module.def("diff", [](const Trace& a, const Trace& b, int top, int threads, bool value_weighted) {
    RunDiff found;
    {
      const Released free;
      found = diff(a, b, {.top = top, .threads = threads, .value_weighted = value_weighted}, interruptible());
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
      [](const Observation& t, const std::string& title, int64_t budget, const std::shared_ptr<Model>& model,
         const std::string& lesson) {
        PageOptions options;
        if (model) options.lesson = make_lesson(model, lesson);
        const auto* const file = dynamic_cast<const Trace*>(&t);
        options.title = title;
        if (title.empty() && file != nullptr)
          options.title = printable(file->path().substr(file->path().rfind('/') + 1));  // as the command
        options.size_budget = budget;
        options.telling = telling_heads(t);
        if (auto known = cached_roles(t.model())) options.recipe_roles = std::make_shared<HeadRoles>(std::move(*known));
        if (t.measured().agreement) options.agreement = std::make_shared<const Agreement>(head_agreement(t));
        return render_page(t, options);
      },
      "run"_a, "title"_a, "budget"_a, "model"_a.none(), "lesson"_a, release);
  module.attr("lesson_sentence") = Lesson::sentence;
  module.def(
      "open_trace", [](const std::string& path) { return std::const_pointer_cast<Trace>(Trace::open(path)); }, "path"_a,
      release);
}

}  // namespace bareattn::python
