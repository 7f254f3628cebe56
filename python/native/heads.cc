// Heads beside each other, measures of a second look, value-weighted attention and roles in Python: what _heads.py and
// _roles.py give names and documentation to. The GIL is released while anything is made.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "bareattn/agreement.h"
#include "bareattn/error.h"
#include "bareattn/head_roles.h"
#include "bareattn/interrupt.h"
#include "bareattn/observation.h"
#include "bareattn/sweep.h"
#include "bind.h"
#include "values.h"

namespace bareattn::python {
namespace {

namespace nb = nanobind;
using namespace nanobind::literals;  // NOLINT: "name"_a

template <class Make>
auto released(const Make& make) {
  const Released free;
  const Interruption ended_by_ctrl_c(signals_looked_at());
  return make();
}

nb::dict agreement(const Observation& run, int64_t rows, int threads, bool value_weighted) {
  const AgreementOptions options{.rows = rows, .threads = threads, .value_weighted = value_weighted};
  const Agreement found = released([&] { return head_agreement(run, options, interruptible()); });
  const ModelConfig& c = run.model().config();
  const auto heads = static_cast<size_t>(c.heads);
  const auto grid = [&](double HeadPair::*value, double diagonal) {
    std::vector<double> all(static_cast<size_t>(c.layers) * heads * heads, diagonal);
    for (const HeadPair& pair : found.pairs) {
      const size_t layer = static_cast<size_t>(pair.layer) * heads * heads;
      const auto a = static_cast<size_t>(pair.a), b = static_cast<size_t>(pair.b);
      all[layer + a * heads + b] = all[layer + b * heads + a] = pair.*value;
    }
    return array_of(std::move(all), {static_cast<size_t>(c.layers), heads, heads});
  };
  nb::dict all;
  all["rows"] = found.rows;
  all["js"] = grid(&HeadPair::js, 0.0);
  all["weight_cosine"] = grid(&HeadPair::weight_cosine, 1.0);
  all["output_cosine"] = grid(&HeadPair::output_cosine, 1.0);
  return all;
}

SweepGroups groups_of(const std::vector<std::string>& names) {
  SweepGroups groups;
  for (const std::string& name : names) {
    bool* const one = name == "coverage"  ? &groups.coverage
                      : name == "scores"  ? &groups.scores
                      : name == "repeats" ? &groups.repeats
                      : name == "offsets" ? &groups.offsets
                                          : nullptr;
    if (one == nullptr)
      throw std::invalid_argument("group '" + name + "': one of coverage, scores, repeats, offsets is needed");
    *one = true;
  }
  return groups;
}

nb::dict sweep_of(const Observation& run, const std::vector<std::string>& names, int64_t rows, int threads,
                  bool value_weighted) {
  const SweepGroups groups = groups_of(names);
  const SweepOptions options{.groups = groups, .rows = rows, .threads = threads, .value_weighted = value_weighted};
  const Sweep found = released([&] { return sweep(run, options, interruptible()); });
  const ModelConfig& c = run.model().config();
  const auto layers = static_cast<size_t>(c.layers), heads = static_cast<size_t>(c.heads);
  const auto grid = [&](auto value) {
    using Value = decltype(value(found.heads.front()));
    std::vector<Value> all;
    for (const HeadSweep& head : found.heads) all.push_back(value(head));
    return array_of(std::move(all), {layers, heads});
  };
  nb::dict all;
  all["rows"] = found.rows;
  for (int m = 0; m < swept_count; ++m) {
    if (!groups.has(static_cast<Swept>(m))) continue;
    all[swept_info(static_cast<Swept>(m)).id] =
        grid([m](const HeadSweep& head) { return head.means[static_cast<size_t>(m)]; });
  }
  if (groups.repeats) {
    const auto matches = [&](const char* name, TemplateMatch HeadSweep::*match) {
      all[(std::string(name) + "_mul").c_str()] = grid([match](const HeadSweep& h) { return (h.*match).mul; });
      all[(std::string(name) + "_abs").c_str()] = grid([match](const HeadSweep& h) { return (h.*match).abs; });
    };
    matches("previous_token", &HeadSweep::previous_token);
    matches("duplicate_token", &HeadSweep::duplicate_token);
    matches("induction", &HeadSweep::induction);
  }
  if (groups.offsets) {
    std::vector<double> bins;
    for (const HeadSweep& head : found.heads)
      bins.insert(bins.end(), head.distance_bins.begin(), head.distance_bins.end());
    all["distance_bins"] = array_of(std::move(bins), {layers, heads, found.heads.front().distance_bins.size()});
    all["stripe"] = grid([](const HeadSweep& head) { return head.stripe; });
    all["stripe_weight"] = grid([](const HeadSweep& head) { return head.stripe_weight; });
  }
  if (!value_weighted) return all;
  for (int m = 0; m < measure_count; ++m) {
    const auto measure = static_cast<Measure>(m);
    if (measure == Measure::lse || measure == Measure::max_logit) continue;  // no such form
    all[measure_info(measure).id] = grid([m](const HeadSweep& head) { return head.of_shares[static_cast<size_t>(m)]; });
  }
  const auto sets = run.span_sets();
  nb::dict spans, flow;
  for (size_t a = 0; a < sets.size(); ++a) {
    spans[nb::cast(sets[a].name)] = grid([a](const HeadSweep& head) { return head.spans[a]; });
    for (size_t b = 0; b < sets.size(); ++b)
      flow[nb::make_tuple(sets[a].name, sets[b].name)] =
          grid([at = a * sets.size() + b](const HeadSweep& head) { return head.flow[at]; });
  }
  all["spans"] = spans;
  all["span_flow"] = flow;
  return all;
}

Swept swept_of(const std::string& name) {
  std::string known;
  for (int m = 0; m < swept_count; ++m) {
    if (name == swept_info(static_cast<Swept>(m)).id) return static_cast<Swept>(m);
    known += (m == 0 ? "" : ", ") + std::string(swept_info(static_cast<Swept>(m)).id);
  }
  throw std::invalid_argument("measure '" + name + "': one of " + known + " is needed");
}

int set_of(const Observation& run, const std::string& name) {
  const auto sets = run.span_sets();
  for (size_t i = 0; i < sets.size(); ++i)
    if (sets[i].name == name) return static_cast<int>(i);
  throw std::invalid_argument("span '" + name + "': the weight on no such span was measured");
}

std::string find_roles_json(const std::shared_ptr<Model>& model, const RoleOptions& options, bool cache, int threads) {
  if (cache) {
    if (const auto kept = cached_roles(*model); kept && same_request(*kept, *model, options))
      return roles_to_json(*kept);
  }
  const HeadRoles roles = find_roles(model, options, threads, interruptible());
  try {
    if (cache) cache_roles(roles);
  } catch (const OutputError&) {  // the answer is there all the same
  }
  return roles_to_json(roles);
}

}  // namespace

void bind_heads(nb::module_& module) {
  module.def("agreement", &agreement);
  module.def("sweep", &sweep_of);
  module.def("swept_rows", [](const Observation& t, const std::string& measure, int layer, int head) {
    const Swept swept = swept_of(measure);
    return array_of(released([&] { return swept_rows(t, swept, {layer, head}); }));
  });
  module.def("stripes", [](const Observation& t, int layer, int head, int64_t most) {
    return array_of(released([&] { return stripes(t, {layer, head}, most); }));
  });
  module.def("laplacian_eigenvalues", [](const Observation& t, int layer, int head, int64_t count) {
    return array_of(released([&] { return laplacian_eigenvalues(t, {layer, head}, count); }));
  });
  module.def("carried", [](const Observation& t, int layer, int head) { return array_of(t.carried({layer, head})); });
  module.def("tile", [](const Observation& t, int layer, int head, std::pair<int64_t, int64_t> rows,
                        std::pair<int64_t, int64_t> keys) {
    return array_of(released([&] {
                      return t.tile({layer, head}, {rows.first, rows.second}, {keys.first, keys.second});
                    }),
                    {static_cast<size_t>(rows.second - rows.first), static_cast<size_t>(keys.second - keys.first)});
  });
  module.def("scores", [](const Observation& t, int layer, int head, std::pair<int64_t, int64_t> rows,
                          std::pair<int64_t, int64_t> keys) {
    return array_of(released([&] {
                      return t.scores({layer, head}, {rows.first, rows.second}, {keys.first, keys.second});
                    }),
                    {static_cast<size_t>(rows.second - rows.first), static_cast<size_t>(keys.second - keys.first)});
  });
  module.def("span_mass", [](const Observation& t, const std::string& name, int layer, int head) {
    return array_of(t.span_mass(set_of(t, name), {layer, head}));
  });
  module.def("span_flow",
             [](const Observation& t, const std::string& from, const std::string& to, int layer, int head) {
               return span_flow(t, set_of(t, from), set_of(t, to), {layer, head});
             });
  module.def("lookback_ratio",
             [](const Observation& t, const std::string& context, const std::string& fresh, int layer, int head) {
               return lookback_ratio(t, set_of(t, context), set_of(t, fresh), {layer, head});
             });
  module.def("focus_score",
             [](const Observation& t, const std::string& instruction, const std::string& data, int layer, int head) {
               return focus_score(t, set_of(t, instruction), set_of(t, data), {layer, head});
             });
  module.def("cached_roles", [](const Observation& t) -> std::optional<std::string> {
    const auto roles = released([&] { return cached_roles(t.model()); });
    return roles ? std::optional(roles_to_json(*roles)) : std::nullopt;
  });
  module.def("find_roles", [](const std::shared_ptr<Model>& model, int samples, uint64_t seed, int draws,
                              const std::string& corpus, bool cache, int threads) {
    RoleOptions options;
    options.samples = samples;
    options.seed = seed;
    options.ablation_draws = draws;
    options.corpus = corpus;
    return released([&] { return find_roles_json(model, options, cache, threads); });
  });
}

}  // namespace bareattn::python
