// `bareattn measures`: every measure of every head, of a trace or of a text that is run now; those that need a second
// look at every weight included, which cost nothing until they are asked for here. Definitions: docs/measures.md.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "bareattn/error.h"
#include "bareattn/sweep.h"
#include "commands.h"
#include "interrupt.h"
#include "progress.h"
#include "run_or_text.h"
#include "sweep_json.h"
#include "terminal.h"

namespace bareattn::cli {
namespace {

using Json = nlohmann::ordered_json;

struct MeasuresOptions {
  RunOrText what;
  std::vector<std::string> groups{"coverage", "scores", "repeats", "offsets"};
  int64_t rows = 0;
  bool json = false;
};

SweepGroups groups_of(const MeasuresOptions& options) {
  const auto wanted = [&](const char* name) {
    return std::find(options.groups.begin(), options.groups.end(), name) != options.groups.end();
  };
  return {.coverage = wanted("coverage"),
          .scores = wanted("scores"),
          .repeats = wanted("repeats"),
          .offsets = wanted("offsets")};
}

// How the named spans look at each other: by name of the rows' span, then of the keys'.
Json flow_json(const Observation& o, HeadId head) {
  const auto sets = o.span_sets();
  Json all = Json::object();
  for (size_t from = 0; from < sets.size(); ++from)
    for (size_t to = 0; to < sets.size(); ++to)
      all[sets[from].name][sets[to].name] =
          json_number(span_flow(o, static_cast<int>(from), static_cast<int>(to), head));
  return all;
}

Json document_of(const Observation& o, const Sweep& swept, const SweepGroups& groups) {
  const MeasureGroups kept = o.measured();
  Json infos = Json::array(), heads = Json::array();
  for (int m = 0; m < measure_count; ++m) {
    if (!kept.has(static_cast<Measure>(m))) continue;
    const MeasureInfo& info = measure_info(static_cast<Measure>(m));
    infos.push_back({{"id", info.id}, {"title", info.title}, {"unit", info.unit}, {"description", info.description}});
  }
  append_swept_infos(infos, groups);
  for (const HeadSweep& head : swept.heads) {
    Json one{{"layer", head.head.layer}, {"head", head.head.head}, {"means", Json::object()}};
    for (int m = 0; m < measure_count; ++m)
      if (kept.has(static_cast<Measure>(m)))
        one["means"][measure_info(static_cast<Measure>(m)).id] =
            json_number(o.mean(static_cast<Measure>(m), head.head));
    add_sweep(one, head, groups);
    if (kept.columns && kept.spans) {
      Json values = Json::array();
      for (const double x : laplacian_eigenvalues(o, head.head, 10)) values.push_back(json_number(x));
      one["laplacian"] = std::move(values);
    }
    if (!o.span_sets().empty()) one["span_flow"] = flow_json(o, head.head);
    heads.push_back(std::move(one));
  }
  return {{"kind", "bareattn.measures"},
          {"version", 1},
          {"model_sha256", o.model().sha256()},
          {"tokens", o.tokens().size()},
          {"rows", swept.rows},
          {"measures", infos},
          {"heads", heads}};
}

std::string cell(double value, int digits) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, digits) : std::string("-");
}

std::string table_of(const Sweep& swept, const SweepGroups& groups) {
  std::string out;
  for (size_t h = 0; h <= swept.heads.size(); ++h) {  // the first line names the columns
    const bool title = h == 0;
    const HeadSweep& head = swept.heads[title ? 0 : h - 1];
    const auto column = [&](const char* name, int width, const std::string& value) {
      out += fmt::format(" {:>{}}", title ? std::string(name) : value, width);
    };
    const auto mean = [&](Swept measure) { return head.means[static_cast<size_t>(measure)]; };
    out += fmt::format("{:<7}", title ? std::string("Head") : fmt::format("{}.{}", head.head.layer, head.head.head));
    if (groups.coverage) column("keys90", 7, cell(mean(Swept::keys_90), 1));
    if (groups.scores) {
      column("score", 7, cell(mean(Swept::logit_mean), 2));
      column("spread", 7, cell(mean(Swept::logit_deviation), 2));
      column("skew", 6, cell(mean(Swept::logit_skewness), 2));
      column("kurt", 6, cell(mean(Swept::logit_kurtosis), 1));
      column("ceiling", 7, cell(mean(Swept::weight_ceiling), 3));
    }
    if (groups.repeats) {
      column("copies", 6, cell(mean(Swept::duplicate_weight), 3));
      column("after", 6, cell(mean(Swept::induction_weight), 3));
    }
    if (groups.offsets)
      column("stripe", 11, head.stripe < 0 ? "-" : fmt::format("{} {:.3f}", head.stripe, head.stripe_weight));
    out += '\n';
  }
  return out;
}

int measures(const MeasuresOptions& options) {
  const auto observation = options.what.observation({});
  const SweepGroups groups = groups_of(options);
  Sweep swept;
  {
    ProgressBar bar("Measuring", "layers");
    SweepOptions how;
    how.groups = groups;
    how.rows = options.rows;
    how.threads = options.what.model.threads;
    swept = sweep(*observation, how, bar.callback());
  }
  stop_if_interrupted();
  if (options.json) {
    fmt::print("{}\n", document_of(*observation, swept, groups).dump(1, ' ', false, Json::error_handler_t::replace));
    return exit_ok;
  }
  const auto length = static_cast<int64_t>(observation->tokens().size());
  fmt::print("Means over {} of {} tokens\n\n{}", grouped(swept.rows), grouped(length), table_of(swept, groups));
  return exit_ok;
}

}  // namespace

void add_measures(CLI::App& app, Action& action) {
  auto options = std::make_shared<MeasuresOptions>();
  CLI::App* command = app.add_subcommand("measures", "list measures of every head, those that need a second look too");
  options->what.declare(*command);
  command
      ->add_option(
          "--measures", options->groups,
          "what is looked at again: coverage (how many tokens hold 90 %), scores (before the softmax), repeats "
          "(weight on earlier copies and after them), offsets (by distance)")
      ->type_name("GROUPS")
      ->delimiter(',')
      ->check(CLI::IsMember({"coverage", "scores", "repeats", "offsets"}).description(""))
      ->allow_extra_args(false)
      ->default_str("coverage,scores,repeats,offsets");
  command->add_option("--rows", options->rows, "look at at most this many tokens' rows; 0: as many as are quick")
      ->type_name("N")
      ->check(within<int64_t>(0, int64_t{1} << 40))
      ->capture_default_str();
  command->add_flag("--json", options->json, "everything as JSON, what the trace holds included");
  command->footer(
      "Examples:\n"
      "  bareattn measures story.safetensors --measures coverage,repeats\n"
      "  bareattn measures -m MODEL.gguf story.txt --json\n"
      "The columns are defined in docs/measures.md.");
  command->callback([options, &action] { action = [options] { return measures(*options); }; });
}

}  // namespace bareattn::cli
