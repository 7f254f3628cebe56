// `bareattn page`: the page of a trace, as `look -o` makes it of a run.
#include "bareattn/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bareattn/error.h"
#include "bareattn/files.h"
#include "bareattn/head_roles.h"
#include "bareattn/highlights.h"
#include "bareattn/trace.h"
#include "commands/commands.h"
#include "console/interrupt.h"
#include "console/progress.h"
#include "console/terminal.h"
#include "options/input.h"
#include "options/lesson_choice.h"

namespace bareattn::cli {
namespace {

struct PageChoice {
  std::string run, against, output, title, checked;
  ModelChoice model;
  LessonChoice lesson;
  double budget_megabytes = 25;
  bool value_weighted = false;
};

std::string title_of(const Trace& trace, const std::string& path) {
  return !trace.title().empty() ? trace.title() : printable(path.substr(path.rfind('/') + 1));
}

/// The second run, how much each head changed, and the heads that changed most first.
void compare(const PageChoice& choice, const Trace& first, PageOptions& options) {
  const auto second = Trace::open(choice.against);
  {
    ProgressBar bar("Comparing", "rows");
    options.changes = std::make_shared<const RunDiff>(diff(first, *second, {}, bar.callback()));
  }
  std::vector<HeadDiff> heads = options.changes->heads;
  const auto change = [](const HeadDiff& head) { return std::isnan(head.js) ? INFINITY : head.js; };
  std::stable_sort(heads.begin(), heads.end(),
                   [&](const HeadDiff& a, const HeadDiff& b) { return change(a) > change(b); });
  options.telling.clear();
  for (const HeadDiff& head : heads) options.telling.push_back(head.head);
  options.against_title = title_of(*second, choice.against);
  options.against = second;
}

/// The tour, of the trace's own model.
std::shared_ptr<const Lesson> lesson_of(const PageChoice& choice, const Trace& trace) {
  if (choice.lesson.sentence.empty() || !choice.model.made(trace, "no tour in the page")) return nullptr;
  return choice.lesson.make(choice.model.as_made(trace).load(), choice.model.threads);
}

int write_page(const PageChoice& choice) {
  check_writable(choice.output);
  for (const std::string& in : {choice.run, choice.against, choice.checked, choice.model.path})
    refuse_same_file(choice.output, in);
  const auto trace = Trace::open(choice.run);
  if (!choice.checked.empty()) trace->check_model_file(choice.checked);
  PageOptions options;
  options.value_weighted = choice.value_weighted;
  if (choice.value_weighted) static_cast<void>(trace->carried({0, 0}));  // refuses
  options.size_budget = static_cast<int64_t>(choice.budget_megabytes * 1e6);
  options.telling = telling_heads(*trace);
  options.title = !choice.title.empty() ? choice.title : title_of(*trace, choice.run);
  if (!choice.against.empty()) compare(choice, *trace, options);
  options.lesson = lesson_of(choice, *trace);
  if (trace->measured().agreement) {
    ProgressBar bar("Comparing heads", "layers");
    options.agreement = std::make_shared<const Agreement>(head_agreement(*trace, {}, bar.callback()));
  }
  const ProgressBar bar("Writing the page", "");
  if (auto known = cached_roles(trace->model())) {
    options.recipe_roles = std::make_shared<HeadRoles>(std::move(*known));
  }
  const std::string html = render_page(*trace, options);
  stop_if_interrupted();
  write_file(choice.output, html);
  fmt::print("{}  {:.1f} MB\n", printable(choice.output), static_cast<double>(html.size()) * 1e-6);
  return exit_ok;
}

}  // namespace

void add_page(CLI::App& app, Action& action) {
  auto choice = std::make_shared<PageChoice>();
  CLI::App* command = app.add_subcommand("page", "write the page of a trace: one HTML file");
  command->add_option("RUN", choice->run, "a file made by bareattn trace")->type_name("")->required();
  command->add_option("--against", choice->against, "a second trace over the same tokens: both, and their difference")
      ->type_name("RUN");
  command->add_option("-o,--output", choice->output, "the page")->type_name("PAGE")->required();
  command->add_option("--title", choice->title, "title of the page (default: the trace's)")->type_name("TEXT");
  command->add_option("--budget", choice->budget_megabytes, "largest page, in MB")
      ->type_name("MB")
      ->check(within(0.1, 2000.0))
      ->capture_default_str();
  command
      ->add_option("-m,--model", choice->model.path,
                   "the model of the trace, a GGUF file (or set BAREATTN_MODEL): the page gets its tour")
      ->type_name("FILE")
      ->envname("BAREATTN_MODEL");
  command->add_flag("--value-weighted", choice->value_weighted,
                    "the page opens with weights times the size of what each key carries, |p v W_O|");
  choice->lesson.declare(*command);
  command->add_option("--check-model", choice->checked, "refuse a trace that was not made with this model file")
      ->type_name("FILE");
  command->footer(
      "Examples:\n"
      "  bareattn page story.safetensors -o story.html\n"
      "  bareattn page story.safetensors -m MODEL.gguf -o story.html\n"
      "  bareattn page before.safetensors --against after.safetensors -o both.html");
  command->callback([choice, &action] { action = [choice] { return write_page(*choice); }; });
}

}  // namespace bareattn::cli
