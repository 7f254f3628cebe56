// The options that choose a model and how it runs: see commands.h and model_choice.h.
#include "options/model_choice.h"

#include <cstdlib>

#include "bareattn/error.h"
#include "bareattn/model_file.h"
#include "bareattn/trace.h"
#include "commands/commands.h"
#include "console/interrupt.h"
#include "console/progress.h"
#include "console/warn.h"

namespace bareattn::cli {

void ModelChoice::declare(CLI::App& command) {
  command.add_option("-m,--model", path, "the model, a GGUF file (or set BAREATTN_MODEL)")
      ->type_name("FILE")
      ->envname("BAREATTN_MODEL");
  command.add_option("-t,--threads", threads, "threads; 0 takes all cores, the results are the same for any number")
      ->type_name("N")
      ->check(within(0, 1024))
      ->capture_default_str();
  command.add_option("--precision", precision, "f32 or bf16, of the projections")
      ->type_name("TYPE")
      ->check(CLI::IsMember({"f32", "bf16"}).description(""))
      ->capture_default_str();
  command
      .add_option("--attention", attention, "f32 or bf16, of attention itself: bf16 rounds queries, keys and values")
      ->type_name("TYPE")
      ->check(CLI::IsMember({"f32", "bf16"}).description(""))
      ->capture_default_str();
}

const std::string& named(const ModelChoice& choice) {
  if (choice.path.empty()) throw InputError("no model: name a GGUF file with -m FILE or in BAREATTN_MODEL");
  return choice.path;
}

std::shared_ptr<const Tokenizer> load_tokenizer(const ModelChoice& choice) {
  std::vector<std::string> warnings;
  const auto tokenizer = read_tokenizer(named(choice), &warnings);
  for (const std::string& warning : warnings) warn(warning);
  return tokenizer;
}

std::shared_ptr<const Model> ModelChoice::load() const {
  static_cast<void>(named(*this));
  LoadOptions options;
  options.precision = precision == "bf16" ? Precision::bf16 : Precision::f32;
  options.attention = attention == "bf16" ? Precision::bf16 : Precision::f32;
  options.threads = threads;
  std::shared_ptr<const Model> model;
  {
    const ProgressBar bar("Loading " + path.substr(path.rfind('/') + 1), "");
    model = Model::load(path, options);
  }
  for (const std::string& warning : model->warnings()) warn(warning);
  stop_if_interrupted();
  return model;
}

void ModelChoice::leave_out(const InputError& error, const std::string& lost) const {
  const char* everywhere = std::getenv("BAREATTN_MODEL");
  if (everywhere == nullptr || path != everywhere) throw;
  warn(lost + " (BAREATTN_MODEL): " + error.what());
}

bool ModelChoice::made(const Trace& trace, const std::string& lost) const {
  if (path.empty()) return false;
  try {
    trace.check_model_file(path);
    return true;
  } catch (const InputError& error) {
    leave_out(error, lost);
    return false;
  }
}

ModelChoice ModelChoice::as_made(const Trace& trace) const {
  ModelChoice model = *this;
  model.precision = precision_name(trace.model().precision());
  model.attention = precision_name(trace.model().attention());
  return model;
}

void refuse_with_trace(const CLI::App& command, std::initializer_list<const char*> options) {
  for (const char* name : options) {
    if (command.count(name) > 0)
      throw InputError(std::string(name) + " is for a text that is run now; a trace is as it was made");
  }
}

}  // namespace bareattn::cli
