// Interventions become one table. Every position is named by the set of spans that hold it; positions of the same set
// share a span of the table, so overlapping interventions simply add up. See steering.h.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "bareattn/error.h"
#include "bareattn/steering.h"
#include "base/float_environment.h"

namespace bareattn {
namespace {

using Kind = Intervention::Kind;

bool by_span(Kind kind) {
  return kind == Kind::boost || kind == Kind::pasta || kind == Kind::bias || kind == Kind::knockout;
}

[[noreturn]] void fail(const Intervention& one, const std::string& sentence) {
  throw InputError(std::string(intervention_name(one.kind)) + ": " + sentence);
}

void check(const Intervention& one) {
  const auto narrow = static_cast<float>(one.value);  // what a run computes with
  if (!std::isfinite(narrow)) fail(one, "the value must be a number of at most 3.4e38, to either side of 0");
  if (std::any_of(one.mean.begin(), one.mean.end(), [](float x) { return !std::isfinite(x); }))
    fail(one, "the means must be finite numbers");
  if ((one.kind == Kind::boost || one.kind == Kind::pasta) && one.value < 0)
    fail(one, "the factor is " + std::to_string(one.value) + "; 0 or more is needed");
  if (one.kind == Kind::temperature && !(one.value > 0 && std::isfinite(1 / narrow)))
    fail(one, "the temperature is " + std::to_string(one.value) + "; a number over 0 is needed, at least 3e-39");
  if (by_span(one.kind) && one.keys.empty()) fail(one, "no span of keys is given");
  if (one.kind == Kind::window) {
    if (!(one.value >= 0 && one.value <= 1e9 && one.value == std::floor(one.value)))
      fail(one, "the window is " + std::to_string(one.value) + "; a whole number of keys from 0 on is needed");
    if (one.keys.size() > 1 || (!one.keys.empty() && (one.keys[0].begin != 0 || one.keys[0].end < 0)))
      fail(one, "what is kept beside the window must be one span that begins with token 0 and ends");
  }
  for (const auto* spans : {&one.keys, &one.rows})
    for (const TokenSpan& span : *spans)
      if (span.begin < 0 || (span.end >= 0 && span.end <= span.begin) || span.end < -1)
        fail(one, "the span " + std::to_string(span.begin) + " to " + std::to_string(span.end) +
                      " holds no token; tokens count from 0, the end is not included, -1 is the end");
}

bool holds(const std::vector<TokenSpan>& spans, int64_t position) {
  return std::any_of(spans.begin(), spans.end(), [&](const TokenSpan& span) {
    return position >= span.begin && (span.end < 0 || position < span.end);
  });
}

/// Marks the positions that the spans hold, in one pass over both.
std::vector<bool> held(const std::vector<TokenSpan>& spans, int64_t tokens) {
  std::vector<int32_t> opened(static_cast<size_t>(tokens) + 1);  // less those that were closed
  for (const TokenSpan& span : spans) {
    if (span.begin >= tokens) continue;
    ++opened[static_cast<size_t>(span.begin)];
    if (span.end >= 0) --opened[static_cast<size_t>(std::min(span.end, tokens))];
  }
  std::vector<bool> marks(static_cast<size_t>(tokens));
  int64_t open = 0;
  for (size_t i = 0; i < marks.size(); ++i) {
    open += opened[i];
    marks[i] = open > 0;
  }
  return marks;
}

// Which interventions hold at a position, by number; the table's span is the place of that set among all seen, in the
// order of positions. Span 0 is of the positions past the end. One intervention after the other splits the spans that
// there are: time is linear in interventions, spans and tokens.
struct Axis {
  std::vector<std::vector<bool>> sets;  // [spans][interventions]
  std::vector<uint8_t> span;            // [positions]

  Axis(int64_t tokens, const std::vector<Intervention>& all, bool keys, const char* what) {
    constexpr int64_t past_the_end = std::numeric_limits<int64_t>::max() - 1;
    const auto count = static_cast<size_t>(tokens);
    std::vector<int> of(count + 1);  // [positions and the end]: the number of its set so far
    sets.resize(1);
    for (const Intervention& one : all) {
      const std::vector<TokenSpan>& spans = keys ? one.keys : one.rows;
      const bool counts = by_span(one.kind), everywhere = !keys && spans.empty();
      std::vector<bool> marks = held(spans, tokens);
      marks.push_back(holds(spans, past_the_end));
      std::map<std::pair<int, bool>, int> split;
      std::vector<std::vector<bool>> next;
      for (size_t i = 0; i <= count; ++i) {
        const std::pair<int, bool> key{of[i], counts && (everywhere || marks[i])};
        const auto [at, fresh] = split.emplace(key, static_cast<int>(split.size()));
        if (split.size() > most_spans)
          throw InputError("steering: more than " + std::to_string(most_spans) + " different spans of " + what);
        if (fresh) {
          next.push_back(sets[static_cast<size_t>(key.first)]);
          next.back().push_back(key.second);
        }
        of[i] = at->second;
      }
      sets = std::move(next);
    }
    number_by_place(of);
  }

