// See bareattn/scores.h.
#include "bareattn/scores.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "attention/modify.h"
#include "bareattn/architecture.h"
#include "model/scores.h"

namespace bareattn {
namespace {

constexpr double hidden = -std::numeric_limits<double>::infinity();

/// What the bias of one head adds to a cell.
double added(const SpanBias& bias, int64_t row, int64_t key) {
  if (bias.value.empty()) return 0;
  const size_t row_span = bias.row_span[static_cast<size_t>(row)], key_span = bias.key_span[static_cast<size_t>(key)];
  return static_cast<double>(bias.value[row_span * static_cast<size_t>(bias.key_spans) + key_span]);
}

ScoreRule rule_of(const Architecture& architecture, int layer, const Reach& reach, const ScoreTable* table) {
  ScoreRule rule = architecture.layer(layer).scores;
  if (rule.scale == 0.0F) rule.scale = default_scale(architecture.head_dim);
  if (reach.window >= 0 && (rule.left_window < 0 || reach.window < rule.left_window)) {
    rule.left_window = reach.window;
    rule.leading_keys = reach.sinks;
  }
  if (table == nullptr) return rule;
  const LayerTable& of = table->layers.at(static_cast<size_t>(layer));
  if (!of.sinks.empty()) rule.sinks = of.sinks;
  if (of.window >= 0) {
    rule.left_window = of.window;
    rule.leading_keys = of.leading_keys;
  }
  return rule;
}

}  // namespace

ScoreRule ScoreRule::of_head(int head) const {
  ScoreRule one = *this;
  const auto h = static_cast<size_t>(head);
  if (!alibi_slopes.empty()) one.alibi_slopes = {alibi_slopes.at(h)};
  if (!sinks.empty()) one.sinks = {sinks.at(h)};
  const size_t cells = static_cast<size_t>(bias.row_spans) * static_cast<size_t>(bias.key_spans);
  if (!bias.value.empty()) one.bias.value = bias.value.subspan(h * cells, cells);
  if (!bias.head_scale.empty()) one.bias.head_scale = bias.head_scale.subspan(h, 1);
  return one;
}

ScoreRule ScoreRule::from(int64_t first) const {
  ScoreRule moved = *this;
  const auto skip = static_cast<size_t>(first);
  moved.leading_keys = std::max<int64_t>(0, leading_keys - first);
  if (!bias.row_span.empty()) moved.bias.row_span = bias.row_span.subspan(skip);
  if (!bias.key_span.empty()) moved.bias.key_span = bias.key_span.subspan(skip);
  return moved;
}

bool ScoreRule::sees(int64_t row, int64_t key) const {
  if (right_window >= 0 && key > row + right_window) return false;
  if (left_window >= 0 && key < row - left_window && key >= leading_keys) return false;
  return added(bias, row, key) != hidden;
}

double ScoreRule::score(double dot, int64_t row, int64_t key) const {
  if (!sees(row, key)) return hidden;
  double s = dot * static_cast<double>(scale);
  if (!bias.head_scale.empty()) s *= static_cast<double>(bias.head_scale[0]);
  if (softcap != 0.0F) s = static_cast<double>(softcap) * std::tanh(s / static_cast<double>(softcap));
  if (!alibi_slopes.empty()) s += static_cast<double>(alibi_slopes[0]) * static_cast<double>(key - row);
  return s + added(bias, row, key);
}

void ScoreRule::score_row(int64_t row, std::span<float> dots) const {
  for (float& x : dots) x *= scale;
  if (!bias.head_scale.empty())
    for (float& x : dots) x *= bias.head_scale[0];
  const auto count = static_cast<int64_t>(dots.size());
  const attend::Modifier modifier(model::score_terms(*this));
  if (!modifier.nothing()) modifier.apply({0, 0, row, 0}, dots.data(), count);
  if (right_window >= 0 && row + right_window + 1 < count)
    std::fill(dots.begin() + row + right_window + 1, dots.end(), static_cast<float>(hidden));
}

ScoreRules::ScoreRules(const Architecture& architecture, const Reach& reach, const ScoreTable* table,
                       int64_t positions) {
  for (int layer = 0; layer < architecture.layers; ++layer)
    layers_.push_back(rule_of(architecture, layer, reach, table));
  if (table == nullptr) return;
  row_span_ = table->row_span;
  key_span_ = table->key_span;
  row_span_.resize(std::max(row_span_.size(), static_cast<size_t>(positions)));  // past the table's end: span 0
  key_span_.resize(std::max(key_span_.size(), static_cast<size_t>(positions)));
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    const LayerTable& of = table->layers[layer];
    if (of.value.empty() && of.head_scale.empty()) continue;
    layers_[layer].bias = {table->row_spans, table->key_spans, row_span_, key_span_, of.value, of.head_scale};
  }
}

AttentionParams attention_params(const ScoreRule& rule) {
  AttentionParams params;
  params.scale = rule.scale;
  params.softcap = rule.softcap;
  params.is_causal = rule.right_window == 0;
  params.left_window = rule.left_window;
  params.leading_keys = rule.leading_keys;
  params.right_window = rule.right_window;
  params.alibi_slopes = rule.alibi_slopes;
  params.sinks = rule.sinks;
  if (model::has_bias(rule)) params.bias = &rule.bias;
  return params;
}

namespace model {

ScoreTerms score_terms(const ScoreRule& rule) {
  ScoreTerms terms;
  terms.softcap = rule.softcap;
  terms.alibi_slopes = rule.alibi_slopes;
  terms.bias = has_bias(rule) ? &rule.bias : nullptr;
  terms.sinks = rule.sinks;
  terms.window = rule.left_window;
  terms.leading_keys = rule.leading_keys;
  return terms;
}

void set_scores(attend::Sequence& sequence, const ScoreRule& rule) {
  sequence.scale = rule.scale;
  sequence.window = {attend::Window::unbounded, rule.right_window};  // the left one is among the terms
  sequence.terms = score_terms(rule);
}

}  // namespace model
}  // namespace bareattn
