// `bareattn steer`: goes on from a prompt twice, as the model would and with its weighting changed, and shows both
// texts side by side with what the change did to the weights. Spans are named by their text in the prompt.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "bareattn/end_tokens.h"
#include "bareattn/error.h"
#include "bareattn/files.h"
#include "bareattn/steering.h"
#include "commands/commands.h"
#include "console/interrupt.h"
#include "console/terminal.h"
#include "options/input.h"
#include "reports/json_text.h"

namespace bareattn::cli {
namespace {

using Kind = Intervention::Kind;

struct SteerOptions {
  ModelChoice model;
  InputChoice input;
  std::vector<std::string> boost, pasta, knockout, calibrate, heads = {"*"};
  std::string table, save, query, control = "N/A";
  double by = 3, alpha = 0.01, temperature = 1, scale = 1, sink_logit = 0;
  int64_t window = -1, sinks = 0;
  bool ablate = false, mean = false, adaptive = false, sink = false, no_first = false, json = false;
  TokenChoice encoding;
  int count = 64;
};

/// The tokens that any byte of the first occurrence of `what` lies in.
TokenSpan find_span(const Tokenizer& tokenizer, const std::vector<int32_t>& tokens, const std::string& what) {
  std::string text;
  std::vector<size_t> begin;
  for (const int32_t id : tokens) {
    begin.push_back(text.size());
    text += tokenizer.piece(id);
  }
  begin.push_back(text.size());
  const size_t at = what.empty() ? std::string::npos : text.find(what);
  if (at == std::string::npos) throw InputError("the span '" + what + "' is not in the prompt");
  TokenSpan span{0, 0};
  while (begin[static_cast<size_t>(span.begin) + 1] <= at) ++span.begin;
  span.end = span.begin + 1;
  while (begin[static_cast<size_t>(span.end)] < at + what.size()) ++span.end;
  return span;
}

/// Biases that make the prompt's last token weigh the --calibrate spans by their lengths when the --query says nothing.
std::vector<Intervention> calibration(const SteerOptions& options, const std::shared_ptr<const Model>& model,
                                      const std::string& text, const std::vector<int32_t>& tokens) {
  const size_t at = text.find(options.query);
  if (options.query.empty() || at == std::string::npos) {
    throw InputError(options.query.empty() ? "--calibrate needs --query, the part of the prompt that asks"
                                           : "the query '" + options.query + "' is not in the prompt");
  }
  const std::string control = text.substr(0, at) + options.control + text.substr(at + options.query.size());
  const auto control_tokens = options.encoding.encode(*model, control, std::nullopt);
  std::vector<TokenSpan> in_control, in_prompt;
  for (const std::string& span : options.calibrate) {
    in_control.push_back(find_span(model->tokenizer(), control_tokens, span));
    in_prompt.push_back(find_span(model->tokenizer(), tokens, span));
  }
  const auto seen = observe(model, control_tokens, {}, options.model.threads, unless_interrupted);
  auto all = calibrate(*seen, in_control, options.heads);
  for (Intervention& one : all) {
    const auto place = std::find(in_control.begin(), in_control.end(), one.keys[0]) - in_control.begin();
    one.keys = {in_prompt[static_cast<size_t>(place)]};
  }
  return all;
}

/// The interventions asked for, in the order of the help; a file's come first.
std::vector<Intervention> interventions(const SteerOptions& options, const std::shared_ptr<const Model>& model,
                                        const std::string& text, const std::vector<int32_t>& tokens) {
  std::vector<Intervention> all;
  if (!options.table.empty()) all = steering_from_json(read_file(options.table, most_input_bytes, stop_if_interrupted));
  const auto add = [&](Kind kind, double value) -> Intervention& {
    Intervention one;
    one.kind = kind;
    one.heads = options.heads;
    one.value = value;
    return all.emplace_back(std::move(one));
  };
  const auto spans = [&](const std::vector<std::string>& texts) {
    std::vector<TokenSpan> found;
    for (const std::string& one : texts) found.push_back(find_span(model->tokenizer(), tokens, one));
    return found;
  };
  if (!options.boost.empty()) add(Kind::boost, options.by).keys = spans(options.boost);
  if (!options.pasta.empty()) add(Kind::pasta, options.alpha).keys = spans(options.pasta);
  if (!options.knockout.empty()) add(Kind::knockout, 1).keys = spans(options.knockout);
  if (options.no_first) add(Kind::knockout, 1).keys = {{0, 1}};
  if (options.temperature != 1) add(Kind::temperature, options.temperature);
  if (options.ablate) add(Kind::scale, 0);
  if (options.scale != 1) add(Kind::scale, options.scale);
  if (options.sink) add(Kind::sink_logit, options.sink_logit);
  if (options.mean)
    all.push_back(mean_ablation(model, tokens, options.heads, options.model.threads, unless_interrupted));
  if (options.adaptive) {
    const auto observation = observe(model, tokens, {.keep_qk = false}, options.model.threads, unless_interrupted);
    for (Intervention& one : adaptive_temperature(*observation)) all.push_back(std::move(one));
  }
  if (options.window >= 0) {
    Intervention& one = add(Kind::window, static_cast<double>(options.window));
    if (options.sinks > 0) one.keys = {{0, options.sinks}};
  }
  if (!options.calibrate.empty())
    for (Intervention& one : calibration(options, model, text, tokens)) all.push_back(std::move(one));
  if (all.empty()) throw InputError("nothing to do: give --boost, --pasta, --knockout, ... or --table FILE");
  return all;
}

struct Run {
  std::string continuation;
  std::vector<int32_t> tokens;        // generated
  std::unique_ptr<Observation> seen;  // over the prompt
};

Run run(const SteerOptions& options, const std::shared_ptr<const Model>& model, const std::vector<int32_t>& tokens,
        std::shared_ptr<const ScoreTable> table) {
  Run result;
  SessionOptions session_options;
  session_options.threads = options.model.threads;
  session_options.max_tokens = static_cast<int64_t>(tokens.size()) + options.count;
  session_options.table = table;
  Session session(model, session_options);
  const TensorView<const float> logits = session.run(tokens, Logits::last, nullptr, unless_interrupted);
  result.tokens = generate(session, TensorView<const float>(logits.data, {model->config().vocab_size}), options.count,
                           {}, [&](int32_t id) {
                             if (!ends_generation(*model, id)) result.continuation += model->tokenizer().piece(id);
                             return !interrupted();
                           });
  stop_if_interrupted();
  ObservationOptions observation;
  observation.table = std::move(table);
  result.seen = observe(model, tokens, observation, options.model.threads, unless_interrupted);
  return result;
}

struct Change {
  HeadId head;
  double before, after;
};

/// Weight of the prompt's last token on the spans, per head, the greatest change first.
std::vector<Change> changes(const Run& before, const Run& after, const std::vector<TokenSpan>& spans) {
  const ModelConfig& config = before.seen->model().config();
  const auto length = static_cast<int64_t>(before.seen->tokens().size());
  std::vector<char> in(static_cast<size_t>(length), 0);
  for (const TokenSpan& span : spans)
    for (int64_t j = span.begin; j < length && (span.end < 0 || j < span.end); ++j) in[static_cast<size_t>(j)] = 1;
  const auto mass = [&](const Run& r, HeadId head) {
    const auto weights = r.seen->row_weights(head, length - 1);
    double sum = 0;
    for (size_t j = 0; j < weights.size(); ++j) sum += in[j] != 0 ? static_cast<double>(weights[j]) : 0;
    return sum;
  };
  std::vector<Change> all;
  for (int layer = 0; layer < config.layers; ++layer)
    for (int head = 0; head < config.heads; ++head)
      all.push_back({{layer, head}, mass(before, {layer, head}), mass(after, {layer, head})});
  std::stable_sort(all.begin(), all.end(), [](const Change& a, const Change& b) {
    return std::abs(a.after - a.before) > std::abs(b.after - b.before);
  });
  return all;
}

std::vector<std::string> lines_of(const std::string& text, int width) {
  std::vector<std::string> lines;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string part = wrapped(printable(text.substr(at, end - at), true), width, 0, 0);
    for (size_t from = 0; from <= part.size();) {
      const size_t to = std::min(part.find('\n', from), part.size());
      lines.push_back(part.substr(from, to - from));
      from = to + 1;
    }
    at = end + 1;
  }
  return lines;
}

void print_side_by_side(const Terminal& terminal, const std::string& left, const std::string& right) {
  const int width = (terminal.width - 3) / 2;
  fmt::print("{} | {}\n", bold(terminal, padded("as the model is", width)), bold(terminal, "steered"));
  const auto a = lines_of(left, width), b = lines_of(right, width);
  for (size_t i = 0; i < std::max(a.size(), b.size()); ++i)
    fmt::print("{} | {}\n", padded(i < a.size() ? a[i] : "", width), i < b.size() ? b[i] : "");
}

nlohmann::ordered_json to_json(const std::vector<Intervention>& all, const Run& before, const Run& after,
                               const std::vector<Change>& list, const std::vector<TokenSpan>& spans) {
  using Json = nlohmann::ordered_json;
  Json heads = Json::array(), where = Json::array();
  for (const Change& c : list)
    heads.push_back({{"layer", c.head.layer}, {"head", c.head.head}, {"before", c.before}, {"after", c.after}});
  for (const TokenSpan& span : spans) where.push_back({span.begin, span.end});
  return {{"format", "bareattn-steer"},
          {"version", 1},
          {"steering", Json::parse(steering_to_json(all))},
          {"before", {{"text", before.continuation}, {"ids", before.tokens}}},
          {"after", {{"text", after.continuation}, {"ids", after.tokens}}},
          {"spans", where},
          {"heads", heads}};
}

int steer(const SteerOptions& options) {
  const InputText input = options.input.read();
  if (!options.save.empty()) check_writable(options.save);
  for (const std::string& in : {options.input.path(), options.model.path}) refuse_same_file(options.save, in);
  const auto model = options.model.load();
  const auto tokens = options.encoding.encode(*model, input.text, std::nullopt);
  const int64_t length = static_cast<int64_t>(tokens.size());
  if (length == 0) throw InputError("the text is empty");
  if (length + options.count > model->config().context_length) {
    throw InputError(fmt::format("the prompt's {} tokens and {} to generate are more than this model's context of {}",
                                 length, options.count, model->config().context_length));
  }
  const auto all = interventions(options, model, input.text, tokens);
  const auto table = std::make_shared<const ScoreTable>(make_table(all, model->config(), length + options.count));
  const Run before = run(options, model, tokens, nullptr), after = run(options, model, tokens, table);
  std::vector<TokenSpan> spans;
  for (const Intervention& one : all)
    for (const TokenSpan& span : one.keys)
      if (std::find(spans.begin(), spans.end(), span) == spans.end()) spans.push_back(span);
  if (spans.empty()) spans = {{0, 1}};
  const auto list = changes(before, after, spans);
  stop_if_interrupted();
  if (!options.save.empty()) write_file(options.save, steering_to_json(all));
  if (options.json) {
    fmt::print("{}", json_text(to_json(all, before, after, list, spans)));
    return exit_ok;
  }
  const Terminal terminal = terminal_of(STDOUT_FILENO);
  print_side_by_side(terminal, before.continuation, after.continuation);
  std::string named;
  for (const TokenSpan& span : spans) {
    std::string text;
    for (int64_t j = span.begin; j < (span.end < 0 ? length : std::min(span.end, length)); ++j)
      text += before.seen->token_texts()[static_cast<size_t>(j)];
    named += (named.empty() ? "" : ", ") + quoted(prefix(printable(text), 30));
  }
  double sum_before = 0, sum_after = 0;
  for (const Change& c : list) sum_before += c.before, sum_after += c.after;
  const auto count = static_cast<double>(list.size());
  fmt::print("\nThe prompt's last token gives {}\n  mean of all heads {:6.2f} % -> {:6.2f} %\n", named,
             100 * sum_before / count, 100 * sum_after / count);
  for (size_t i = 0; i < std::min<size_t>(8, list.size()) && list[i].before != list[i].after; ++i) {
    fmt::print("  head {:<12} {:6.2f} % -> {:6.2f} %\n", head_name(list[i].head), 100 * list[i].before,
               100 * list[i].after);
  }
  if (!options.save.empty()) fmt::print("\nSteering written to {}\n", printable(options.save));
  return exit_ok;
}

}  // namespace

