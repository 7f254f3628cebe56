// `bareattn info`: what a model file holds, in a few lines.
#include <fmt/format.h>
#include <sys/stat.h>

#include "bareattn/files.h"
#include "commands/commands.h"
#include "console/terminal.h"

namespace bareattn::cli {
namespace {

void line(std::string_view label, std::string_view value) { fmt::print("{}{}\n", padded(label, 14), printable(value)); }

std::string token_name(const Tokenizer& tokenizer, int32_t id) {
  return id < 0 ? "none" : fmt::format("{} ({})", id, tokenizer.piece(id));
}

int info(const ModelChoice& choice) {
  const auto model = choice.load();
  const ModelConfig& c = model->config();
  const Tokenizer& tokenizer = model->tokenizer();
  const TokenizerSpec& spec = tokenizer.spec();
  struct stat status {};
  const double megabytes = stat(model->path().c_str(), &status) == 0 ? static_cast<double>(status.st_size) / 1e6 : 0;
  line("File", fmt::format("{}, {:.1f} MB", model->path(), megabytes));
  line("SHA-256", model->sha256());
  line("Name", c.name);
  line("Architecture", c.architecture);
  line("Weights", fmt::format("{} parameters, mostly {}", grouped(model->parameters()), c.file_type));
  line("Layers",
       fmt::format("{} of {} query heads, {} key-value heads, head dim {}", c.layers, c.heads, c.kv_heads, c.head_dim));
  line("Width", fmt::format("{}, in the MLP {}", c.width, c.mlp_width));
  line("Positions", fmt::format("context of {} tokens, RoPE base {}", grouped(c.context_length), c.rope_base));
  line("Tokenizer", fmt::format("{} ({}), {} tokens, {} merges", spec.model, spec.pre, grouped(tokenizer.size()),
                                grouped(static_cast<int64_t>(spec.merges.size()))));
  line("Special",
       fmt::format("beginning {}, end {}", token_name(tokenizer, spec.bos_id), token_name(tokenizer, spec.eos_id)));
  line("Chat", spec.chat_template.empty() ? "no template" : "has a template");
  return exit_ok;
}

}  // namespace

void add_info(CLI::App& app, Action& action) {
  auto choice = std::make_shared<ModelChoice>();
  CLI::App* command = app.add_subcommand("info", "show what a model file holds");
  command->add_option("MODEL", choice->path, "the model, a GGUF file (or set BAREATTN_MODEL)")
      ->envname("BAREATTN_MODEL")
      ->type_name("");
  command->footer("Example:\n  bareattn info MODEL.gguf");
  command->callback([choice, &action] { action = [choice] { return info(*choice); }; });
}

}  // namespace bareattn::cli
