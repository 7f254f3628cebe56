// `bareattn perplexity`: how surprised the model is by a text.
#include <fmt/format.h>

#include "bareattn/error.h"
#include "commands/commands.h"
#include "console/interrupt.h"
#include "console/progress.h"
#include "console/terminal.h"
#include "options/input.h"

namespace bareattn::cli {
namespace {

struct PerplexityOptions {
  ModelChoice model;
  InputChoice input;
  TokenChoice encoding;
};

int measure_perplexity(const PerplexityOptions& options) {
  const InputText input = options.input.read();
  const auto model = options.model.load();
  const auto tokens = options.encoding.encode(*model, input.text, std::nullopt);
  if (tokens.size() < 2) throw InputError("the text is one token long; perplexity needs at least two");
  double value = 0;
  {
    ProgressBar bar("Running", "tokens");
    value = perplexity(model, tokens, options.model.threads, bar.callback());
  }
  stop_if_interrupted();
  fmt::print("{:.4f}  perplexity of {} tokens, {}\n", value, grouped(static_cast<int64_t>(tokens.size())),
             precision_text(*model));
  return exit_ok;
}

}  // namespace

void add_perplexity(CLI::App& app, Action& action) {
  auto options = std::make_shared<PerplexityOptions>();
  CLI::App* command = app.add_subcommand("perplexity", "measure how well the model predicts a text (lower is better)");
  options->input.declare(*command, "TEXT", "the text");
  options->model.declare(*command);
  options->encoding.declare_special(*command);
  command->footer("Example:\n  bareattn perplexity -m MODEL.gguf story.txt");
  command->callback([options, &action] { action = [options] { return measure_perplexity(*options); }; });
}

}  // namespace bareattn::cli
