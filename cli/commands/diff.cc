// `bareattn diff A B`: two traces of one text, or two models on a text: which heads and which tokens changed, as a
// table or JSON. Everything is made from the whole distributions (bareattn/diff.h, docs/diff.md).
#include "bareattn/diff.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "bareattn/error.h"
#include "bareattn/files.h"
#include "commands/commands.h"
#include "console/interrupt.h"
#include "console/progress.h"
#include "console/terminal.h"
#include "options/input.h"
#include "reports/json_text.h"

namespace bareattn::cli {
namespace {

using Json = nlohmann::ordered_json;

struct DiffChoice {
  std::string a, b, precision = "f32";
  InputChoice input;
  TokenChoice encoding;
  int threads = 0, keys = 10, count = 10;
  double fail_above = -1;
  bool json = false, value_weighted = false;
};

struct Compared {
  RunDiff diff;
  std::vector<std::string> texts;
  int heads = 0;  // of a layer
  std::string sha[2];
};

bool is_gguf(const std::string& path) {
  char magic[4] = {};
  std::ifstream file(path, std::ios::binary);
  if (!file) throw InputError(path + ": cannot be opened: " + std::string(std::strerror(errno)));
  file.read(magic, 4);
  return std::string_view(magic, 4) == "GGUF";
}

Compared compare_models(const DiffChoice& choice, const DiffOptions& options) {
  const InputText input = choice.input.read();
  std::shared_ptr<const Model> models[2];
  for (int i = 0; i < 2; ++i) {
    ModelChoice model;
    model.path = i == 0 ? choice.a : choice.b;
    model.threads = choice.threads;
    model.precision = choice.precision;
    models[i] = model.load();
  }
  std::vector<int32_t> tokens[2];
  for (int i = 0; i < 2; ++i) {
    tokens[i] = choice.encoding.encode(*models[i], input.text, std::nullopt);
  }
  if (tokens[0] != tokens[1]) {
    throw InputError(
        "the two models make different tokens of this text; only runs over the same tokens can be compared");
  }
  Compared result;
  {
    ProgressBar bar("Comparing", "");
    result.diff = diff(models[0], models[1], tokens[0], options, bar.callback());
  }
  for (const int32_t id : tokens[0]) result.texts.emplace_back(models[0]->tokenizer().piece(id));
  result.heads = models[0]->config().heads;
  for (int i = 0; i < 2; ++i) result.sha[i] = models[i]->sha256();
  return result;
}

Compared compare_traces(const DiffChoice& choice, const DiffOptions& options) {
  if (choice.input.given()) throw InputError("two traces hold their text already; a text goes with two models");
  const auto a = Trace::open(choice.a), b = Trace::open(choice.b);
  if (options.value_weighted)
    for (const auto& trace : {a, b}) static_cast<void>(trace->carried({0, 0}));  // refuses
  Compared result;
  {
    ProgressBar bar("Comparing", "layers");
    result.diff = diff(*a, *b, options, bar.callback());
  }
  result.texts = a->token_texts();
  result.heads = a->model().config().heads;
  result.sha[0] = a->model().sha256();
  result.sha[1] = b->model().sha256();
  return result;
}

// Positions of the values, the largest first; NaN before all, so that it shows.
std::vector<size_t> largest(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto key = [&](size_t i) { return std::isnan(values[i]) ? HUGE_VAL : values[i]; };
  std::stable_sort(order.begin(), order.end(), [&](size_t x, size_t y) { return key(x) > key(y); });
  return order;
}

std::vector<double> head_js(const RunDiff& diff) {
  std::vector<double> all;
  for (const HeadDiff& head : diff.heads) all.push_back(head.js);
  return all;
}

Json json_of(const DiffChoice& choice, const Compared& compared) {
  Json heads = Json::array(), tokens = Json::array();
  for (const HeadDiff& h : compared.diff.heads) {
    heads.push_back({{"layer", h.head.layer},
                     {"head", h.head.head},
                     {"kl", h.kl},
                     {"js", h.js},
                     {"lse_shift", h.lse_shift},
                     {"lse_change", h.lse_change},
                     {"entropy_shift", h.entropy_shift},
                     {"top_overlap", h.top_overlap},
                     {"first_mass_shift", h.first_mass_shift},
                     {"output_cosine", h.output_cosine},
                     {"worst_row", h.worst_row},
                     {"worst_js", h.worst_js}});
  }
  for (size_t i = 0; i < compared.texts.size(); ++i)
    tokens.push_back({{"text", compared.texts[i]}, {"js", compared.diff.token_js[i]}});
  return {{"format", "bareattn-diff"},
          {"version", 1},
          {"a", {{"path", choice.a}, {"model_sha256", compared.sha[0]}}},
          {"b", {{"path", choice.b}, {"model_sha256", compared.sha[1]}}},
          {"top", choice.keys},
          {"value_weighted", choice.value_weighted},
          {"heads", heads},
          {"tokens", tokens}};
}

void print_table(const DiffChoice& choice, const Compared& compared) {
  const Terminal terminal = terminal_of(STDOUT_FILENO);
  const RunDiff& diff = compared.diff;
  const std::vector<double> js = head_js(diff);
  const double heads = static_cast<double>(js.size());
  double sum = 0, kl = 0, overlap = 0;
  for (const HeadDiff& h : diff.heads) sum += h.js, kl += h.kl, overlap += h.top_overlap;
  fmt::print("{} heads{} over {} tokens: mean JS {:.5f} nats, KL {:.5f}, {:.1f} % of the {} strongest keys shared\n\n",
             js.size(), choice.value_weighted ? ", value-weighted," : "",
             grouped(static_cast<int64_t>(compared.texts.size())), sum / heads, kl / heads, 100 * overlap / heads,
             choice.keys);
  fmt::print("{}\n", bold(terminal, fmt::format("{:<8} {:>8} {:>9} {:>8} {:>8} {:>7} {:>7} {:>7}  {}", "Head", "JS",
                                                "KL", "LSE", "entropy", "top", "first", "output", "most at token")));
  const auto order = largest(js);
  for (size_t n = 0; n < std::min(order.size(), static_cast<size_t>(choice.count)); ++n) {
    const HeadDiff& h = diff.heads[order[n]];
    fmt::print("{:<8} {:8.5f} {:9.5f} {:+8.3f} {:+8.3f} {:6.1f}% {:+6.1f}% {:>7}  {} {}\n", head_name(h.head), h.js,
               h.kl, h.lse_shift, h.entropy_shift, 100 * h.top_overlap, 100 * h.first_mass_shift,
               std::isnan(h.output_cosine) ? std::string("-") : fmt::format("{:.4f}", h.output_cosine), h.worst_row,
               cli::quoted(printable(compared.texts[static_cast<size_t>(h.worst_row)])));
  }
  fmt::print("\n{}\n", bold(terminal, "Tokens whose rows changed most (mean JS of all heads)"));
  const auto rows = largest(diff.token_js);
  for (size_t n = 0; n < std::min(rows.size(), static_cast<size_t>(choice.count)); ++n)
    fmt::print("{:>8} {:8.5f}  {}\n", rows[n], diff.token_js[rows[n]], cli::quoted(printable(compared.texts[rows[n]])));
}

int run_diff(const DiffChoice& choice) {
  const bool models = is_gguf(choice.a);
  if (models != is_gguf(choice.b)) {
    throw InputError("one of the two is a model, the other is not: two traces or two models are needed");
  }
  DiffOptions options;
  options.top = choice.keys;
  options.threads = choice.threads;
  options.value_weighted = choice.value_weighted;
  const Compared compared = models ? compare_models(choice, options) : compare_traces(choice, options);
  stop_if_interrupted();
  if (choice.json) {
    fmt::print("{}", json_text(json_of(choice, compared)));
  } else {
    print_table(choice, compared);
  }
  const std::vector<double> js = head_js(compared.diff);
  const bool changed = std::any_of(js.begin(), js.end(), [&](double v) { return !(v <= choice.fail_above); });
  return choice.fail_above >= 0 && changed ? exit_failure : exit_ok;
}

}  // namespace

void add_diff(CLI::App& app, Action& action) {
  auto choice = std::make_shared<DiffChoice>();
  CLI::App* command = app.add_subcommand("diff", "compare two runs, or two models on a text: which heads changed");
  command->add_option("A", choice->a, "a trace (bareattn trace), or a model with a text")->type_name("")->required();
  command->add_option("B", choice->b, "what it is compared with, of the same kind")->type_name("")->required();
  choice->input.declare(*command, "TEXT", "the text, for two models");
  choice->encoding.declare_special(*command);
  command->add_option("--top", choice->count, "how many heads and tokens to list")
      ->type_name("N")
      ->check(within(1, 1'000'000))
      ->capture_default_str();
  command->add_option("--keys", choice->keys, "how many strongest keys of a row must agree (column top)")
      ->type_name("K")
      ->check(within(1, 1'000'000))
      ->capture_default_str();
  command->add_option("--fail-above", choice->fail_above, "exit 1 where a head's mean JS is above this, in nats")
      ->type_name("JS")
      ->check(within(0.0, 1.0));
  command->add_option("-t,--threads", choice->threads, "threads; 0 takes all cores, the results are the same")
      ->type_name("N")
      ->check(within(0, 1024))
      ->capture_default_str();
  command->add_option("--precision", choice->precision, "f32 or bf16, of the projections of two models")
      ->type_name("TYPE")
      ->check(CLI::IsMember({"f32", "bf16"}).description(""))
      ->capture_default_str();
  command->add_flag("--value-weighted", choice->value_weighted,
                    "compare shares of |p v W_O|, the weight times the size of what each key carries");
  command->add_flag("--json", choice->json, "everything as JSON");
  command->footer(
      "Examples:\n"
      "  bareattn diff before.safetensors after.safetensors\n"
      "  bareattn diff model-f16.gguf model-q4_0.gguf story.txt --top 20\n"
      "Columns: docs/diff.md.");
  command->callback([choice, &action] { action = [choice] { return run_diff(*choice); }; });
}

}  // namespace bareattn::cli
