// See page_lesson.h.
#include "view/page_lesson.h"

#include <cmath>
#include <stdexcept>
#include <string>

#include "kernels/convert.h"

namespace bareattn::view {
namespace {

using nlohmann::json;

struct Pair {
  HeadId head;
  int64_t row = -1, key = -1;
  float weight = -1;
};

std::string trimmed(const std::string& token) {
  const size_t from = token.find_first_not_of(' ');
  return from == std::string::npos ? std::string() : token.substr(from);
}

int64_t find_token(const Observation& observation, const char* word) {
  const std::vector<std::string>& texts = observation.token_texts();
  for (size_t i = 0; i < texts.size(); ++i) {
    if (trimmed(texts[i]) == word) return static_cast<int64_t>(i);
  }
  return -1;
}

template <typename Visit>
void for_each_head(const ModelConfig& config, Visit visit) {
  for (int layer = 0; layer < config.layers; ++layer) {
    for (int head = 0; head < config.heads; ++head) visit(HeadId{layer, head});
  }
}

/// The heaviest weight; NaN is never heavier.
Pair heaviest(const Observation& observation, int64_t row, int64_t first_key, int64_t last_key) {
  Pair best;
  for_each_head(observation.model().config(), [&](HeadId head) {
    const std::vector<float> weights = observation.row_weights(head, row);
    for (int64_t key = first_key; key <= last_key; ++key) {
      if (weights[static_cast<size_t>(key)] > best.weight) best = {head, row, key, weights[static_cast<size_t>(key)]};
    }
  });
  return best;
}

/// Five significant digits: binary16 holds three.
json rows_of(const std::vector<uint16_t>& values, int64_t dim) {
  json rows = json::array();
  std::vector<float> row(static_cast<size_t>(dim));
  for (size_t at = 0; at < values.size(); at += row.size()) {
    kernels::f32_from_f16(values.data() + at, row.data(), dim);
    json out = json::array();
    for (const float v : row) {
      const double unit = v == 0.0F ? 1 : std::pow(10.0, 4 - std::floor(std::log10(std::fabs(static_cast<double>(v)))));
      out.push_back(std::isfinite(v) ? json(std::round(static_cast<double>(v) * unit) / unit) : json(nullptr));
    }
    rows.push_back(std::move(out));
  }
  return rows;
}

}  // namespace

json page_lesson(const Observation& observation) {
  const ModelConfig& config = observation.model().config();
  const int64_t n = static_cast<int64_t>(observation.tokens().size());
  if (n > lesson_tokens) {
    throw std::invalid_argument("PageOptions.lesson has " + std::to_string(n) + " tokens, at most " +
                                std::to_string(lesson_tokens) + " fit");
  }
  if (n < 4) return nullptr;
  Pair pair;
  const int64_t it = find_token(observation, "it"), cat = find_token(observation, "cat");
  if (cat > 0 && it > cat) {
    pair = heaviest(observation, it, cat, cat);
  } else {
    for (int64_t row = 3; row < n; ++row) {
      const Pair here = heaviest(observation, row, 1, row - 2);
      if (here.weight > pair.weight) pair = here;
    }
  }
  if (pair.row < 0) return nullptr;
  const int kv_head = pair.head.head / (config.heads / config.kv_heads);
  const std::vector<uint16_t> v = observation.v_f16(pair.head.layer, kv_head);
  if (v.empty()) throw std::invalid_argument("PageOptions.lesson holds no V (ObservationOptions.keep_v)");
  json weights = json::array();
  for (int64_t row = 0; row < n; ++row) weights.push_back(observation.row_weights(pair.head, row));
  return {{"tokens", observation.token_texts()},
          {"layer", pair.head.layer},
          {"head", pair.head.head},
          {"row", pair.row},
          {"key", pair.key},
          {"q", rows_of(observation.q_f16(pair.head), config.head_dim)},
          {"k", rows_of(observation.k_f16(pair.head.layer, kv_head), config.head_dim)},
          {"v", rows_of(v, config.head_dim)},
          {"weights", std::move(weights)}};
}

}  // namespace bareattn::view
