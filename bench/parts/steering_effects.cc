// What steering costs and what it does, on a real model: steering_effects MODEL TEXTFILE PART...; JSON on standard
// output. Parts: cost (a prefill and one layer's attention with and without a table), window (perplexity of a window
// without and with its first tokens), repeat (loss on the second copy of random tokens, induction and other heads
// ablated), boost (instructions followed). bench/steering.py runs it and writes the tables of docs/steering.md.
#include <bareattn/bareattn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "steering_tasks.h"

namespace {

using nlohmann::json;
using Kind = bareattn::Intervention::Kind;
using Tokens = std::vector<int32_t>;
using Table = std::shared_ptr<const bareattn::ScoreTable>;
using SharedModel = std::shared_ptr<const bareattn::Model>;

double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

bareattn::Intervention intervention(Kind kind, double value, std::vector<bareattn::TokenSpan> keys = {},
                                    std::vector<std::string> heads = {"*"}) {
  bareattn::Intervention one;
  one.kind = kind;
  one.value = value;
  one.keys = std::move(keys);
  one.heads = std::move(heads);
  return one;
}

Table table_of(const std::vector<bareattn::Intervention>& all, const bareattn::Model& model, size_t tokens) {
  return std::make_shared<const bareattn::ScoreTable>(
      bareattn::make_table(all, model.config(), static_cast<int64_t>(tokens)));
}

/// Mean negative log-likelihood of tokens[i + 1] for i in [from, N - 1).
double loss(const SharedModel& model, const Tokens& tokens, size_t from, const Table& table) {
  bareattn::SessionOptions options;
  options.max_tokens = static_cast<int64_t>(tokens.size());
  options.table = table;
  bareattn::Session session(model, options);
  const auto vocabulary = static_cast<size_t>(model->config().vocab_size);
  double sum = 0;
  for (size_t first = 0; first + 1 < tokens.size(); first += 256) {
    const size_t rows = std::min<size_t>(256, tokens.size() - 1 - first);
    const auto logits = session.run(std::span(tokens).subspan(first, rows), bareattn::Logits::all);
    for (size_t r = 0; r < rows; ++r) {
      if (first + r < from) continue;
      const float* line = logits.data + r * vocabulary;
      const double top = *std::max_element(line, line + vocabulary);
      double total = 0;
      for (size_t v = 0; v < vocabulary; ++v) total += std::exp(static_cast<double>(line[v]) - top);
      sum += top + std::log(total) - static_cast<double>(line[tokens[first + r + 1]]);
    }
  }
  return sum / static_cast<double>(tokens.size() - 1 - from);
}

struct Pairs {
  std::vector<double> without, with, ratios;
};

/// In turns, so that whatever else the machine does meets both; which of the two goes first changes too.
template <class Run>
Pairs in_turns(int pairs, const Run& run) {
  Pairs all;
  run(false), run(true);
  for (int i = 0; i < pairs; ++i) {
    double seconds[2];
    for (const int with : {i % 2, 1 - i % 2}) seconds[with] = run(with == 1);
    all.without.push_back(seconds[0]);
    all.with.push_back(seconds[1]);
    all.ratios.push_back(seconds[1] / seconds[0]);
  }
  return all;
}

json json_of(const Pairs& pairs) {
  return {{"pairs", pairs.ratios.size()},
          {"cpu_seconds_without", median(pairs.without)},
          {"cpu_seconds_with", median(pairs.with)},
          {"ratio_of_medians", median(pairs.with) / median(pairs.without)},
          {"median_ratio", median(pairs.ratios)},
          {"least_ratio", *std::min_element(pairs.ratios.begin(), pairs.ratios.end())},
          {"greatest_ratio", *std::max_element(pairs.ratios.begin(), pairs.ratios.end())}};
}

std::vector<bareattn::Intervention> two_spans_and_a_temperature(int64_t length) {
  return {intervention(Kind::boost, 2, {{10, 60}, {length / 2, length / 2 + 100}}),
          intervention(Kind::temperature, 1.1)};
}

json prefill_cost(const SharedModel& model, const Tokens& tokens) {
  const auto length = static_cast<int64_t>(tokens.size());
  const Table table = table_of(two_spans_and_a_temperature(length), *model, tokens.size());
  json found = json_of(in_turns(11, [&](bool with) {
    bareattn::SessionOptions options;
    options.max_tokens = length;
    if (with) options.table = table;
    bareattn::Session session(model, options);
    const double start = cpu_seconds();
    session.run(tokens, bareattn::Logits::none);
    return cpu_seconds() - start;
  }));
  found["tokens"] = length;
  return found;
}

/// The operator alone: one layer's heads over as many tokens, on random Q, K and V.
json attention_cost(const SharedModel& model, int64_t length) {
  const auto& config = model->config();
  const int64_t dim = config.head_dim;
  uint64_t state = 7;
  const auto random = [&](int64_t heads) {
    std::vector<float> values(static_cast<size_t>(heads * length * dim));
    for (float& v : values) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      v = static_cast<float>(state >> 40) * 0x1p-23F - 1;
    }
    return values;
  };
  const auto q = random(config.heads), k = random(config.kv_heads), v = random(config.kv_heads);
  std::vector<float> o(q.size());
  const auto view = [&](auto* data, int64_t heads) {
    return bareattn::TensorView<std::remove_pointer_t<decltype(data)>>(data, {1, heads, length, dim},
                                                                       {heads * length * dim, length * dim, dim, 1});
  };
  const auto table = bareattn::make_table(two_spans_and_a_temperature(length), config, length);
  bareattn::SpanBias bias;
  bias.row_spans = table.row_spans;
  bias.key_spans = table.key_spans;
  bias.row_span = table.row_span;
  bias.key_span = table.key_span;
  bias.value = table.layers[0].value;
  bias.head_scale = table.layers[0].head_scale;
  json found = json_of(in_turns(41, [&](bool with) {
    bareattn::AttentionParams params;
    params.is_causal = true;
    if (with) params.bias = &bias;
    const double start = cpu_seconds();
    bareattn::attention(view(q.data(), config.heads), view(k.data(), config.kv_heads), view(v.data(), config.kv_heads),
                        view(o.data(), config.heads), params);
    return cpu_seconds() - start;
  }));
  found["tokens"] = length;
  return found;
}

