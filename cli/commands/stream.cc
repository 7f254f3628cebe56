// `bareattn stream`: what happens to the residual stream over a text, layer by layer: massive activations and rank
// collapse.
#include "bareattn/stream.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "bareattn/error.h"
#include "bareattn/files.h"
#include "commands/commands.h"
#include "console/interrupt.h"
#include "console/progress.h"
#include "console/terminal.h"
#include "options/input.h"
#include "reports/json_text.h"

namespace bareattn::cli {
namespace {

struct StreamOptions {
  ModelChoice model;
  InputChoice input;
  TokenChoice encoding;
  bool json = false;
};

nlohmann::ordered_json to_json(const std::vector<StreamLayer>& layers, size_t tokens) {
  using Json = nlohmann::ordered_json;
  const auto number = [](double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); };
  Json list = Json::array();
  for (const StreamLayer& l : layers) {
    list.push_back(
        {{"largest",
          {{"token", l.largest.token}, {"dimension", l.largest.dimension}, {"value", number(double{l.largest.value})}}},
         {"median", number(l.median)},
         {"massive", l.massive},
         {"tokens", l.tokens},
         {"rank_residual", number(l.rank_residual)}});
  }
  return {{"kind", "bareattn.stream"}, {"version", 1}, {"tokens", tokens}, {"layers", list}};
}

int run(const StreamOptions& options) {
  const InputText input = options.input.read();
  const auto model = options.model.load();
  const auto tokens = options.encoding.encode(*model, input.text, std::nullopt);
  if (tokens.empty()) throw InputError("the text is empty: there is no stream");
  std::vector<StreamLayer> layers;
  {
    ProgressBar bar("Running", "tokens");
    layers = measure_stream(model, tokens, options.model.threads, bar.callback());
  }
  stop_if_interrupted();
  if (options.json) {
    fmt::print("{}", json_text(to_json(layers, tokens.size())));
    return exit_ok;
  }
  const Terminal terminal = terminal_of(STDOUT_FILENO);
  fmt::print("{}\n", bold(terminal, "Layer   largest    at token.dimension   median  massive  rank residual"));
  for (size_t i = 0; i < layers.size(); ++i) {
    const StreamLayer& l = layers[i];
    fmt::print("{:>5} {:>9.1f}  {:>20} {:>8.3f} {:>8} {:>14.4f}\n", i, l.largest.value,
               fmt::format("{}.{}", l.largest.token, l.largest.dimension), l.median, l.massive, l.rank_residual);
  }
  return exit_ok;
}

}  // namespace

void add_stream(CLI::App& app, Action& action) {
  auto options = std::make_shared<StreamOptions>();
  CLI::App* command = app.add_subcommand("stream", "find massive activations and rank collapse in the residual stream");
  options->input.declare(*command, "TEXT", "the text");
  options->model.declare(*command);
  options->encoding.declare_special(*command);
  command->add_flag("--json", options->json, "everything as JSON");
  command->footer(
      "Example:\n  bareattn stream -m MODEL.gguf story.txt\n"
      "Massive: larger than 100 and than 1,000 medians. Rank residual: what is left of the stream besides one row\n"
      "repeated; 0 is full collapse. Definitions: docs/measures.md.");
  command->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace bareattn::cli
