// See run_or_text.h.
#include "options/run_or_text.h"

#include "bareattn/error.h"
#include "bareattn/trace.h"
#include "console/progress.h"

namespace bareattn::cli {

void RunOrText::declare(CLI::App& command) {
  command_ = &command;
  input.declare(command, "RUN|TEXT", "a trace (*.safetensors), or with -m a text");
  model.declare(command);
  encoding.declare_chat(command, "the text");
  encoding.declare_special(command);
  encoding.declare_bos(command);
  reach.declare_beyond(command);
}

bool RunOrText::is_run() const { return input.argument.ends_with(".safetensors"); }

std::shared_ptr<const Observation> RunOrText::observation(const MeasureGroups& groups,
                                                          const MeasuresChoice* spans) const {
  if (is_run()) {
    refuse_with_trace(*command_, {"--text", "--file", "--chat", "--special", "--bos", "--no-bos", "--beyond",
                                  "--precision", "--attention"});
    if (spans != nullptr && !spans->spans.empty())
      throw InputError("--span names tokens of a text that is run now; a trace has the spans it was made with");
    auto trace = Trace::open(input.argument);
    static_cast<void>(model.made(*trace, "not used"));  // refuses
    return trace;
  }
  const InputText text = input.read();
  const auto loaded = model.load();
  std::vector<int32_t> tokens = encoding.encode(*loaded, text.text, reach.reach().beyond);
  ObservationOptions how;
  how.measures = groups;
  if (spans != nullptr && groups.spans)
    how.spans = spans->find(loaded->tokenizer(), tokens, encoding.chat ? text.text : "");
  how.beyond = reach.reach().beyond;
  reach.warn(loaded->config(), static_cast<int64_t>(tokens.size()));
  ProgressBar bar("Looking", "tokens");
  return observe(loaded, std::move(tokens), how, model.threads, bar.callback());
}

}  // namespace bareattn::cli
