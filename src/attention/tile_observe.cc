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

constexpr float unit = static_cast<float>(1 << weight_fraction_bits);
constexpr int64_t recent_keys = 64;
constexpr int64_t carry_rows = 24;  // sums of 2^-27 fit 32 bits for 31 rows

}  // namespace

float Tile::weight(int64_t e, int64_t key) const {
  const int64_t index = key / block_keys;
  return strip(e, index)[key % block_keys] * factor(e, index);
}

void Tile::observe(const Sequence& sequence, std::span<std::mutex> locks) {
  // All rows and blocks at once: a chain of e^x is 50 cycles long, and rows are many.
  factor_.resize(states_.size());
  power_.resize(states_.size());
  float base[tile_height], total[tile_height];
  for (int64_t e = 0; e < tile_height; ++e) {
    const bool nothing = e >= count_ || max_[state_of(e)] == -std::numeric_limits<float>::infinity();
    base[e] = nothing ? 0.0F : max_[state_of(e)];
    total[e] = e >= count_ || sum_[state_of(e)] == 0.0F ? std::numeric_limits<float>::infinity() : sum_[state_of(e)];
  }
  for (int64_t b = 0; b < blocks_; ++b)
    for (int64_t e = 0; e < tile_height; ++e)
      factor_[static_cast<size_t>(b * tile_height + e)] =
          states_[static_cast<size_t>(b * tile_height + e)].max - base[e];
  kernels_->exp_below(factor_.data(), power_.data(), blocks_ * tile_height);
  for (int64_t b = 0; b < blocks_; ++b)
    for (int64_t e = 0; e < tile_height; ++e)
      factor_[static_cast<size_t>(b * tile_height + e)] = power_[static_cast<size_t>(b * tile_height + e)] / total[e];
  const AttentionStatistics& out = *sequence.statistics;
  if (out.received != nullptr || out.pool_sum != nullptr || out.pool_max != nullptr) {
    received_.resize(static_cast<size_t>(blocks_ * block_keys));
    largest_.resize(out.pool_max == nullptr ? 0 : received_.size());
    cell_sum_.resize(received_.size() / lanes);
    cell_max_.resize(cell_sum_.size());
    const auto pool_row = [&](int64_t e) {
      return out.pool_block == 0 ? 0 : (sequence.first_row + rows_[e].row) / out.pool_block;
    };
    for (int64_t begin = 0, end; begin < count_; begin = end) {  // rows of one head and one row of the pooled map
      for (end = begin + 1; end < count_ && end - begin < carry_rows && rows_[end].head == rows_[begin].head &&
                            pool_row(end) == pool_row(begin);)
        ++end;
      observe_rows(begin, end);
      std::lock_guard lock(locks[static_cast<size_t>(rows_[begin].head)]);
      add_to_keys(sequence, begin);
    }
  }
  RowSums sums;
  add_blocks(sequence, sums);
  for (int64_t e = 0; e < count_; ++e) row_statistics(sequence, sums, e);
  if (sequence.visitor != nullptr) visit(sequence);
}

void Tile::observe_rows(int64_t begin, int64_t end) {
  std::fill(received_.begin(), received_.end(), 0U);
  std::fill(largest_.begin(), largest_.end(), 0.0F);
  for (int64_t b = 0; b < blocks_; ++b) {
    const int64_t index = first_block_ + b;
    for (int64_t e = begin, next; e < end; e = next) {  // never across a group of 6: their strips end apart
      next = std::min(end, (e / kernels::tile_rows + 1) * kernels::tile_rows);
      const int64_t padded = group(e / kernels::tile_rows * kernels::tile_rows, index).padded;
      if (padded == 0) continue;
      const int rows = static_cast<int>(next - e);
      float factors[kernels::tile_rows];
      for (int r = 0; r < rows; ++r)  // a row that is not a number adds nothing to the keys; its own measures show it
        factors[r] = std::isnan(sum_[state_of(e + r)]) ? 0.0F : factor(e + r, index) * unit;
      kernels_->finish_rows({strip(e, index), strip_stride_, rows, padded, factors, received_.data() + b * block_keys,
                             largest_.empty() ? nullptr : largest_.data() + b * block_keys});
    }
  }
}

void Tile::add_to_keys(const Sequence& sequence, int64_t begin) {
  const AttentionStatistics& out = *sequence.statistics;
  const int64_t head = rows_[begin].head, first_key = first_block_ * block_keys;
  const int64_t keys = std::min(blocks_ * block_keys, sequence.cache->length() - first_key);
  const bool pools = out.pool_sum != nullptr || out.pool_max != nullptr;
  uint64_t* sums = out.received == nullptr ? nullptr : out.received + head * out.key_stride + first_key;
  const int64_t whole = keys / lanes * lanes;  // the caller's array need not be padded; ours are, with zeros
  kernels_->carry({received_.data(), nullptr, whole, sums, nullptr, nullptr});
  for (int64_t j = whole; j < keys && sums != nullptr; ++j) sums[j] += received_[j];
  if (!pools) return;
  const int64_t cells = (keys + lanes - 1) / lanes;
  const float* strongest = largest_.empty() ? nullptr : largest_.data();
  kernels_->carry({received_.data(), strongest, cells * lanes, nullptr, cell_sum_.data(), cell_max_.data()});
  const int64_t pool_row = (sequence.first_row + rows_[begin].row) / out.pool_block, per = out.pool_block / lanes;
  const int64_t base = head * out.pool_stride + pool_row * (pool_row + 1) / 2, first_cell = first_key / lanes;
  for (int64_t c = 0; c < cells;) {
    const int64_t column = (first_cell + c) / per, stop = std::min(cells, (column + 1) * per - first_cell);
    if (column > pool_row) break;
    uint64_t sum = 0;
    float largest = 0;
    for (; c < stop; ++c) {
      sum += cell_sum_[c];
      largest = std::max(largest, cell_max_[c]);
    }
    if (out.pool_sum != nullptr) out.pool_sum[base + column] += sum;
    if (out.pool_max != nullptr) out.pool_max[base + column] = std::max(out.pool_max[base + column], largest / unit);
  }
}

