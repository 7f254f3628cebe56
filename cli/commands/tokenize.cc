// `bareattn tokenize`: the tokens of a text, one a line: position, id, text.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "bareattn/files.h"
#include "commands/commands.h"
#include "options/input.h"

namespace bareattn::cli {
namespace {

struct TokenizeOptions {
  ModelChoice model;
  InputChoice input;
  bool special = false, ids_only = false, json = false;
};

int tokenize(const TokenizeOptions& options) {
  const InputText input = options.input.read();
  const auto model = options.model.load();
  const Tokenizer& tokenizer = model->tokenizer();
  const auto ids = tokenizer.encode(input.text, options.special, tokenizer.spec().add_bos);
  if (options.json) {
    fmt::print("{}\n", nlohmann::json(ids).dump());
    return exit_ok;
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    if (options.ids_only) {
      fmt::print("{}\n", ids[i]);
    } else {
      fmt::print("{:>6} {:>8}  {}{}\n", i, ids[i], printable(tokenizer.piece(ids[i])),
                 tokenizer.is_special(ids[i]) ? "  (special)" : "");
    }
  }
  return exit_ok;
}

}  // namespace

void add_tokenize(CLI::App& app, Action& action) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command = app.add_subcommand("tokenize", "show the tokens of a text");
  options->input.declare(*command, "TEXT", "the text");
  options->model.declare(*command);
  command->add_flag("--special", options->special, "recognise control tokens such as <|im_start|> in the text");
  command->add_flag("--ids", options->ids_only, "print the ids alone, one a line");
  command->add_flag("--json", options->json, "print the ids as a JSON array");
  command->footer("Example:\n  bareattn tokenize -m MODEL.gguf \"1,234 naïve cats\"");
  command->callback([options, &action] { action = [options] { return tokenize(*options); }; });
}

}  // namespace bareattn::cli
