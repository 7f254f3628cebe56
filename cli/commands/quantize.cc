// `bareattn quantize`: a copy of a model file with its weights stored as another type, so that `bareattn diff` can say
// what the storage does to every head.
#include "bareattn/quantize.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <vector>

#include "bareattn/error.h"
#include "bareattn/files.h"
#include "commands/commands.h"
#include "console/interrupt.h"
#include "console/progress.h"
#include "options/input.h"

namespace bareattn::cli {
namespace {

struct QuantizeChoice {
  std::string model, output, type;
};

int run_quantize(const QuantizeChoice& choice) {
  if (choice.model.empty()) throw InputError("no model: name a GGUF file with -m FILE or in BAREATTN_MODEL");
  check_writable(choice.output);
  refuse_same_file(choice.output, choice.model);
  WeightType type = WeightType::f32;
  for (const WeightType each : weight_types)
    if (choice.type == weight_type_name(each)) type = each;
  Quantized made;
  {
    ProgressBar bar("Writing", "tensors");
    made = quantize(choice.model, choice.output, type, bar.callback());
  }
  const std::string next =
      made.fallen_back == 0 ? "" : fmt::format("{} as the next type (rows not of 256), ", made.fallen_back);
  fmt::print("{}  {} tensors as {}, {}{} as f32, {:.1f} MB (was {:.1f} MB)\n", printable(choice.output), made.converted,
             choice.type, next, made.kept_f32, static_cast<double>(made.bytes_after) * 1e-6,
             static_cast<double>(made.bytes_before) * 1e-6);
  return exit_ok;
}

}  // namespace

void add_quantize(CLI::App& app, Action& action) {
  auto choice = std::make_shared<QuantizeChoice>();
  CLI::App* command = app.add_subcommand("quantize", "write a model file with its weights stored as another type");
  command->add_option("-m,--model", choice->model, "the model, a GGUF file (or set BAREATTN_MODEL)")
      ->type_name("FILE")
      ->envname("BAREATTN_MODEL");
  command->add_option("-o,--output", choice->output, "the file to write (GGUF)")->type_name("FILE")->required();
  std::vector<std::string> names;
  for (const WeightType each : weight_types) names.emplace_back(weight_type_name(each));
  command->add_option("--type", choice->type, fmt::format("{}", fmt::join(names, ", ")))
      ->type_name("TYPE")
      ->required()
      ->check(CLI::IsMember(names).description(""));
  command->footer(
      "A model that is already quantised is widened first and loses twice. Rows that 256 does not\n"
      "divide become q5_0 instead of q4_k and q8_0 instead of q6_k.\n"
      "Example:\n"
      "  bareattn quantize -m model-f16.gguf --type q8_0 -o model-q8_0.gguf");
  command->callback([choice, &action] { action = [choice] { return run_quantize(*choice); }; });
}

}  // namespace bareattn::cli
