// `bareattn look`: one text through the model, every head observed; a page, JSON and a summary come out. Outputs are
// checked before the run and written whole, after it.
#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>

#include "bareattn/error.h"
#include "bareattn/files.h"
#include "bareattn/head_roles.h"
#include "bareattn/highlights.h"
#include "bareattn/page.h"
#include "commands/commands.h"
#include "console/interrupt.h"
#include "console/progress.h"
#include "console/terminal.h"
#include "options/input.h"
#include "options/lesson_choice.h"
#include "options/measures_choice.h"
#include "options/reach_choice.h"
#include "reports/look_report.h"

namespace bareattn::cli {
namespace {

struct LookOptions {
  ModelChoice model;
  InputChoice input;
  ReachChoice reach;
  MeasuresChoice measures;
  TokenChoice encoding;
  std::string page, json, exact = "auto", title, colour = "auto";
  LessonChoice lesson;
  int top = 10;
  double budget_megabytes = 25;
  bool value_weighted = false;
  CLI::Option* json_option = nullptr;
};

int parse_index(std::string_view text, int limit, const std::string& whole) {
  int value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0 || value >= limit) {
    throw InputError(fmt::format("--exact: '{}' in '{}' is no number from 0 to {}", text, whole, limit - 1));
  }
  return value;
}

// "5.3,6.*": heads by layer and head.
std::vector<HeadId> parse_heads(const std::string& list, const ModelConfig& config) {
  std::vector<HeadId> heads;
  for (size_t at = 0; at <= list.size();) {
    const size_t end = std::min(list.find(',', at), list.size());
    const std::string_view item = std::string_view(list).substr(at, end - at);
    at = end + 1;
    const size_t dot = item.find('.');
    if (dot == std::string_view::npos) {
      throw InputError(
          fmt::format("--exact: '{}' is not LAYER.HEAD (as in 5.3 or 6.*), 'auto', 'all' or 'none'", item));
    }
    const int layer = parse_index(item.substr(0, dot), config.layers, list);
    if (item.substr(dot + 1) == "*") {
      for (int head = 0; head < config.heads; ++head) heads.push_back({layer, head});
    } else {
      heads.push_back({layer, parse_index(item.substr(dot + 1), config.heads, list)});
    }
  }
  return heads;
}

std::vector<HeadId> exact_heads(const LookOptions& options, const ModelConfig& config) {
  if (options.exact == "auto" || options.exact == "none") return {};
  if (options.exact != "all") return parse_heads(options.exact, config);
  std::vector<HeadId> heads;
  for (int layer = 0; layer < config.layers; ++layer) {
    for (int head = 0; head < config.heads; ++head) heads.push_back({layer, head});
  }
  return heads;
}

// The order in which heads become exact while there is room: what the page opens with, then the best two of each tested
// role (retrieval and induction, which a mean over a text does not show), then by what they do in this text.
std::vector<HeadId> exact_first(const std::vector<HeadId>& telling, const HeadRoles* roles) {
  if (roles == nullptr || telling.empty()) return telling;
  std::vector<HeadId> order{telling[0]};
  for (size_t place = 0; place < 2; ++place)
    for (int r = 0; r <= static_cast<int>(Recipe::copying); ++r) {
      const auto heads = heads_of(*roles, static_cast<Recipe>(r));
      if (place < heads.size()) order.push_back(heads[place]);
    }
  order.insert(order.end(), telling.begin(), telling.end());  // a head counts where it stands first
  return order;
}

std::string title_of(const LookOptions& options, const InputText& input) {
  if (!options.title.empty()) return options.title;
  if (!input.origin.empty()) return printable(input.origin);
  const std::string text = printable(input.text);
  const std::string_view start = prefix(text, 60);
  return std::string(start) + (start.size() < text.size() ? "…" : "");
}

int look(const LookOptions& options) {
  const Terminal terminal = terminal_of(STDOUT_FILENO, options.colour == "always"  ? Colour::always
                                                       : options.colour == "never" ? Colour::never
                                                                                   : Colour::automatic);
  const bool json_wanted = options.json_option->count() > 0;
  const bool json_to_stdout = json_wanted && (options.json == "true" || options.json == "-");
  const InputText input = options.input.read();
  MeasureGroups measures = options.measures.measures();
  measures.values = measures.values || options.value_weighted;
  if (!options.page.empty() && !measures.for_page())
    throw InputError("--output: the page needs --measures rows,distance,spans,columns,map");
  if (!options.page.empty()) check_writable(options.page);
  if (json_wanted && !json_to_stdout) check_writable(options.json);
  const std::string json_file = json_wanted && !json_to_stdout ? options.json : "";
  for (const std::string& out : {options.page, json_file}) {  // an output must not replace what is read
    for (const std::string& in : {options.input.path(), options.model.path}) refuse_same_file(out, in);
  }
  refuse_same_file(options.page, json_file);

  const auto model = options.model.load();
  PageOptions page;
  page.exact = exact_heads(options, model->config());
  page.pooled_only = options.exact == "none";
  page.size_budget = static_cast<int64_t>(options.budget_megabytes * 1e6);
  page.title = title_of(options, input);
  page.value_weighted = options.value_weighted;

  std::vector<int32_t> tokens = options.encoding.encode(*model, input.text, options.reach.reach().beyond);
  if (!options.page.empty()) page.lesson = options.lesson.make(model, options.model.threads);
  ObservationOptions how;
  how.measures = measures;
  how.spans = options.measures.find(model->tokenizer(), tokens, options.encoding.chat ? input.text : "");
  how.beyond = options.reach.reach().beyond;
  how.keep_v = !options.page.empty();
  options.reach.warn(model->config(), static_cast<int64_t>(tokens.size()));
  std::unique_ptr<Observation> observation;
  {
    ProgressBar bar("Looking", "tokens");
    observation = observe(model, std::move(tokens), how, options.model.threads, bar.callback());
  }
  LookReport report;
  report.observation = observation.get();
  std::string problem;
  if (auto known = cached_roles(*model, &problem)) page.recipe_roles = std::make_shared<HeadRoles>(std::move(*known));
  if (!problem.empty()) fmt::print(stderr, "bareattn: warning: {}\n", printable(problem));
  report.roles = page.recipe_roles.get();
  report.origin = input.origin;
  report.value_weighted = options.value_weighted;
  report.last = last_look(*observation, options.top, options.value_weighted);
  std::string html, json;
  if (const SweepGroups swept = options.measures.swept(); swept.any()) {
    ProgressBar bar("Measuring heads", "layers");
    report.sweep = sweep(*observation, {.groups = swept, .threads = options.model.threads}, bar.callback());
    report.swept = swept;
  }
  if (measures.agreement) {
    ProgressBar bar("Comparing heads", "layers");
    report.agreement = head_agreement(*observation, {.threads = options.model.threads}, bar.callback());
    page.agreement = std::make_shared<const Agreement>(*report.agreement);
  }
  if (!options.page.empty()) {
    const ProgressBar bar("Writing the page", "");
    page.telling = exact_first(telling_heads(*observation), page.recipe_roles.get());
    html = render_page(*observation, page);
    report.page = options.page;
    report.page_bytes = static_cast<int64_t>(html.size());
  }
  if (json_wanted) json = look_json(report);
  const std::string printed = json_to_stdout ? json : look_summary(report, terminal);
  stop_if_interrupted();  // for the last time: "nothing was written" must be true of everything
  std::vector<Output> outputs;
  if (!options.page.empty()) outputs.push_back({options.page, html});
  if (!json_file.empty()) outputs.push_back({json_file, json});
  write_files(outputs);
  std::fwrite(printed.data(), 1, printed.size(), stdout);
  return exit_ok;
}

}  // namespace