json cost(const SharedModel& model, Tokens tokens) {
  tokens.resize(std::min<size_t>(tokens.size(), 2048));
  return {{"prefill", prefill_cost(model, tokens)},
          {"attention", attention_cost(model, static_cast<int64_t>(tokens.size()))}};
}

json window(const SharedModel& model, Tokens tokens) {
  constexpr size_t counted_from = 1000;
  tokens.resize(std::min<size_t>(tokens.size(), 3000));
  json rows = json::array();
  rows.push_back({{"keys", -1}, {"sinks", 0}, {"perplexity", std::exp(loss(model, tokens, counted_from, nullptr))}});
  for (const int keys : {1024, 256, 64}) {  // as many for every number of sinks
    for (const int sinks : {0, 1, 4}) {
      std::vector<bareattn::TokenSpan> kept;
      if (sinks > 0) kept = {{0, sinks}};
      const Table table = table_of({intervention(Kind::window, keys - 1 - sinks, kept)}, *model, tokens.size());
      rows.push_back(
          {{"keys", keys}, {"sinks", sinks}, {"perplexity", std::exp(loss(model, tokens, counted_from, table))}});
    }
  }
  return {{"tokens", tokens.size()}, {"counted_from", counted_from}, {"rows", rows}};
}

constexpr size_t copy_length = 40;
uint64_t random_state = 20261124;

uint64_t draw() {
  random_state = random_state * 6364136223846793005U + 1442695040888963407U;
  return random_state >> 33;
}

