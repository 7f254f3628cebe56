// Observed runs of a model in Python, in memory or straight into a file: what _model.py has made of its arguments comes
// as one dict. The GIL is released while the model runs; Ctrl-C stops it, and then no file is left.
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "bareattn/error.h"
#include "bareattn/files.h"
#include "bareattn/spans.h"
#include "bareattn/trace.h"
#include "bind.h"
#include "values.h"

namespace bareattn::python {
namespace {

namespace nb = nanobind;
using SharedModel = std::shared_ptr<Model>;

/// The value of a name; std::invalid_argument that lists the known ones where it is none of them.
template <class Value>
Value one_of(const char* what, const std::string& name, std::initializer_list<std::pair<const char*, Value>> known) {
  std::string names;
  for (const auto& [one, value] : known) {
    if (name == one) return value;
    names += (names.empty() ? "" : ", ") + std::string(one);
  }
  throw std::invalid_argument(std::string(what) + " '" + name + "': one of " + names + " is needed");
}

MeasureGroups groups_of(const std::vector<std::string>& names) {
  using G = MeasureGroups;
  using Members = std::vector<bool G::*>;
  const Members roles{&G::rows, &G::distance, &G::spans};
  Members all = roles;
  all.insert(all.end(), {&G::columns, &G::map, &G::spread, &G::values, &G::agreement});
  MeasureGroups groups;
  for (const auto member : all) groups.*member = false;
  for (const std::string& name : names) {
    const auto members = one_of<Members>("measures", name,
                                         {{"rows", {&G::rows}},
                                          {"distance", {&G::distance}},
                                          {"spans", {&G::spans}},
                                          {"columns", {&G::columns}},
                                          {"map", {&G::map}},
                                          {"spread", {&G::spread}},
                                          {"values", {&G::values}},
                                          {"agreement", {&G::agreement}},
                                          {"roles", roles},
                                          {"all", all},
                                          {"none", {}}});
    for (const auto member : members) groups.*member = true;
  }
  return groups;
}

/// What a run in memory and a trace are both asked for.
struct Asked {
  std::vector<int32_t> tokens;
  MeasureGroups measures;
  std::vector<std::string> spans;  // as find_spans takes them
  std::string question, steering;
  Beyond beyond;
  int pool_block, threads;
};

Asked asked_for(nb::dict how) {
  Asked asked;
  asked.tokens = nb::cast<std::vector<int32_t>>(how["tokens"]);
  asked.measures = groups_of(nb::cast<std::vector<std::string>>(how["measures"]));
  asked.spans = nb::cast<std::vector<std::string>>(how["spans"]);
  if (!asked.spans.empty() && !asked.measures.spans)
    throw InputError("spans: the weight on them needs 'spans' among the measures");
  asked.question = nb::cast<std::string>(how["question"]);
  asked.steering = nb::cast<std::string>(how["steering"]);
  asked.beyond =
      one_of<Beyond>("beyond", nb::cast<std::string>(how["beyond"]),
                     {{"refuse", Beyond::refuse}, {"extrapolate", Beyond::extrapolate}, {"scale", Beyond::scale}});
  asked.pool_block = nb::cast<int>(how["pool_block"]);
  asked.threads = nb::cast<int>(how["threads"]);
  return asked;
}

std::vector<NamedSpan> spans_of(const Asked& asked, const Tokenizer& tokenizer) {
  std::vector<std::string_view> pieces;
  if (!asked.spans.empty())
    for (const int32_t id : asked.tokens) pieces.push_back(tokenizer.piece(id));
  std::vector<NamedSpan> named, found;
  for (const std::string& span : asked.spans)
    for (NamedSpan& one : find_spans(span, pieces)) named.push_back(std::move(one));
  if (!asked.question.empty()) found = known_spans(tokenizer, asked.tokens, asked.question);
  const auto taken = [&](const std::string& name) {
    return std::any_of(named.begin(), named.end(), [&](const NamedSpan& one) { return one.name == name; });
  };
  for (NamedSpan& one : found)  // a name that was given keeps what it was given for
    while (taken(one.name)) one.name = "chat " + one.name;
  found.insert(found.end(), named.begin(), named.end());
  return found;
}

template <class RunOptions>
RunOptions options_of(const Asked& asked, const Model& model) {
  RunOptions options;
  options.measures = asked.measures;
  options.pool_block = asked.pool_block;
  options.spans = spans_of(asked, model.tokenizer());
  options.table = table_of(asked.steering, model, asked.tokens.size());
  return options;
}

std::shared_ptr<Observation> observed(const SharedModel& model, nb::dict how) {
  Asked asked = asked_for(std::move(how));
  const Released free;
  auto options = options_of<ObservationOptions>(asked, *model);
  options.beyond = asked.beyond;
  return observe(model, std::move(asked.tokens), options, asked.threads, interruptible());
}

void traced(const SharedModel& model, const std::string& path, nb::dict how) {
  const auto title = nb::cast<std::string>(how["title"]);
  const auto store = one_of<Store>("store", nb::cast<std::string>(how["store"]),
                                   {{"f16", Store::f16}, {"bf16", Store::bf16}, {"f32", Store::f32}});
  const auto window = nb::cast<int64_t>(how["window"]), sinks = nb::cast<int64_t>(how["sinks"]);
  Asked asked = asked_for(std::move(how));
  const Released free;
  check_writable(path);
  auto options = options_of<TraceOptions>(asked, *model);
  options.store = store;
  options.title = title;
  write_trace(path, model, std::move(asked.tokens), options, {asked.beyond, window, sinks}, asked.threads,
              interruptible());
}

}  // namespace

void bind_runs(nb::module_& module) {
  module.def("observe", &observed);
  module.def("write_trace", &traced);
}

}  // namespace bareattn::python