void add_look(CLI::App& app, Action& action) {
  auto options = std::make_shared<LookOptions>();
  CLI::App* command = app.add_subcommand("look", "show what every head attends to in a text");
  options->input.declare(*command, "TEXT", "the text");
  options->model.declare(*command);
  options->encoding.declare_chat(*command, "the text");
  options->encoding.declare_special(*command);
  options->reach.declare_beyond(*command);
  options->measures.declare(*command, std::string(groups_help) + second_look_help, true);
  options->encoding.declare_bos(*command);
  command->add_option("-o,--output", options->page, "write the page: one HTML file that needs no network")
      ->type_name("PAGE");
  options->json_option =
      command->add_flag("--json", options->json, "print JSON instead of the summary; --json=FILE writes it there")
          ->type_name("[=FILE]");
  command->add_option("--top", options->top, "how many keys to list for the last token")
      ->type_name("K")
      ->check(within(1, 1000))
      ->capture_default_str();
  command->add_flag("--value-weighted", options->value_weighted,
                    "for the last token, and as the page opens: weights times the size of what each key carries, "
                    "|p v W_O|");
  command
      ->add_option("--exact", options->exact,
                   "heads embedded exactly in the page: 5.3,6.*, auto (as many as fit; first those whose role "
                   "bareattn roles has tested), all or none")
      ->type_name("HEADS")
      ->capture_default_str();
  command->add_option("--budget", options->budget_megabytes, "largest page, in MB")
      ->type_name("MB")
      ->check(within(0.1, 2000.0))
      ->capture_default_str();
  options->lesson.declare(*command);
  command->add_option("--title", options->title, "title of the page (default: the file's name or the text's beginning)")
      ->type_name("TEXT");
  command
      ->add_option("--color,--colour", options->colour,
                   "colour in the summary: auto (respects NO_COLOR), always, never")
      ->type_name("WHEN")
      ->check(CLI::IsMember({"auto", "always", "never"}).description(""))
      ->capture_default_str();
  command->footer(
      "Examples:\n"
      "  bareattn look -m MODEL.gguf \"The cat sat on the mat because it was tired.\"\n"
      "  bareattn look -m MODEL.gguf story.txt -o story.html\n"
      "  bareattn look -m MODEL.gguf --chat \"Who wrote Hamlet?\" --top 20\n"
      "  bareattn look -m MODEL.gguf letter.txt --span 'names=Tom|Huck' --span start=0:20\n"
      "  git log -5 | bareattn look -m MODEL.gguf - --json > heads.json\n"
      "Heads are named layer.head, both from 0. What the measures mean: docs/measures.md.");
  command->callback([options, &action] { action = [options] { return look(*options); }; });
}

}  // namespace bareattn::cli