 private:
  static constexpr size_t most_spans = 256;

  void number_by_place(const std::vector<int>& of) {
    std::vector<int> places(sets.size(), -1);
    std::vector<std::vector<bool>> ordered;
    const auto number = [&](int set) {
      int& place = places[static_cast<size_t>(set)];
      if (place < 0) {
        place = static_cast<int>(ordered.size());
        ordered.push_back(sets[static_cast<size_t>(set)]);
      }
      return static_cast<uint8_t>(place);
    };
    number(of.back());
    for (size_t i = 0; i + 1 < of.size(); ++i) span.push_back(number(of[i]));
    sets = std::move(ordered);
  }
};

float term(const Intervention& one, bool in_keys) {
  const auto log = [](double v) { return static_cast<float>(std::log(v)); };  // ln 0 is -inf: cut
  switch (one.kind) {
    case Kind::boost:
      return in_keys ? log(one.value) : 0.0F;
    case Kind::pasta:
      return in_keys ? 0.0F : log(one.value);
    case Kind::bias:
      return in_keys ? static_cast<float>(one.value) : 0.0F;
    case Kind::knockout:
      return in_keys ? -std::numeric_limits<float>::infinity() : 0.0F;
    default:
      return 0.0F;
  }
}

// Rows that would see nothing are left out: those that come before every key that remains to be seen.
Intervention without_blind_rows(const Intervention& one, int64_t tokens) {
  const bool cuts = one.kind == Kind::knockout || (one.kind == Kind::boost && one.value == 0);
  const bool cuts_rest = one.kind == Kind::pasta && one.value == 0;
  if (!cuts && !cuts_rest) return one;
  int64_t first = 0;
  while (first < tokens && holds(one.keys, first) == cuts) ++first;
  if (first == 0) return one;
  Intervention kept = one;
  if (kept.rows.empty()) kept.rows = {{0, -1}};
  std::vector<TokenSpan> rows;
  for (TokenSpan row : kept.rows) {
    row.begin = std::max(row.begin, first);
    if (row.end < 0 || row.begin < row.end) rows.push_back(row);
  }
  if (rows.empty()) rows.push_back({std::numeric_limits<int64_t>::max() - 1, -1});  // none
  kept.rows = std::move(rows);
  return kept;
}

class Builder {
 public:
  Builder(const std::vector<Intervention>& all, const ModelConfig& config, int64_t tokens)
      : config_(config), rows_(tokens, all, false, "rows"), keys_(tokens, all, true, "keys") {
    table_.row_spans = static_cast<int>(rows_.sets.size());
    table_.key_spans = static_cast<int>(keys_.sets.size());
    table_.row_span = rows_.span;
    table_.key_span = keys_.span;
    table_.heads = config.heads;
    table_.head_dim = config.head_dim;
    table_.layers.resize(static_cast<size_t>(config.layers));
    for (size_t i = 0; i < all.size(); ++i) add(all[i], i);
  }
  ScoreTable take() { return std::move(table_); }

