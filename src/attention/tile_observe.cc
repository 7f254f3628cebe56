// What a finished tile says: per-row measures, and what its rows add to each key and to the pooled map. A weight is
// strip * factor, factor = e^(block max - row max) / row sum: those are the weights that made the output.
#include <algorithm>
#include <cmath>
#include <limits>

#include "attention/tile.h"
#include "kernels/tree.h"

namespace bareattn::attend {

using kernels::block_keys;
using kernels::lanes;

namespace {

constexpr int64_t recent_keys = 64;

}  // namespace

float Tile::weight(int64_t e, int64_t key) const {
  if (key < seen_[e].begin || key >= seen_[e].end) return 0.0F;
  const int64_t index = key / block_keys, at = key % block_keys;
  if (window_ >= 0) {  // with leading keys it leaves gaps in what is seen
    const Seen here = within(e, index);
    if (at < here.begin || at >= here.end) return 0.0F;
  }
  return strip(e, index)[at] * factor(e, index);
}

void Tile::observe(const Sequence& sequence, std::span<std::mutex> locks) {
  Finished rows;
  join(sequence, rows);
  row_statistics(sequence, rows);
  if (sequence.visitor != nullptr) visit(sequence);
  owed_.take({&sequence, locks, rows_, rows.sum, strip_.as<float>(), first_block_, blocks_}, factor_, padded_);
}

void Tile::join(const Sequence& sequence, Finished& rows) {
  const int64_t padded = (count_ + lanes - 1) / lanes * lanes;
  for (int64_t e = 0; e < padded; ++e) {
    const bool there = e < count_;
    rows.max[e] = there ? max_[state_of(e)] : -std::numeric_limits<float>::infinity();
    const float sum = rows.sum[e] = there ? sum_[state_of(e)] : 0.0F;
    rows.log_sum[e] = sum == 0.0F ? 0.0 : std::log(static_cast<double>(sum));
    rows.entropy[e] = rows.log_sum[e];
    rows.squares[e] = rows.distance[e] = 0;
    rows.max_key[e] = -1;
    // The keys' weights sum to 1 but for what a sink takes, which is no key and has no part in the entropy.
    if (sum != 0.0F && !sequence.terms.sinks.empty()) {
      const double sink = sequence.terms.sinks[static_cast<size_t>(rows_[e].head)];
      rows.entropy[e] *= 1 - std::exp(sink - static_cast<double>(rows.max[e])) / sum;
    }
  }
  factor_.resize(static_cast<size_t>(blocks_ * tile_height));
  kernels_->join_states({padded, blocks_, states(0), tile_height, rows.max, rows.sum, factor_.data(),
                         measure_rows_ ? rows.entropy : nullptr, rows.squares, rows.distance, rows.max_key,
                         static_cast<int32_t>(first_block_ * block_keys)});
}

// Measure by measure: what is not wanted costs one look at a pointer.
void Tile::row_statistics(const Sequence& sequence, const Finished& rows) {
  const AttentionStatistics& out = *sequence.statistics;
  const auto place = [&](int64_t e) { return rows_[e].head * out.row_stride + rows_[e].row; };
  const bool together = rows_[0].head == rows_[count_ - 1].head && place(count_ - 1) == place(0) + count_ - 1;
  const auto put = [&](auto* to, const auto& value) {
    using To = std::remove_reference_t<decltype(*to)>;
    if (to == nullptr) return;
    if (together)
      for (int64_t e = 0; e < count_; ++e) to[place(0) + e] = static_cast<To>(value(e));
    else
      for (int64_t e = 0; e < count_; ++e) to[place(e)] = static_cast<To>(value(e));
  };
  put(out.max_logit, [&](int64_t e) { return rows.max[e]; });
  put(out.row_sum, [&](int64_t e) { return rows.sum[e]; });
  put(out.lse, [&](int64_t e) {
    return rows.sum[e] == 0.0F ? -std::numeric_limits<double>::infinity() : rows.max[e] + rows.log_sum[e];
  });
  put(out.max_key, [&](int64_t e) { return rows.max_key[e]; });
  put(out.entropy, [&](int64_t e) { return rows.entropy[e]; });
  put(out.sum_squares, [&](int64_t e) { return rows.squares[e]; });
  put(out.mean_distance, [&](int64_t e) { return rows.distance[e]; });
  for (int64_t e = 0; e < count_ && columns_ != 0; ++e) column_statistics(sequence, e);
  if (!keep_) return;
  const auto position = [&](int64_t e) { return sequence.first_row + rows_[e].row; };
  put(out.first_mass, [&](int64_t e) { return weight(e, 0); });
  put(out.self_weight, [&](int64_t e) { return weight(e, position(e)); });
  put(out.previous_weight, [&](int64_t e) { return weight(e, position(e) - 1); });
  if (out.recent_mass == nullptr) return;
  double recent[tile_height] = {};
  add_recent(recent, 0);
  add_recent(recent, 1);
  put(out.recent_mass, [&](int64_t e) { return recent[e]; });
}

// The weight of the last 64 keys of each row: those in the row's own block, or in the one before it (back).
void Tile::add_recent(double* recent, int64_t back) const {
  constexpr int64_t at_once = 4;
  const float* s[at_once];
  int64_t row[at_once], begin[at_once], end[at_once], index[at_once], count = 0;
  const auto add = [&] {
    float sum[at_once];
    for (int64_t i = count; i < at_once; ++i) s[i] = s[0], begin[i] = end[i] = 0;
    kernels_->run_sums(s, begin, end, sum);
    for (int64_t i = 0; i < count; ++i) recent[row[i]] += static_cast<double>(factor(row[i], index[i])) * sum[i];
    count = 0;
  };
  for (int64_t e = 0; e < count_; ++e) {
    const int64_t position = first_row_ + rows_[e].row, last = std::min(position, seen_[e].end - 1);
    if (last < 0 || seen_[e].begin >= seen_[e].end) continue;
    const int64_t own = last / block_keys - back, start = own * block_keys;
    if (own < first_block_) continue;
    const Seen here = within(e, own);
    begin[count] = std::max(here.begin, position - recent_keys + 1 - start);
    end[count] = std::min(here.end, position + 1 - start);
    if (begin[count] >= end[count]) continue;
    s[count] = strip(e, own);
    index[count] = own;
    row[count++] = e;
    if (count == at_once) add();
  }
  if (count != 0) add();
}

}  // namespace bareattn::attend
