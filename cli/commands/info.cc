// `bareattn info`: what a model file holds, in a few lines; of a file that cannot be run too, and why not.
#include <fmt/format.h>
#include <sys/stat.h>

#include <map>

#include "bareattn/files.h"
#include "bareattn/model_file.h"
#include "commands/commands.h"
#include "console/terminal.h"
#include "console/warn.h"
#include "options/model_choice.h"

namespace bareattn::cli {
namespace {

void line(std::string_view label, std::string_view value) { fmt::print("{}{}\n", padded(label, 14), printable(value)); }

std::string token_name(const Tokenizer& tokenizer, int32_t id) {
  return id < 0 ? "none" : fmt::format("{} ({})", id, tokenizer.piece(id));
}

void tokenizer_lines(const ModelFile& file) {
  const Tokenizer& tokenizer = *file.tokenizer;
  const TokenizerSpec& spec = tokenizer.spec();
  line("Tokenizer", fmt::format("{} ({}), {} tokens, {} merges", spec.model, spec.pre, grouped(tokenizer.size()),
                                grouped(static_cast<int64_t>(spec.merges.size()))));
  std::string ends;
  for (const int32_t id : file.ends) ends += (ends.empty() ? "" : ", ") + token_name(tokenizer, id);
  line("Special",
       fmt::format("beginning {}, end {}", token_name(tokenizer, spec.bos_id), ends.empty() ? "none" : ends));
  line("Chat", spec.chat_template.empty() ? "no template" : "has a template");
}

// "context of 8,192 tokens, RoPE base 10000"; layers that do otherwise are counted.
std::string positions(const Architecture& a) {
  std::map<float, int> bases;
  for (int i = 0; i < a.layers; ++i)
    if (a.layer(i).rotary) ++bases[a.layer(i).rope_base > 0 ? a.layer(i).rope_base : a.rope_base];
  std::string text = fmt::format("context of {} tokens", grouped(a.context_length));
  if (a.learned_positions) text += ", learned";
  for (const auto& [base, layers] : bases)
    text += fmt::format(", RoPE base {}", base) + (layers == a.layers ? "" : fmt::format(" in {} layers", layers));
  return text;
}

// "8 tokens in 3 of 6 layers"; empty where every layer sees the whole text.
std::string windows_of(const Architecture& a) {
  std::map<int64_t, int> windows;
  for (int i = 0; i < a.layers; ++i)
    if (const int64_t left = a.layer(i).scores.left_window; left >= 0) ++windows[left + 1];
  std::string text;
  for (const auto& [tokens, layers] : windows) {
    text += text.empty() ? "" : ", ";
    text += fmt::format("{} tokens in {} of {} layers", grouped(tokens), layers, a.layers);
  }
  return text;
}

int info(const ModelChoice& choice) {
  const ModelFile file = read_model_file(named(choice));
  for (const std::string& warning : file.warnings) warn(warning);
  struct stat status {};
  const double megabytes = stat(choice.path.c_str(), &status) == 0 ? static_cast<double>(status.st_size) / 1e6 : 0;
  line("File", fmt::format("{}, {:.1f} MB", choice.path, megabytes));
  line("SHA-256", file.sha256);
  line("Name", file.name);
  line("Architecture", file.architecture.empty() ? "not said" : file.architecture);
  if (file.parameters > 0)
    line("Weights", fmt::format("{} parameters, mostly {}", grouped(file.parameters), file.file_type));
  if (file.config) {
    const Architecture& c = *file.config;
    line("Layers", fmt::format("{} of {} query heads, {} key-value heads, head dim {}", c.layers, c.heads, c.kv_heads,
                               c.head_dim));
    line("Width", fmt::format("{}, in the MLP {}", c.width, c.mlp_width));
    line("Positions", positions(c));
    if (const std::string windows = windows_of(c); !windows.empty()) line("Windows", windows);
  }
  if (file.tokenizer) tokenizer_lines(file);
  if (!file.problem.empty()) fmt::print("{}{}\n", padded("Not run", 14), wrapped(printable(file.problem), 80, 14, 14));
  return exit_ok;
}

}  // namespace

void add_info(CLI::App& app, Action& action) {
  auto choice = std::make_shared<ModelChoice>();
  CLI::App* command = app.add_subcommand("info", "show what a model file holds");
  command->add_option("-m,--model,MODEL", choice->path, "the model, a GGUF file (or set BAREATTN_MODEL)")
      ->envname("BAREATTN_MODEL")
      ->type_name("");
  command->footer("Example:\n  bareattn info MODEL.gguf");
  command->callback([choice, &action] { action = [choice] { return info(*choice); }; });
}

}  // namespace bareattn::cli