 private:
  std::vector<float>& of_heads(std::vector<float>& values, float fill) const {
    if (values.empty()) values.assign(static_cast<size_t>(config_.heads), fill);
    return values;
  }
  static int of_layer(const std::vector<HeadId>& heads, int layer) {
    return static_cast<int>(
        std::count_if(heads.begin(), heads.end(), [&](const HeadId& head) { return head.layer == layer; }));
  }
  void add(const Intervention& one, size_t index) {
    const auto heads = select_heads(one.heads, config_);
    if (by_span(one.kind)) {
      visited_ += static_cast<int64_t>(heads.size() * rows_.sets.size() * keys_.sets.size());
      if (visited_ > most_visited)
        fail(one, std::to_string(rows_.sets.size()) + " spans of rows and " + std::to_string(keys_.sets.size()) +
                      " of keys for so many heads are more than a run is steered by; name fewer spans or heads");
    }
    const auto dim = static_cast<size_t>(config_.head_dim);
    if (one.kind == Kind::mean && one.mean.size() != heads.size() * dim)
      fail(one, std::to_string(one.mean.size()) + " numbers are given; " + std::to_string(heads.size()) + " heads of " +
                    std::to_string(dim) + " are needed");
    for (size_t n = 0; n < heads.size(); ++n) {
      LayerTable& layer = table_.layers[static_cast<size_t>(heads[n].layer)];
      const auto head = static_cast<size_t>(heads[n].head);
      switch (one.kind) {
        case Kind::temperature:
          of_heads(layer.head_scale, 1)[head] /= static_cast<float>(one.value);
          break;
        case Kind::scale:
          of_heads(layer.output_scale, 1)[head] *= static_cast<float>(one.value);
          break;
        case Kind::sink_logit:
          of_heads(layer.sinks, -std::numeric_limits<float>::infinity())[head] = static_cast<float>(one.value);
          break;
        case Kind::window:
          if (of_layer(heads, heads[n].layer) != config_.heads)
            fail(one, "layer " + std::to_string(heads[n].layer) + " has " + std::to_string(config_.heads) +
                          " heads, which have one window together; name all of them, as " +
                          std::to_string(heads[n].layer) + ".*");
          layer.window = static_cast<int64_t>(one.value);
          layer.leading_keys = one.keys.empty() ? 0 : one.keys[0].end;
          break;
        case Kind::mean:
          if (layer.output_mean.empty()) layer.output_mean.assign(static_cast<size_t>(config_.heads) * dim, NAN);
          std::copy_n(one.mean.begin() + static_cast<int64_t>(n * dim), dim,
                      layer.output_mean.begin() + static_cast<int64_t>(head * dim));
          break;
        default:
          add_biases(one, index, layer, head);
      }
    }
  }
  void add_biases(const Intervention& one, size_t index, LayerTable& layer, size_t head) const {
    const size_t rows = rows_.sets.size(), keys = keys_.sets.size();
    if (layer.value.empty()) layer.value.assign(static_cast<size_t>(config_.heads) * rows * keys, 0.0F);
    for (size_t r = 0; r < rows; ++r) {
      if (!rows_.sets[r][index]) continue;
      for (size_t k = 0; k < keys; ++k) layer.value[(head * rows + r) * keys + k] += term(one, keys_.sets[k][index]);
    }
  }

  static constexpr int64_t most_visited = int64_t{1} << 26;  // cells of tables, once for each intervention
  const ModelConfig& config_;
  int64_t visited_ = 0;
  Axis rows_, keys_;
  ScoreTable table_;
};

// A window and a cut can leave a row without any key, which either alone cannot.
void refuse_blind_rows(const ScoreTable& table, int64_t tokens) {
  const auto row_spans = static_cast<size_t>(table.row_spans), key_spans = static_cast<size_t>(table.key_spans);
  for (size_t layer = 0; layer < table.layers.size(); ++layer) {
    const LayerTable& one = table.layers[layer];
    if (one.window < 0 || std::none_of(one.value.begin(), one.value.end(), [](float v) { return std::isinf(v); }))
      continue;
    for (size_t head_row = 0; head_row < static_cast<size_t>(table.heads) * row_spans; ++head_row) {
      std::vector<int64_t> seen(static_cast<size_t>(tokens) + 1);  // keys before each position that are not cut
      for (size_t j = 0; j < static_cast<size_t>(tokens); ++j)
        seen[j + 1] = seen[j] + (std::isinf(one.value[head_row * key_spans + table.key_span[j]]) ? 0 : 1);
      for (int64_t row = 0; row < tokens; ++row) {
        if (table.row_span[static_cast<size_t>(row)] != head_row % row_spans) continue;
        const auto begin = static_cast<size_t>(std::max<int64_t>(0, row - one.window));
        const auto leading = static_cast<size_t>(std::min<int64_t>(one.leading_keys, row + 1));
        if (seen[static_cast<size_t>(row) + 1] - seen[begin] + seen[std::min(leading, begin)] > 0) continue;
        throw InputError("steering: token " + std::to_string(row) + " sees no key in head " + std::to_string(layer) +
                         "." + std::to_string(head_row / row_spans) + ": the window leaves only keys that are cut");
      }
    }
  }
}

}  // namespace

ScoreTable make_table(const std::vector<Intervention>& interventions, const ModelConfig& config, int64_t tokens) {
  const base::DefaultFloatEnvironment environment;
  std::vector<Intervention> kept;
  for (const Intervention& one : interventions) {
    check(one);
    kept.push_back(without_blind_rows(one, tokens));
  }
  ScoreTable table = Builder(kept, config, tokens).take();
  refuse_blind_rows(table, tokens);
  return table;
}

}  // namespace bareattn
