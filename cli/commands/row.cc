// `bareattn row`: where one token looks, the strongest keys first, exactly, from a trace.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "bareattn/error.h"
#include "bareattn/files.h"
#include "bareattn/trace.h"
#include "commands/commands.h"
#include "console/terminal.h"
#include "options/reach_choice.h"
#include "reports/json_text.h"

namespace bareattn::cli {
namespace {

struct RowOptions {
  std::string run, head, row, model;
  int top = 10;
  bool json = false, value_weighted = false;
};

// One row: what its keys are ranked by, the weights or the sizes, and what those that are not listed have together.
struct Row {
  int64_t at = 0;
  std::vector<float> weights, ranked;
  std::vector<std::pair<int32_t, float>> keys;  // the strongest
  int64_t others = 0;
  double rest = 0, total = 0;
};

Row row_of(const RowOptions& options, const Trace& trace, HeadId head, int64_t at) {
  Row row;
  row.at = at;
  row.weights = trace.row_weights(head, at);
  row.ranked = options.value_weighted ? value_weighted(trace, head, {at, at + 1}, {0, at + 1}) : row.weights;
  row.keys =
      options.value_weighted ? top_value_weighted(trace, head, at, options.top) : trace.top_keys(head, at, options.top);
  std::vector<bool> listed(row.ranked.size());
  for (const auto& [key, value] : row.keys) listed[static_cast<size_t>(key)] = true;
  for (size_t j = 0; j < listed.size(); ++j) {
    row.total += static_cast<double>(row.ranked[j]);
    if (!listed[j]) row.rest += static_cast<double>(row.ranked[j]);
  }
  row.others = static_cast<int64_t>(listed.size() - row.keys.size());
  return row;
}

std::string json_of(const RowOptions& options, const Trace& trace, const Row& row) {
  const auto& texts = trace.token_texts();
  const char* name = options.value_weighted ? "value_weighted" : "weight";
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const auto& [key, value] : row.keys) {
    list.push_back({{"key", key}, {"text", texts[static_cast<size_t>(key)]}});
    list.back()["weight"] = row.weights[static_cast<size_t>(key)];
    list.back()[name] = value;
  }
  const nlohmann::ordered_json json{{"head", options.head},
                                    {"row", row.at},
                                    {"text", texts[static_cast<size_t>(row.at)]},
                                    {"keys", list},
                                    {"others", {{"keys", row.others}, {name, row.rest}}},
                                    {"total", row.total}};
  return json_text(json, -1);
}

std::string text_of(const RowOptions& options, const Trace& trace, const Row& row) {
  const auto quoted_token = [&](int64_t at) {
    return cli::quoted(printable(trace.token_texts()[static_cast<size_t>(at)]));
  };
  std::string out = fmt::format("Head {} at token {} {} {}\n", options.head, row.at, quoted_token(row.at),
                                options.value_weighted ? "takes from (size, weight)" : "looks at");
  for (const auto& [key, value] : row.keys) {
    out += options.value_weighted ? fmt::format("  {:>8}  {:>10.5f}  {:.6f}  {}\n", key, value,
                                                row.weights[static_cast<size_t>(key)], quoted_token(key))
                                  : fmt::format("  {:>8}  {:.6f}  {}\n", key, value, quoted_token(key));
  }
  if (row.others == 0) return out;
  const std::string rest =
      options.value_weighted ? fmt::format("{:>10.5f}            ", row.rest) : fmt::format("{:.6f}  ", row.rest);
  return out +
         fmt::format("  {:>8}  {}in the other {} token{}\n", "", rest, grouped(row.others), row.others == 1 ? "" : "s");
}

int show_row(const RowOptions& options) {
  const auto trace = Trace::open(options.run);
  if (!options.model.empty()) trace->check_model_file(options.model);
  const HeadId head = parse_head(options.head, trace->model().config());
  const TraceRange range = parse_range("ROW", options.row, static_cast<int64_t>(trace->tokens().size()));
  if (range.end - range.begin != 1) throw InputError("ROW: '" + options.row + "' is no single token");
  const Row row = row_of(options, *trace, head, range.begin);
  fmt::print("{}", options.json ? json_of(options, *trace, row) : text_of(options, *trace, row));
  return exit_ok;
}

}  // namespace

void add_row(CLI::App& app, Action& action) {
  auto options = std::make_shared<RowOptions>();
  CLI::App* command = app.add_subcommand("row", "list where one token looks, from a trace");
  command->add_option("RUN", options->run, "a file made by bareattn trace")->type_name("")->required();
  command->add_option("HEAD", options->head, "LAYER.HEAD, both from 0: 5.3")->type_name("")->required();
  command->add_option("ROW", options->row, "the token that looks, counted from 0; -1 is the last")
      ->type_name("")
      ->required();
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
