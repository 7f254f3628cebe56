// `bareattn tokenize`: the tokens of a text, one a line: position, id, text.
#include <fmt/format.h>

#include "bareattn/files.h"
#include "commands/commands.h"
#include "console/interrupt.h"
#include "options/input.h"
#include "options/model_choice.h"

namespace bareattn::cli {
namespace {

struct TokenizeOptions {
  ModelChoice model;
  InputChoice input;
  TokenChoice encoding;
  bool ids_only = false, json = false;
};

int tokenize(const TokenizeOptions& options) {
  const InputText input = options.input.read();
  const auto made = load_tokenizer(options.model);
  const Tokenizer& tokenizer = *made;
  const Tokenizer::Encoding how{options.encoding.special, tokenizer.spec().add_bos};
  // Once for nothing but its errors: nothing is printed of a text that cannot be encoded.
  tokenizer.encode(input.text, how, [](std::span<const int32_t>) {
    stop_if_interrupted();
    return true;
  });
  if (!options.encoding.special) warn_of_spelled(tokenizer, input.text);
  int64_t at = 0;
  if (options.json) fmt::print("[");
  // As they are made: the ids of a long text, and words for them, take many times its size.
  const auto print = [&](std::span<const int32_t> ids) {
    for (const int32_t id : ids) {
      if (options.json) {
        fmt::print("{}{}", at == 0 ? "" : ",", id);
      } else if (options.ids_only) {
        fmt::print("{}\n", id);
      } else {
        fmt::print("{:>6} {:>8}  {}{}\n", at, id, printable(tokenizer.piece(id)),
                   tokenizer.is_special(id) ? "  (special)" : "");
      }
      ++at;
    }
    stop_if_interrupted();
    return true;
  };
  tokenizer.encode(input.text, how, print);
  if (options.json) fmt::print("]\n");
  return exit_ok;
}

}  // namespace

void add_tokenize(CLI::App& app, Action& action) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command = app.add_subcommand("tokenize", "show the tokens of a text");
  options->input.declare(*command, "TEXT", "the text");
  options->model.declare(*command);
  options->encoding.declare_special(*command);
  command->add_flag("--ids", options->ids_only, "print the ids alone, one a line");
  command->add_flag("--json", options->json, "print the ids as a JSON array");
  command->footer("Example:\n  bareattn tokenize -m MODEL.gguf \"1,234 naïve cats\"");
  command->callback([options, &action] { action = [options] { return tokenize(*options); }; });
}

}  // namespace bareattn::cli
