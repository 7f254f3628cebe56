// `bareattn tile`: any rectangle of a head's weights from a trace, as a table, CSV, JSON or a NumPy file.
#include <fmt/format.h>

#include <bit>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "bareattn/error.h"
#include "bareattn/files.h"
#include "bareattn/trace.h"
#include "commands/commands.h"
#include "console/terminal.h"
#include "options/input.h"
#include "options/reach_choice.h"
#include "reports/json_text.h"

namespace bareattn::cli {
namespace {

constexpr int64_t most_cells = int64_t{1} << 28;  // 1 GB of f32

struct TileOptions {
  std::string run, head, rows, keys, output, model;
  bool csv = false, json = false, value_weighted = false;
};

// Nine digits name a float uniquely; NaN as the format has it.
std::string csv_of(const std::vector<float>& weights, int64_t columns) {
  std::string out;
  for (size_t i = 0; i < weights.size(); ++i)
    out += fmt::format("{:.9g}{}", weights[i], (static_cast<int64_t>(i) + 1) % columns == 0 ? '\n' : ',');
  return out;
}

// NumPy's format 1.0: magic, header padded so that the data begin at a multiple of 64, little-endian f32.
std::string npy_of(const std::vector<float>& weights, int64_t rows, int64_t columns) {
  static_assert(std::endian::native == std::endian::little);
  std::string header = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows, columns);
  header.append((64 - (10 + header.size() + 1) % 64) % 64, ' ').push_back('\n');
  std::string out("\x93NUMPY\x01\x00", 8);
  out.push_back(static_cast<char>(header.size() & 0xFF));
  out.push_back(static_cast<char>(header.size() >> 8));
  return out.append(header).append(reinterpret_cast<const char*>(weights.data()), weights.size() * sizeof(float));
}

std::string json_of(const TileOptions& options, const std::vector<float>& weights, TraceRange rows, TraceRange keys) {
  nlohmann::ordered_json lines = nlohmann::ordered_json::array();
  const auto columns = static_cast<size_t>(keys.end - keys.begin);
  for (size_t i = 0; columns != 0 && i < weights.size(); i += columns)
    lines.push_back(std::vector<float>(weights.begin() + static_cast<int64_t>(i),
                                       weights.begin() + static_cast<int64_t>(i + columns)));
  nlohmann::ordered_json json{
      {"head", options.head}, {"rows", {rows.begin, rows.end}}, {"keys", {keys.begin, keys.end}}};
  json["value_weighted"] = options.value_weighted;
  json["weights"] = std::move(lines);
  return json_text(json, -1);
}

std::string table_of(const std::vector<float>& weights, int64_t columns) {
  std::string out;
  for (size_t i = 0; i < weights.size(); ++i)
    out += fmt::format("{:8.5f}{}", weights[i], (static_cast<int64_t>(i) + 1) % columns == 0 ? "\n" : " ");
  return out;
}

int tile(const TileOptions& options) {
  if (!options.output.empty()) check_writable(options.output);
  for (const std::string& in : {options.run, options.model}) refuse_same_file(options.output, in);
  const auto trace = Trace::open(options.run);
  if (!options.model.empty()) trace->check_model_file(options.model);
  const HeadId head = parse_head(options.head, trace->model().config());
  const auto length = static_cast<int64_t>(trace->tokens().size());
  const TraceRange rows = parse_range("ROWS", options.rows, length), keys = parse_range("KEYS", options.keys, length);
  const int64_t columns = keys.end - keys.begin;
  if ((rows.end - rows.begin) * columns > most_cells) {
    throw InputError(fmt::format("{} x {} weights are too many for one tile; at most {} are made",
                                 rows.end - rows.begin, columns, most_cells));
  }
  const std::vector<float> weights =
      options.value_weighted ? value_weighted(*trace, head, rows, keys) : trace->tile(head, rows, keys);
  if (!options.output.empty()) {
    write_file(options.output, npy_of(weights, rows.end - rows.begin, columns));
    return exit_ok;
  }
  const std::string text = options.csv    ? csv_of(weights, columns)
                           : options.json ? json_of(options, weights, rows, keys)
                                          : table_of(weights, columns);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return exit_ok;
}

}  // namespace

void add_tile(CLI::App& app, Action& action) {
  auto options = std::make_shared<TileOptions>();
  CLI::App* command = app.add_subcommand("tile", "show a rectangle of a head's weights, exactly, from a trace");
  command->add_option("RUN", options->run, "a file made by bareattn trace")->type_name("")->required();
  command->add_option("HEAD", options->head, "LAYER.HEAD, both from 0: 5.3")->type_name("")->required();
  command->add_option("ROWS", options->rows, "BEGIN:END, the tokens that look")->type_name("")->required();
  command->add_option("KEYS", options->keys, "BEGIN:END, the tokens looked at")->type_name("")->required();
  command->add_flag("--value-weighted", options->value_weighted,
                    "weights times the size of what each key carries, |p v W_O|");
  CLI::Option* csv =
      command->add_flag("--csv", options->csv, "comma-separated, nine digits: enough to restore each bit");
  CLI::Option* json = command->add_flag("--json", options->json, "JSON")->excludes(csv);
  command->add_option("-o,--output", options->output, "write a NumPy file (.npy, float32)")
      ->type_name("FILE")
      ->excludes(csv)
      ->excludes(json);
  command->add_option("--check-model", options->model, "refuse a trace that was not made with this model file")
      ->type_name("FILE");
  command->footer(
      "Examples:\n"
      "  bareattn tile story.safetensors 5.3 100:120 0:120 --csv\n"
      "  bareattn tile story.safetensors 5.3 : : -o head.npy");
  command->callback([options, &action] { action = [options] { return tile(*options); }; });
}

}  // namespace bareattn::cli
