// `bareattn trace`: one text through the model, everything observed into a file, from which any weight can be asked for
// later: see tile.cc (tile, row, page) and docs/trace.md.
#include "bareattn/trace.h"

#include <fmt/format.h>

#include "bareattn/error.h"
#include "bareattn/files.h"
#include "bareattn/steering.h"
#include "commands/commands.h"
#include "console/interrupt.h"
#include "console/progress.h"
#include "console/terminal.h"
#include "options/input.h"
#include "options/measures_choice.h"
#include "options/reach_choice.h"

namespace bareattn::cli {
namespace {

struct TraceChoice {
  ModelChoice model;
  InputChoice input;
  ReachChoice reach;
  TokenChoice encoding;
  std::string output, store = "f16", title, table;
  MeasuresChoice measures;
};

TraceOptions options_of(const TraceChoice& choice, const InputText& input) {
  TraceOptions options;
  options.store = choice.store == "f32" ? Store::f32 : choice.store == "bf16" ? Store::bf16 : Store::f16;
  options.title = choice.title.empty() ? printable(input.origin) : choice.title;
  options.measures = choice.measures.measures();
  return options;
}

int trace(const TraceChoice& choice) {
  const InputText input = choice.input.read();
  TraceOptions options = options_of(choice, input);
  const Reach reach = choice.reach.reach();
  check_writable(choice.output);
  for (const std::string& in : {choice.input.path(), choice.model.path, choice.table})
    refuse_same_file(choice.output, in);
  const auto model = choice.model.load();
  const Tokenizer& tokenizer = model->tokenizer();
  std::vector<int32_t> tokens = choice.encoding.encode(*model, input.text, reach.beyond);
  const auto count = static_cast<int64_t>(tokens.size());
  options.spans = choice.measures.find(tokenizer, tokens, choice.encoding.chat ? input.text : "");
  choice.reach.warn(model->config(), count);
  if (!choice.table.empty()) {
    const auto all = steering_from_json(read_file(choice.table, most_input_bytes, stop_if_interrupted));
    options.table = std::make_shared<const ScoreTable>(make_table(all, model->config(), count));
  }
  {
    ProgressBar bar("Tracing", "tokens");
    write_trace(choice.output, model, std::move(tokens), options, reach, choice.model.threads, bar.callback());
  }
  const auto made = Trace::open(choice.output);
  fmt::print("{}  {} tokens, {} heads, Q and K in {}, {:.1f} s\n", printable(choice.output), grouped(count),
             model->config().layers * model->config().heads, choice.store, made->run().seconds);
  return exit_ok;
}

}  // namespace

void add_trace(CLI::App& app, Action& action) {
  auto choice = std::make_shared<TraceChoice>();
  CLI::App* command = app.add_subcommand("trace", "write a run to a file, from which any weight is exact later");
  choice->input.declare(*command, "TEXT", "the text");
  choice->model.declare(*command);
  command->add_option("-o,--output", choice->output, "the file to write (safetensors)")->type_name("RUN")->required();
  command->add_option("--store", choice->store, "what Q and K are kept as: f16, bf16, or f32 (weights bit for bit)")
      ->type_name("TYPE")
      ->check(CLI::IsMember({"f16", "bf16", "f32"}).description(""))
      ->capture_default_str();
  choice->measures.groups.push_back("values");  // what tile and row --value-weighted need
  command->add_option("--table", choice->table, "steer the run by a steering file (docs/steering.md)")
      ->type_name("FILE");
  choice->measures.declare(*command, groups_help, false);
  choice->encoding.declare_chat(*command, "the text");
  choice->encoding.declare_special(*command);
  choice->encoding.declare_bos(*command);
  choice->reach.declare(*command);
  command->add_option("--title", choice->title, "a title, for the page made from it")->type_name("TEXT");
  command->footer(
      "Examples:\n"
      "  bareattn trace -m MODEL.gguf story.txt -o story.safetensors\n"
      "  bareattn row story.safetensors 5.3 120 --top 10\n"
      "  bareattn page story.safetensors -o story.html\n"
      "What the file holds: docs/trace.md.");
  command->callback([choice, &action] { action = [choice] { return trace(*choice); }; });
}

}  // namespace bareattn::cli