/// Random tokens, twice.
Tokens repeated(const SharedModel& model) {
  Tokens text;
  for (size_t i = 0; i < copy_length; ++i)
    text.push_back(static_cast<int32_t>(100 + draw() % static_cast<uint64_t>(model->config().vocab_size - 100)));
  text.insert(text.end(), text.begin(), text.end());
  return text;
}

/// Mean weight, in the second copy, on the token after the same token's first place; [L Hq].
std::vector<double> induction_scores(const SharedModel& model, const std::vector<Tokens>& texts) {
  const auto& config = model->config();
  std::vector<double> scores(static_cast<size_t>(config.layers * config.heads));
  for (const Tokens& text : texts) {
    const auto seen = bareattn::observe(model, text);
    for (size_t h = 0; h < scores.size(); ++h) {
      const bareattn::HeadId head{static_cast<int>(h) / config.heads, static_cast<int>(h) % config.heads};
      for (size_t row = copy_length; row < text.size(); ++row)
        scores[h] += static_cast<double>(seen->row_weights(head, static_cast<int64_t>(row))[row - copy_length + 1]) /
                     static_cast<double>(copy_length * texts.size());
    }
  }
  return scores;
}

json repeat(const SharedModel& model) {
  const auto& config = model->config();
  std::vector<Tokens> to_score, to_predict;  // heads are chosen on other texts than those they are judged on
  for (int i = 0; i < 4; ++i) to_score.push_back(repeated(model)), to_predict.push_back(repeated(model));
  const auto scores = induction_scores(model, to_score);
  const auto name = [&](size_t h) {
    return fmt::format("{}.{}", static_cast<int>(h) / config.heads, static_cast<int>(h) % config.heads);
  };
  const auto second = [&](const std::vector<bareattn::Intervention>& all) {
    double sum = 0;
    for (const Tokens& text : to_predict)
      sum += loss(model, text, copy_length, all.empty() ? nullptr : table_of(all, *model, 2 * copy_length));
    return sum / static_cast<double>(to_predict.size());
  };
  const auto zeroed = [&](const std::vector<std::string>& heads) {
    return second({intervention(Kind::scale, 0, {}, heads)});
  };
  double first_copy = 0;
  for (const Tokens& text : to_predict)
    first_copy += loss(model, Tokens(text.begin(), text.begin() + copy_length), 0, nullptr) /
                  static_cast<double>(to_predict.size());
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  constexpr size_t ablated = 10;
  json alone = json::array();
  const double whole = second({});
  std::vector<std::string> best;
  for (size_t i = 0; i < ablated; ++i) {
    best.push_back(name(order[i]));
    alone.push_back({{"head", best.back()}, {"score", scores[order[i]]}, {"loss", zeroed({best.back()})}});
  }
  // As many heads of each of those layers, drawn from the others.
  json random = json::array();
  for (int set = 0; set < 20; ++set) {
    std::vector<size_t> drawn(order.begin(), order.begin() + ablated);
    std::vector<std::string> heads;
    for (size_t i = 0; i < ablated; ++i) {
      const size_t layer = order[i] / static_cast<size_t>(config.heads);
      size_t other = 0;
      do {
        other = layer * static_cast<size_t>(config.heads) + draw() % static_cast<uint64_t>(config.heads);
      } while (std::find(drawn.begin(), drawn.end(), other) != drawn.end());
      drawn.push_back(other);
      heads.push_back(name(other));
    }
    random.push_back(zeroed(heads));
  }
  return {{"texts", to_predict.size()},
          {"tokens", copy_length},
          {"first_copy", first_copy},
          {"second_copy", whole},
          {"induction_heads", alone},
          {"zero", zeroed(best)},
          {"mean", second({bareattn::mean_ablation(model, to_score[0], best)})},
          {"random_sets", random}};
}

