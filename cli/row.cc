// `bareattn row`: where one token looks, the strongest keys first, exactly, from a trace.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "bareattn/error.h"
#include "bareattn/files.h"
#include "bareattn/trace.h"
#include "commands.h"
#include "reach_choice.h"
#include "terminal.h"

namespace bareattn::cli {
namespace {

struct RowOptions {
  std::string run, head, row, model;
  int top = 10;
  bool json = false, value_weighted = false;
};

int print_value_weighted(const RowOptions& options, const Trace& trace, int64_t row,
                         const std::vector<std::pair<int32_t, float>>& keys, const std::vector<float>& weights) {
  const auto& texts = trace.token_texts();
  fmt::print("Head {} at token {} {} takes from (size, weight)\n", options.head, row,
             cli::quoted(printable(texts[static_cast<size_t>(row)])));
  for (const auto& [key, size] : keys)
    fmt::print("  {:>8}  {:>10.5f}  {:.6f}  {}\n", key, size, weights[static_cast<size_t>(key)],
               cli::quoted(printable(texts[static_cast<size_t>(key)])));
  return exit_ok;
}

int show_row(const RowOptions& options) {
  const auto trace = Trace::open(options.run);
  if (!options.model.empty()) trace->check_model_file(options.model);
  const HeadId head = parse_head(options.head, trace->model().config());
  const TraceRange range = parse_range("ROW", options.row, static_cast<int64_t>(trace->tokens().size()));
  if (range.end - range.begin != 1) throw InputError("ROW: '" + options.row + "' is no single token");
  const int64_t row = range.begin;
  const auto keys = options.value_weighted ? top_value_weighted(*trace, head, row, options.top)
                                           : trace->top_keys(head, row, options.top);
  const std::vector<float> weights = options.value_weighted ? trace->row_weights(head, row) : std::vector<float>();
  const auto& texts = trace->token_texts();
  if (options.json) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const auto& [key, value] : keys) {
      list.push_back({{"key", key}, {"text", texts[static_cast<size_t>(key)]}});
      list.back()["weight"] = options.value_weighted ? weights[static_cast<size_t>(key)] : value;
      if (options.value_weighted) list.back()["value_weighted"] = value;
    }
    const nlohmann::ordered_json json{
        {"head", options.head}, {"row", row}, {"text", texts[static_cast<size_t>(row)]}, {"keys", list}};
    fmt::print("{}\n", json.dump());
    return exit_ok;
  }
  if (options.value_weighted) return print_value_weighted(options, *trace, row, keys, weights);
  fmt::print("Head {} at token {} {} looks at\n", options.head, row,
             cli::quoted(printable(texts[static_cast<size_t>(row)])));
  double rest = 1;
  for (const auto& [key, weight] : keys) {
    fmt::print("  {:>8}  {:.6f}  {}\n", key, weight, cli::quoted(printable(texts[static_cast<size_t>(key)])));
    rest -= weight;
  }
  if (const int64_t others = row + 1 - static_cast<int64_t>(keys.size()); others > 0)
    fmt::print("  {:>8}  {:.6f}  in the other {} tokens\n", "", std::max(0.0, rest), grouped(others));
  return exit_ok;
}

}  // namespace

void add_row(CLI::App& app, Action& action) {
  auto options = std::make_shared<RowOptions>();
  CLI::App* command = app.add_subcommand("row", "list where one token looks, from a trace");
  command->add_option("RUN", options->run, "a file made by bareattn trace")->type_name("")->required();
  command->add_option("HEAD", options->head, "LAYER.HEAD, both from 0: 5.3")->type_name("")->required();
  command->add_option("ROW", options->row, "the token that looks, counted from 0")->type_name("")->required();
  command->add_option("--top", options->top, "how many keys")
      ->type_name("K")
      ->check(within(1, 1'000'000))
      ->capture_default_str();
  command->add_flag("--value-weighted", options->value_weighted,
                    "rank by weight times the size of what each key carries, |p v W_O|");
  command->add_flag("--json", options->json, "JSON");
  command->add_option("--check-model", options->model, "refuse a trace that was not made with this model file")
      ->type_name("FILE");
  command->footer("Example:\n  bareattn row story.safetensors 5.3 120 --top 50");
  command->callback([options, &action] { action = [options] { return show_row(*options); }; });
}

}  // namespace bareattn::cli
