// `bareattn agree`: which heads of a layer agree, which look at different things, and which contradict each other; of a
// trace, or of a text that is run now. Definitions: docs/measures.md, "Agreement between heads".
#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "bareattn/agreement.h"
#include "bareattn/error.h"
#include "commands/commands.h"
#include "console/interrupt.h"
#include "console/progress.h"
#include "console/terminal.h"
#include "options/run_or_text.h"
#include "reports/agreement_report.h"
#include "reports/json_text.h"

namespace bareattn::cli {
namespace {

struct AgreeChoice {
  RunOrText what;
  AgreementOptions options;
  int top = 10;
  bool json = false;
};

int agree(const AgreeChoice& choice) {
  const auto observation = choice.what.observation({.rows = false,
                                                    .distance = false,
                                                    .spans = false,
                                                    .columns = false,
                                                    .map = false,
                                                    .values = choice.options.value_weighted,
                                                    .agreement = true});
  const auto length = static_cast<int64_t>(observation->tokens().size());
  if (length < 2) throw InputError("the text has one token: heads can only be compared from the second on");
  if (choice.options.value_weighted) static_cast<void>(observation->carried({0, 0}));  // refuses, before the bar
  Agreement found;
  {
    ProgressBar bar("Comparing heads", "layers");
    found = head_agreement(*observation, choice.options, bar.callback());
  }
  stop_if_interrupted();
  if (choice.json) {
    const nlohmann::ordered_json document{{"kind", "bareattn.agree"},
                                          {"version", 1},
                                          {"model_sha256", observation->model().sha256()},
                                          {"tokens", length},
                                          {"value_weighted", choice.options.value_weighted},
                                          {"agreement", agreement_json(found)}};
    fmt::print("{}", json_text(document));
    return exit_ok;
  }
  const Terminal terminal = terminal_of(STDOUT_FILENO);
  fmt::print("{} pairs of heads{} over {}\n", grouped(static_cast<int64_t>(found.pairs.size())),
             choice.options.value_weighted ? ", value-weighted," : "",
             found.rows == length - 1
                 ? fmt::format("{} tokens", grouped(length))
                 : fmt::format("{} of {} tokens (all with --rows {})", grouped(found.rows), grouped(length), length));
  for (const PairRanking& ranking : rank_pairs(found, choice.top))
    fmt::print("\n{}\n{}", bold(terminal, ranking.title), pair_table(ranking.pairs));
  if (!observation->measured().agreement)
    fmt::print("\nWhat the heads write was not kept in this trace: make it with --measures all or with 'agreement'.\n");
  return exit_ok;
}

}  // namespace

void add_agree(CLI::App& app, Action& action) {
  auto choice = std::make_shared<AgreeChoice>();
  CLI::App* command = app.add_subcommand("agree", "find heads of a layer that agree, and that contradict each other");
  choice->what.declare(*command);
  command->add_option("--top", choice->top, "how many pairs of each kind to list")
      ->type_name("N")
      ->check(within(1, 1'000'000))
      ->capture_default_str();
  command->add_option("--rows", choice->options.rows, "compare at most this many tokens' rows; 0: as many as are quick")
      ->type_name("N")
      ->check(within<int64_t>(0, int64_t{1} << 40))
      ->capture_default_str();
  command->add_flag("--value-weighted", choice->options.value_weighted,
                    "compare shares of |p v W_O|, the weight times the size of what each key carries");
  command->add_flag("--json", choice->json, "every pair as JSON");
  command->footer(
      "Examples:\n"
      "  bareattn agree -m MODEL.gguf story.txt\n"
      "  bareattn agree story.safetensors --rows 0 --top 20\n"
      "JS: how differently two heads look, from 0 (alike) to 0.693. Output: the cosine of what they write; below 0 "
      "one\n"
      "undoes what the other does. Definitions: docs/measures.md.");
  command->callback([choice, &action] {
    action = [choice] {
      choice->options.threads = choice->what.model.threads;
      return agree(*choice);
    };
  });
}

}  // namespace bareattn::cli
