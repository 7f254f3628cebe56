// `bareattn generate`: goes on from a prompt. Tokens are printed as they come, a character split over tokens when it
// is whole; on a terminal what could act on it is spelled out, into a pipe the bytes go as they are.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "bareattn/end_tokens.h"
#include "bareattn/error.h"
#include "bareattn/files.h"
#include "commands/commands.h"
#include "console/ending.h"
#include "console/interrupt.h"
#include "console/progress.h"
#include "console/terminal.h"
#include "options/input.h"

namespace bareattn::cli {
namespace {

struct GenerateOptions {
  ModelChoice model;
  InputChoice input;
  SamplingOptions sampling;
  int count = 128;
  TokenChoice encoding;
};

// Bytes at the end of `text` that begin a UTF-8 character which is not complete yet.
size_t unfinished(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xC0) == 0x80) continue;
    const size_t needed = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
    return needed > back ? back : 0;
  }
  return 0;
}

class Printer {
 public:
  explicit Printer(bool escaped) : escaped_(escaped) {}
  void add(std::string_view bytes) {
    pending_ += bytes;
    emit(pending_.size() - unfinished(pending_));
  }
  void finish() {
    emit(pending_.size());
    if (escaped_) std::fputc('\n', stdout);  // a terminal's next line; a pipe gets what the model made, no more
  }

 private:
  void emit(size_t count) {
    const std::string text = pending_.substr(0, count);
    pending_.erase(0, count);
    const std::string shown = escaped_ ? printable(text, true) : text;
    std::fwrite(shown.data(), 1, shown.size(), stdout);
    std::fflush(stdout);
  }
  bool escaped_;
  std::string pending_;
};

int generate_text(const GenerateOptions& options) {
  const InputText input = options.input.read();
  const auto model = options.model.load();
  const Tokenizer& tokenizer = model->tokenizer();
  const auto tokens = options.encoding.encode(*model, input.text, std::nullopt);
  const int64_t length = static_cast<int64_t>(tokens.size()), context = model->config().context_length;
  if (length + options.count > context) {
    throw InputError(fmt::format("the prompt's {} tokens and {} to generate are more than this model's context of {}",
                                 length, options.count, context));
  }
  SessionOptions session_options;
  session_options.threads = options.model.threads;
  session_options.max_tokens = length + options.count;
  Session session(model, session_options);
  TensorView<const float> logits;
  {
    ProgressBar bar("Reading the prompt", "tokens");
    logits = session.run(tokens, Logits::last, nullptr, bar.callback());
  }
  Printer printer(isatty(STDOUT_FILENO) == 1);
  if (!options.encoding.chat) printer.add(input.text);
  // The view of the last row's logits, [1, V], as [V].
  const TensorView<const float> last(logits.data, {model->config().vocab_size});
  generate(session, last, options.count, options.sampling, [&](int32_t id) {
    if (!ends_generation(*model, id)) printer.add(tokenizer.piece(id));
    return !interrupted();
  });
  printer.finish();
  if (interrupted()) return interrupted_status();
  return exit_ok;
}

}  // namespace

void add_generate(CLI::App& app, Action& action) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App* command = app.add_subcommand("generate", "continue a prompt");
  options->input.declare(*command, "PROMPT", "the prompt");
  options->model.declare(*command);
  options->encoding.declare_chat(*command, "the prompt");
  options->encoding.declare_special(*command);
  command->add_option("-n,--count", options->count, "how many tokens at most")
      ->type_name("N")
      ->check(within(1, 1 << 24))
      ->capture_default_str();
  command
      ->add_option("--temperature", options->sampling.temperature,
                   "0 takes the likeliest token; 1 samples as the model says")
      ->type_name("T")
      ->check(within(0.0, 100.0))
      ->capture_default_str();
  command->add_option("--top-k", options->sampling.top_k, "sample from the K likeliest only; 0: from all")
      ->type_name("K")
      ->check(within(0, 1 << 30))
      ->capture_default_str();
  command->add_option("--top-p", options->sampling.top_p, "sample from the likeliest that make up this probability")
      ->type_name("P")
      ->check(within(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--seed", options->sampling.seed, "the same seed gives the same text")
      ->type_name("S")
      ->capture_default_str();
  command->footer(
      "Examples:\n"
      "  bareattn generate -m MODEL.gguf \"Once upon a time\" -n 64\n"
      "  bareattn generate -m MODEL.gguf --chat \"Name three colours.\" --temperature 0.7 --top-p 0.9 --seed 1");
  command->callback([options, &action] { action = [options] { return generate_text(*options); }; });
}

}  // namespace bareattn::cli