void add_steer(CLI::App& app, Action& action) {
  auto options = std::make_shared<SteerOptions>();
  CLI::App* command = app.add_subcommand("steer", "change what heads attend to, and see what the model then says");
  options->input.declare(*command, "PROMPT", "the prompt");
  options->model.declare(*command);
  options->encoding.declare_chat(*command, "the prompt");
  options->encoding.declare_special(*command);
  command->add_option("-n,--count", options->count, "how many tokens to generate")
      ->type_name("N")
      ->check(within(1, 1 << 24))
      ->capture_default_str();
  command->add_option("--heads", options->heads, "which heads: 5.3, 6.* (all of layer 6), *.0, *; commas between")
      ->type_name("HEADS")
      ->delimiter(',')
      ->allow_extra_args(false);
  const auto span = [&](const char* name, std::vector<std::string>& to, const char* what) {
    command->add_option(name, to, what)->type_name("TEXT")->allow_extra_args(false);
  };
  span("--boost", options->boost, "multiply the weights on this part of the prompt by --by");
  command->add_option("--by", options->by, "the factor of --boost")->type_name("X")->capture_default_str();
  span("--pasta", options->pasta, "multiply the weights outside this part by --alpha");
  command->add_option("--alpha", options->alpha, "the factor of --pasta")->type_name("X")->capture_default_str();
  span("--knockout", options->knockout, "nobody sees this part");
  command->add_flag("--no-first", options->no_first, "nobody but the first token sees the first token (the sink)");
  command->add_option("--temperature", options->temperature, intervention_help(Kind::temperature))->type_name("T");
  command->add_option("--scale", options->scale, intervention_help(Kind::scale))->type_name("X");
  command->add_flag("--ablate", options->ablate, "the heads write nothing");
  command->add_flag("--mean", options->mean, "the heads write their mean over the prompt");
  command->add_flag("--adaptive", options->adaptive, "sharpen heads of high entropy (adaptive temperature)");
  command->add_option("--sink-logit", options->sink_logit, intervention_help(Kind::sink_logit))
      ->type_name("X")
      ->each([options](const std::string&) { options->sink = true; });
  CLI::Option* window =
      command->add_option("--window", options->window, "tokens see only W before their own; whole layers as --heads")
          ->type_name("W")
          ->check(within<int64_t>(0, int64_t{1} << 24));
  command->add_option("--sinks", options->sinks, "and the first S tokens")
      ->type_name("S")
      ->check(within<int64_t>(0, int64_t{1} << 24))
      ->needs(window);
  span("--calibrate", options->calibrate, "weigh these parts by their lengths where the query says nothing (docs)");
  command->add_option("--query", options->query, "the part of the prompt that asks, for --calibrate")
      ->type_name("TEXT");
  command->add_option("--control", options->control, "what stands in its place in the control run")
      ->type_name("TEXT")
      ->capture_default_str();
  command->add_option("--table", options->table, "interventions from a steering file (docs/steering.md)")
      ->type_name("FILE");
  command->add_option("--save", options->save, "write the interventions to a steering file")->type_name("FILE");
  command->add_flag("--json", options->json, "everything as JSON");
  command->footer(
      "Example:\n  bareattn steer -m MODEL.gguf --boost \"in French\" --by 5 \"Answer in French: what is rain?\"");
  command->callback([options, &action] { action = [options] { return steer(*options); }; });
}

}  // namespace bareattn::cli
