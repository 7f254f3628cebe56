// `bareattn measures`: every measure of every head, of a trace or of a text that is run now; those that need a second
// look at every weight included, which cost nothing until they are asked for here. Definitions: docs/measures.md.
#include <fmt/format.h>

#include <cstdio>

#include "bareattn/error.h"
#include "bareattn/sweep.h"
#include "commands/commands.h"
#include "console/interrupt.h"
#include "console/progress.h"
#include "options/measures_choice.h"
#include "options/run_or_text.h"
#include "reports/measures_report.h"

namespace bareattn::cli {
namespace {

struct MeasuresOptions {
  RunOrText what;
  MeasuresChoice measures{.groups = {"coverage", "scores", "repeats", "offsets"}, .spans = {}};
  int64_t rows = 0, top = 0;
  std::string sort;
  bool json = false, value_weighted = false;
};

SweepGroups swept_groups(const MeasuresOptions& options) {
  SweepGroups groups = options.measures.swept();
  if (!options.value_weighted) return groups;
  if (options.measures.named->count() > 0 && options.measures.gives("scores"))
    throw InputError("--value-weighted: scores come before the weights and have no such form; leave out 'scores'");
  groups.scores = false;
  return groups;
}

// The groups that are made of a text. Value-weighted ones are made from the shares later, so the pass makes none.
MeasureGroups pass_groups(const MeasuresOptions& options) {
  MeasureGroups groups = options.measures.of_pass() ? options.measures.measures() : MeasureGroups{};
  groups.map = groups.agreement = false;  // nothing of a head's own
  if (options.value_weighted)
    groups = {.rows = false, .distance = false, .spans = true, .columns = false, .map = false, .values = true};
  return groups;
}

// What is shown: of a trace what it holds, if nothing else was asked for. InputError where a group that was named is
// not there.
MeasureGroups shown_groups(const MeasuresOptions& options, const MeasureGroups& there) {
  const bool chosen = options.measures.of_pass();
  MeasureGroups shown = chosen ? options.measures.measures() : there;
  if (options.value_weighted) {
    if (!chosen) shown = {.columns = false, .map = false, .spread = true};
    return shown;
  }
  using Group = std::pair<const char*, bool MeasureGroups::*>;
  for (const auto& [name, group] : {Group{"rows", &MeasureGroups::rows}, Group{"distance", &MeasureGroups::distance},
                                    Group{"spans", &MeasureGroups::spans}, Group{"columns", &MeasureGroups::columns},
                                    Group{"spread", &MeasureGroups::spread}, Group{"values", &MeasureGroups::values}}) {
    if (!(there.*group) && options.measures.gives(name))
      throw InputError(
          fmt::format("'{}' was not kept in this trace; bareattn trace --measures all keeps it, as does a "
                      "list with '{}'",
                      name, name));
    shown.*group = shown.*group && there.*group;
  }
  return shown;
}

int measures(const MeasuresOptions& options) {
  const SweepGroups groups = swept_groups(options);
  const auto observation = options.what.observation(pass_groups(options), &options.measures);
  if (options.value_weighted) static_cast<void>(observation->carried({0, 0}));  // refuses
  MeasuresReport report;
  report.shown = shown_groups(options, observation->measured());
  Sweep swept;
  {
    ProgressBar bar("Measuring", "layers");
    SweepOptions how;
    how.groups = groups;
    how.rows = groups.any() || options.value_weighted ? options.rows : int64_t{1} << 40;  // else nothing is looked at
    how.threads = options.what.model.threads;
    how.value_weighted = options.value_weighted;
    swept = sweep(*observation, how, bar.callback());
  }
  stop_if_interrupted();
  report.observation = observation.get();
  report.sweep = &swept;
  report.groups = groups;
  report.value_weighted = options.value_weighted;
  report.sort = options.sort;
  report.top = options.top;
  report.listed = options.measures.of_pass() || (options.value_weighted && options.measures.named->count() == 0);
  const std::string printed = options.json ? measures_json(report) : measures_text(report);
  std::fwrite(printed.data(), 1, printed.size(), stdout);
  return exit_ok;
}

}  // namespace

void add_measures(CLI::App& app, Action& action) {
  auto options = std::make_shared<MeasuresOptions>();
  CLI::App* command = app.add_subcommand("measures", "list measures of every head, those that need a second look too");
  options->what.declare(*command);
  options->measures.declare(
      *command,
      "what is listed. By a second look: coverage (how many tokens hold 90 %), scores (before the "
      "softmax), repeats (weight on earlier copies and after them), offsets (by distance). Of "
      "the run itself: rows, distance, spans, columns, spread, values, roles (rows, distance and "
      "spans); all, none",
      true);
  command->add_flag("--value-weighted", options->value_weighted,
                    "measures of the shares of |p v W_O|, the weight times the size of what each key carries");
  command->add_option("--rows", options->rows, "look at at most this many tokens' rows; 0: as many as are quick")
      ->type_name("N")
      ->check(within<int64_t>(0, int64_t{1} << 40))
      ->capture_default_str();
  CLI::Option* sort = command->add_option("--sort", options->sort, "list the heads by this column, the most first")
                          ->type_name("COLUMN");
  CLI::Option* top = command->add_option("--top", options->top, "list this many heads (default: all)")
                         ->type_name("N")
                         ->check(within<int64_t>(1, 1'000'000));
  command->add_flag("--json", options->json, "everything as JSON, what the trace holds included")
      ->excludes(sort)
      ->excludes(top);
  command->footer(
      "Examples:\n"
      "  bareattn measures story.safetensors --measures coverage,repeats\n"
      "  bareattn measures story.safetensors --measures repeats --sort after --top 10\n"
      "  bareattn measures -m MODEL.gguf story.txt --json\n"
      "  bareattn measures -m MODEL.gguf story.txt --value-weighted --measures spans\n"
      "The columns are defined in docs/measures.md.");
  command->callback([options, &action] { action = [options] { return measures(*options); }; });
}

}  // namespace bareattn::cli