// Of the blocks' states, with ln w = x + (block max - max) - ln sum. All rows of a block side by side: row by row the
// additions wait for each other, which took 2.6 % of a call at 2,048 keys.
void Tile::add_blocks(const Sequence& sequence, RowSums& sums) const {
  double max[tile_height];
  for (int64_t e = 0; e < tile_height; ++e) {
    const bool nothing = e >= count_ || sum_[state_of(e)] == 0.0F;
    max[e] = e >= count_ ? 0.0 : static_cast<double>(max_[state_of(e)]);
    // The keys' weights sum to 1 but for what a sink takes, which is no key and has no part in the entropy.
    double share = 1;
    if (!nothing && !sequence.terms.sinks.empty())
      share -= std::exp(sequence.terms.sinks[static_cast<size_t>(rows_[e].head)] - max[e]) / sum_[state_of(e)];
    sums.log_sum[e] = nothing ? 0.0 : std::log(static_cast<double>(sum_[state_of(e)]));
    sums.entropy[e] = sums.log_sum[e] * share;
    sums.squares[e] = sums.distance[e] = 0;
    sums.max_key[e] = -1;
  }
  for (int64_t b = blocks_ - 1; b >= 0; --b) {
    const kernels::BlockState* blocks = &states_[static_cast<size_t>(b * tile_height)];
    const float* factors = &factor_[static_cast<size_t>(b * tile_height)];
    const auto start = static_cast<int32_t>((first_block_ + b) * block_keys);
    for (int64_t e = 0; e < tile_height; ++e) {
      const kernels::BlockState& block = blocks[e];
      const double share = factors[e], sum = block.sum;
      const bool counts = share != 0.0 && sum != 0.0;  // else block.max may be -inf, and the product no number
      const double entropy = share * (block.entropy + sum * (block.max - max[e]));
      sums.entropy[e] -= counts ? entropy : 0.0;
      sums.squares[e] += counts ? share * share * block.squares : 0.0;
      sums.distance[e] += counts ? share * block.distance : 0.0;
      sums.max_key[e] = block.max_key >= 0 && block.max == max[e] ? start + block.max_key : sums.max_key[e];
    }
  }
}

void Tile::row_statistics(const Sequence& sequence, const RowSums& sums, int64_t e) {
  const AttentionStatistics& out = *sequence.statistics;
  const int64_t at = rows_[e].head * out.row_stride + rows_[e].row, position = sequence.first_row + rows_[e].row;
  const Seen seen = seen_[e];
  const float max = max_[state_of(e)], sum = sum_[state_of(e)], nothing = -std::numeric_limits<float>::infinity();
  const auto put = [at](auto* to, auto value) {
    if (to != nullptr) to[at] = static_cast<std::remove_reference_t<decltype(*to)>>(value);
  };
  const auto weight_of = [&](int64_t key) {
    if (key < seen.begin || key >= seen.end) return 0.0F;
    const Seen here = within(e, key / block_keys);  // a window with leading keys leaves gaps in `seen`
    return key % block_keys >= here.begin && key % block_keys < here.end ? weight(e, key) : 0.0F;
  };
  put(out.max_logit, max);
  put(out.row_sum, sum);
  put(out.lse, sum == 0.0F ? nothing : max + sums.log_sum[e]);
  put(out.max_key, sums.max_key[e]);
  put(out.entropy, sums.entropy[e]);
  put(out.sum_squares, sums.squares[e]);
  put(out.mean_distance, sums.distance[e]);
  if (columns_ != 0) column_statistics(sequence, e);
  if (!keep_) return;
  put(out.first_mass, weight_of(0));
  put(out.self_weight, weight_of(position));
  put(out.previous_weight, weight_of(position - 1));
  if (out.recent_mass == nullptr) return;
  // By groups of 16 keys. What the row does not see of a block is left out: past the group's keys the strip is not
  // made.
  const int64_t from = std::max(seen.begin, position - recent_keys + 1), to = std::min(seen.end, position + 1);
  float lane[lanes] = {};
  for (int64_t j = from / lanes * lanes; j < to; j += lanes) {
    const Seen here = within(e, j / block_keys);
    if (here.begin >= here.end) continue;  // no strip was made
    const float* s = strip(e, j / block_keys) + j % block_keys;
    const float f = factor(e, j / block_keys);
    const int64_t block = j / block_keys * block_keys;
    const int low = static_cast<int>(std::max<int64_t>(std::max(from, block + here.begin) - j, 0)),
              high = static_cast<int>(std::min<int64_t>(std::min(to, block + here.end) - j, lanes));
    for (int i = 0; i < lanes; ++i) lane[i] += i >= low && i < high ? s[i] * f : 0.0F;  // one loop: it becomes vectors
  }
  out.recent_mass[at] = kernels::tree_sum(lane);
}

}  // namespace bareattn::attend
