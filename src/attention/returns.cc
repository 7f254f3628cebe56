// See returns.h.
#include "attention/returns.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace bareattn::attend {

bool wants_rows(const Call& call) { return call.params->returns.top_k > 0 || !call.params->returns.full_rows.empty(); }

void clear_rows(const Call& call) {
  const AttentionReturns& returns = call.params->returns;
  const int64_t rows = call.batch * call.heads;
  std::fill_n(returns.top_keys, rows * call.rows * returns.top_k, -1);
  std::fill_n(returns.top_weights, rows * call.rows * returns.top_k, 0.0F);
  std::fill_n(returns.full_weights, rows * static_cast<int64_t>(returns.full_rows.size()) * call.keys, 0.0F);
}

int64_t RowCollector::full_index(int64_t row) const {
  const auto list = call_.params->returns.full_rows;
  const int64_t wanted = piece_.row + skip_ + row;
  const auto at = std::lower_bound(list.begin(), list.end(), wanted);
  return at != list.end() && *at == wanted ? at - list.begin() : -1;
}

bool RowCollector::wants(int64_t, int64_t row) const { return call_.params->returns.top_k > 0 || full_index(row) >= 0; }

void RowCollector::see(int64_t head, int64_t row, int64_t first_key, std::span<const float> weights) {
  const AttentionReturns& returns = call_.params->returns;
  const int64_t line = piece_.batch * call_.heads + head;
  if (const int64_t index = full_index(row); index >= 0) {
    const int64_t at = line * static_cast<int64_t>(returns.full_rows.size()) + index;
    std::copy(weights.begin(), weights.end(), returns.full_weights + at * call_.keys + piece_.key + first_key);
  }
  if (returns.top_k == 0) return;
  const int64_t at = (line * call_.rows + piece_.row + skip_ + row) * returns.top_k;
  if (!weights.empty() && std::any_of(weights.begin(), weights.end(), [](float w) { return std::isnan(w); })) {
    std::fill_n(returns.top_weights + at, returns.top_k, std::numeric_limits<float>::quiet_NaN());
    return;
  }
  std::vector<int32_t> order;
  order.reserve(weights.size());
  for (size_t j = 0; j < weights.size(); ++j)
    if (weights[j] > 0.0F) order.push_back(static_cast<int32_t>(j));  // a masked key or one that underflowed: not seen
  const auto count = std::min<size_t>(order.size(), static_cast<size_t>(returns.top_k));
  std::partial_sort(order.begin(), order.begin() + static_cast<int64_t>(count), order.end(), [&](int32_t a, int32_t b) {
    const float x = weights[static_cast<size_t>(a)], y = weights[static_cast<size_t>(b)];
    return x > y || (x == y && a < b);
  });
  for (size_t i = 0; i < count; ++i) {
    returns.top_keys[at + static_cast<int64_t>(i)] = static_cast<int32_t>(first_key) + order[i];
    returns.top_weights[at + static_cast<int64_t>(i)] = weights[static_cast<size_t>(order[i])];
  }
}

AttentionStatistics statistics_of(const Call& call, const Piece& piece, int64_t skip) {
  const auto& all = call.params->returns.statistics;
  AttentionStatistics out = all.empty() ? AttentionStatistics{} : all[static_cast<size_t>(piece.batch)];
  const int64_t row = piece.row + skip;
  const auto move = [](auto*& pointer, int64_t by) {
    if (pointer != nullptr) pointer += by;
  };
  for (float** pointer :
       {&out.lse, &out.max_logit, &out.row_sum, &out.entropy, &out.sum_squares, &out.mean_distance, &out.first_mass,
        &out.self_weight, &out.previous_weight, &out.recent_mass, &out.distance_spread, &out.column_sums})
    move(*pointer, row);
  move(out.key_columns, piece.key * out.columns);
  move(out.max_key, row);
  move(out.received, piece.key);
  if (out.pool_sum == nullptr && out.pool_max == nullptr) out.pool_block = 0;
  return out;
}

}  // namespace bareattn::attend
