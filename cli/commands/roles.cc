// `bareattn roles`: tests every head by the field's recipes and says what it is for, how sure that is, and what the
// induction heads are worth. What was found is kept in the cache by the model's hash, where `look` finds it.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "bareattn/error.h"
#include "bareattn/files.h"
#include "bareattn/head_roles.h"
#include "commands/commands.h"
#include "console/interrupt.h"
#include "console/progress.h"
#include "console/terminal.h"
#include "options/input.h"

namespace bareattn::cli {
namespace {

struct RolesOptions {
  ModelChoice model;
  RoleOptions roles;
  std::string corpus;
  int top = 4;
  bool json = false, no_cache = false, all = false;
};

void warn(const std::string& sentence) { fmt::print(stderr, "bareattn: warning: {}\n", printable(sentence)); }

HeadRoles roles_of(const RolesOptions& options, const std::shared_ptr<const Model>& model, bool& from_cache) {
  from_cache = false;
  if (!options.no_cache) {
    std::string problem;
    auto cached = cached_roles(*model, &problem);
    if (!problem.empty()) warn(problem);
    if (cached && same_request(*cached, *model, options.roles)) {
      from_cache = true;
      return std::move(*cached);
    }
  }
  HeadRoles found;
  {
    ProgressBar bar("Testing heads", "tokens");
    found = find_roles(model, options.roles, options.model.threads, bar.callback());
  }
  stop_if_interrupted();
  if (!options.no_cache) {
    try {
      cache_roles(found);
    } catch (const OutputError& error) {  // the answer is there all the same
      warn(std::string("the roles could not be kept for later: ") + error.what());
    }
  }
  return found;
}

std::string name(const HeadRoles& roles, size_t head) {
  const auto per_layer = static_cast<size_t>(roles.heads);
  return fmt::format("{}.{}", head / per_layer, head % per_layer);
}

std::string decimal(double value) { return std::isnan(value) ? "-" : fmt::format("{:.2f}", value); }

void print_table(const HeadRoles& roles, const RolesOptions& options, const Terminal& terminal) {
  const bool wide = terminal.width >= 72;  // else the heads stand in a line of their own
  fmt::print("{}\n", bold(terminal, std::string("Role             heads  from  stable") +
                                        (wide ? "  the strongest, 95 % interval" : "")));
  for (int r = 0; r < recipe_count; ++r) {
    const RecipeInfo& info = recipe_info(static_cast<Recipe>(r));
    const auto at = static_cast<size_t>(r);
    const auto score = [&](size_t head) { return roles.of_head[head].scores[at].mean; };
    std::vector<size_t> order;
    for (size_t head = 0; head < roles.of_head.size(); ++head)
      if (score(head) >= info.threshold) order.push_back(head);
    const size_t count = order.size();
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return score(a) > score(b); });
    order.resize(std::min(order.size(), static_cast<size_t>(options.top)));
    const std::string line =
        fmt::format("{:<17}{:>5}  {:.2f}  {:>6}", info.id, count, info.threshold, decimal(roles.stability[at]));
    std::string best;
    for (const size_t head : order) {
      const RoleScore& s = roles.of_head[head].scores[at];
      best += fmt::format("{}{} {:.2f} ({:.2f}-{:.2f})", best.empty() ? "" : ", ", name(roles, head), s.mean, s.low,
                          s.high);
    }
    const int indent = wide ? columns(line) + 2 : 4;
    const std::string heads = wrapped(best, terminal.width, indent, indent);
    fmt::print("{}{}{}\n", line, best.empty() ? "" : wide ? "  " : "\n    ", heads);
  }
}

void print_ablation(const HeadRoles& roles, const Terminal& terminal) {
  if (!roles.ablation) return;
  const AblationCheck& check = *roles.ablation;
  const auto print = [&](const std::string& line, int indent) {
    fmt::print("{}\n", wrapped(line, terminal.width, indent, 0));
  };
  std::string heads;
  for (const HeadId id : check.heads) heads += fmt::format("{}{}.{}", heads.empty() ? "" : ", ", id.layer, id.head);
  const size_t count = check.heads.size();
  fmt::print("\n");
  print("What the induction heads are worth: loss on the second copy of 50 random tokens, nats per token", 0);
  const auto line = [&](const std::string& what, double loss, const std::string& more) {
    fmt::print("  {}{:8.3f}  {}\n", padded(what, 28), loss, wrapped(more, terminal.width, 4, 40));
  };
  line("as the model is", check.repeat, fmt::format("(first copy {:.3f})", check.first));
  line(fmt::format("without the {} strongest", count), check.repeat_ablated,
       fmt::format("{:+.3f} (first copy {:.3f})", check.repeat_ablated - check.repeat, check.first_ablated));
  const auto& random = check.repeat_random;
  if (!random.empty()) {
    const double mean = std::accumulate(random.begin(), random.end(), 0.0) / static_cast<double>(random.size());
    line(fmt::format("without {} others, same layers", count), mean,
         fmt::format("{:+.3f}, {} draws {:+.3f} to {:+.3f}", mean - check.repeat, random.size(),
                     *std::min_element(random.begin(), random.end()) - check.repeat,
                     *std::max_element(random.begin(), random.end()) - check.repeat));
  }
  fmt::print("  {}\n", wrapped("the strongest: " + heads, terminal.width, 4, 2));
}