/// The tokens of `part`, which stands in the text that the tokens make.
bareattn::TokenSpan span_of(const std::string& part, const Tokens& tokens, const bareattn::Tokenizer& tokenizer) {
  std::string text;
  std::vector<size_t> begin;
  for (const int32_t id : tokens) begin.push_back(text.size()), text += tokenizer.piece(id);
  begin.push_back(text.size());
  const size_t at = text.find(part), end = at + part.size();
  bareattn::TokenSpan span{0, 0};
  while (begin[static_cast<size_t>(span.begin) + 1] <= at) ++span.begin;
  span.end = span.begin + 1;
  while (begin[static_cast<size_t>(span.end)] < end) ++span.end;
  return span;
}

std::string answer_to(const SharedModel& model, const Tokens& tokens, const Table& table, int count) {
  bareattn::SessionOptions options;
  options.max_tokens = static_cast<int64_t>(tokens.size()) + count;
  options.table = table;
  bareattn::Session session(model, options);
  const auto logits = session.run(tokens, bareattn::Logits::last);
  std::string answer;
  bareattn::generate(session, {logits.data, {model->config().vocab_size}}, count, {}, [&](int32_t id) {
    if (!bareattn::ends_generation(*model, id)) answer += model->tokenizer().piece(id);
    return true;
  });
  return answer;
}

json boost(const SharedModel& model) {
  constexpr int count = 32;
  std::vector<std::string> middle;
  for (int layer = model->config().layers / 3; layer < 2 * model->config().layers / 3; ++layer)
    middle.push_back(fmt::format("{}.*", layer));
  struct Setting {
    const char* heads;
    Kind kind;
    double value;
  };
  json rows = json::array();
  for (const Setting& setting : {Setting{"none", Kind::boost, 1},
                                 {"all", Kind::boost, 2},
                                 {"all", Kind::boost, 4},
                                 {"all", Kind::boost, 8},
                                 {"middle third", Kind::boost, 4},
                                 {"middle third", Kind::boost, 16},
                                 {"middle third", Kind::pasta, 0.1}}) {
    int followed = 0, of = 0;
    json by_task = json::object(), answers = json::array();
    for (const auto& task : steering_tasks::tasks()) {
      int here = 0;
      for (const auto& question : steering_tasks::questions()) {
        const bareattn::ChatMessage message{"user", std::string(task.instruction) + " " + question.text};
        const auto& tokenizer = model->tokenizer();
        const Tokens tokens = tokenizer.encode(tokenizer.apply_chat_template({&message, 1}, true), true, false);
        Table table;
        if (setting.value != 1)
          table = table_of({intervention(setting.kind, setting.value, {span_of(task.instruction, tokens, tokenizer)},
                                         setting.heads == std::string("all") ? std::vector<std::string>{"*"} : middle)},
                           *model, tokens.size() + count);
        const std::string answer = answer_to(model, tokens, table, count);
        const bool did = task.followed(answer);
        here += did ? 1 : 0;
        ++of;
        answers.push_back({{"prompt", message.content},
                           {"answer", answer},
                           {"followed", did},
                           {"about", steering_tasks::is_about(question, answer)}});
      }
      by_task[task.instruction] = here;
      followed += here;
    }
    rows.push_back({{"heads", setting.heads},
                    {"kind", bareattn::intervention_name(setting.kind)},
                    {"value", setting.value},
                    {"followed", followed},
                    {"of", of},
                    {"by_instruction", by_task},
                    {"answers", answers}});
  }
  return {{"tokens", count}, {"rows", rows}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return fmt::print(stderr, "steering_effects MODEL TEXTFILE cost|window|repeat|boost ...\n"), 2;
  const SharedModel model = bareattn::Model::load(argv[1]);
  const Tokens tokens = model->tokenizer().encode(bareattn::read_file(argv[2], int64_t{1} << 24));
  json out;
  for (int i = 3; i < argc; ++i) {
    const std::string part = argv[i];
    if (part == "cost")
      out[part] = cost(model, tokens);
    else if (part == "window")
      out[part] = window(model, tokens);
    else if (part == "repeat")
      out[part] = repeat(model);
    else if (part == "boost")
      out[part] = boost(model);
    else
      return fmt::print(stderr, "no part '{}'\n", part), 2;
  }
  fmt::print("{}\n", out.dump(1));
}