int run(const RolesOptions& chosen) {
  RolesOptions options = chosen;
  if (!options.corpus.empty()) {
    options.roles.corpus = read_file(options.corpus, most_input_bytes);
    if (options.roles.corpus.empty()) throw InputError("the corpus " + options.corpus + " is empty");
  }
  const auto model = options.model.load();
  bool from_cache = false;
  const HeadRoles roles = roles_of(options, model, from_cache);
  if (options.json) {
    fmt::print("{}", printable_json(roles_to_json(roles)));
    return exit_ok;
  }
  const Terminal terminal = terminal_of(STDOUT_FILENO);
  const ModelConfig& config = model->config();
  const std::string origin =
      from_cache ? "from the cache"
                 : fmt::format("{:.0f} s on {} thread{}", roles.seconds, roles.threads, roles.threads == 1 ? "" : "s");
  const std::string what = fmt::format("{}, {} heads, {} samples of every recipe, seed {}, {}", printable(config.name),
                                       roles.of_head.size(), roles.samples, roles.seed, origin);
  fmt::print("{}\n\n", wrapped(what, terminal.width, 0, 0));
  print_table(roles, options, terminal);
  const auto sure = std::count_if(roles.of_head.begin(), roles.of_head.end(), [](const HeadRole& r) { return r.sure; });
  const auto mixed =
      std::count_if(roles.of_head.begin(), roles.of_head.end(), [](const HeadRole& r) { return r.all.empty(); });
  std::string notes = fmt::format(
      "A head may have several roles, each from the score under 'from' on; {} have none (mixed). Stable: rank "
      "correlation of the heads' scores between random halves of the samples. {:.0f} % of the heads get the same first "
      "name from both halves; for {} of "
      "{} the whole interval is on one side of the threshold. The model answered {} of {} needles; retrieval is scored "
      "on those.",
      mixed, 100 * roles.same_name, sure, roles.of_head.size(), roles.needles_answered, roles.samples);
  fmt::print("\n{}\n", wrapped(notes, terminal.width, 0, 0));
  print_ablation(roles, terminal);
  if (options.all) {
    fmt::print("\n");
    for (size_t head = 0; head < roles.of_head.size(); ++head) {
      const HeadRole& role = roles.of_head[head];
      fmt::print("{}{}{} {}\n", padded(name(roles, head), 7), padded(role.name, 16), role.sure ? " " : "?",
                 wrapped(role.evidence, terminal.width, 25, 25));
    }
  }
  return exit_ok;
}

}  // namespace

void add_roles(CLI::App& app, Action& action) {
  auto options = std::make_shared<RolesOptions>();
  CLI::App* command = app.add_subcommand("roles", "test what every head is for: induction, retrieval, copying, ...");
  options->model.declare(*command);
  command->add_option("-n,--samples", options->roles.samples, "samples of every recipe")
      ->type_name("N")
      ->check(within(4, 100000))
      ->capture_default_str();
  command->add_option("--seed", options->roles.seed, "what the samples are drawn from")
      ->type_name("N")
      ->capture_default_str();
  command
      ->add_option("--corpus", options->corpus,
                   "text that passages and haystacks are cut from (default: sentences of the program's own)")
      ->type_name("FILE");
  command
      ->add_option("--draws", options->roles.ablation_draws,
                   "random sets of heads to compare the induction heads with; 0: no such check")
      ->type_name("N")
      ->check(within(0, 10000))
      ->capture_default_str();
  command->add_option("--top", options->top, "how many heads to name per role")
      ->type_name("K")
      ->check(within(0, 100000))
      ->capture_default_str();
  command->add_flag("--all", options->all, "also list every head with its role and the evidence");
  command->add_flag("--no-cache", options->no_cache, "neither read nor keep the result");
  command->add_flag("--json", options->json, "everything as JSON");
  command->footer(
      "Examples:\n"
      "  bareattn roles -m MODEL.gguf\n"
      "  bareattn roles -m MODEL.gguf --json | jq '.heads[] | select(.role == \"induction\")'\n"
      "Takes two to six minutes on two cores for a model of 135 million parameters. The result is kept under\n"
      "$XDG_CACHE_HOME/bareattn/roles (else ~/.cache), and `bareattn look` names the roles from there.\n"
      "A '?' in --all: part of the interval lies beyond a threshold. What the recipes are: docs/roles.md.");
  command->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace bareattn::cli
