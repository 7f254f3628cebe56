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
  return strip(e, index)[key % block_keys] * factor_[e * blocks_ + index - first_block_];
}

void Tile::observe(const Sequence& sequence, std::span<std::mutex> locks) {
  factor_.resize(static_cast<size_t>(std::max<int64_t>(1, blocks_) * tile_height));
  std::vector<float> distance(static_cast<size_t>(blocks_ + lanes)), power(distance.size());
  for (int64_t e = 0; e < count_; ++e) {
    const float base = max_[state(e)] == -std::numeric_limits<float>::infinity() ? 0.0F : max_[state(e)];
    for (int64_t b = 0; b < blocks_; ++b) distance[b] = block_max_[b * tile_height + e] - base;
    kernels_->exp_below(distance.data(), power.data(), (blocks_ + lanes - 1) / lanes * lanes);
    for (int64_t b = 0; b < blocks_; ++b) factor_[e * blocks_ + b] = sum_[state(e)] == 0.0F ? 0.0F : power[b] / sum_[state(e)];
  }
  lane_sums_.assign(static_cast<size_t>(count_ * 2 * lanes), 0.0F);
  received_.resize(static_cast<size_t>(blocks_ * block_keys));
  largest_.resize(received_.size());
  const int pool = sequence.statistics->pool_block;
  const auto pool_row = [&](int64_t e) { return pool == 0 ? 0 : (sequence.first_row + rows_[e].row) / pool; };
  for (int64_t begin = 0, end; begin < count_; begin = end) {  // rows of one head and one row of the pooled map
    for (end = begin + 1; end < count_ && end - begin < carry_rows && rows_[end].head == rows_[begin].head &&
                          pool_row(end) == pool_row(begin);)
      ++end;
    observe_rows(sequence, begin, end);
    std::lock_guard lock(locks[static_cast<size_t>(rows_[begin].head)]);
    add_to_keys(sequence, begin, end);
  }
  for (int64_t e = 0; e < count_; ++e) row_statistics(sequence, e);
  if (sequence.visitor != nullptr) visit(sequence);
}

void Tile::observe_rows(const Sequence& sequence, int64_t begin, int64_t end) {
  std::fill(received_.begin(), received_.end(), 0U);
  std::fill(largest_.begin(), largest_.end(), 0.0F);
  for (int64_t b = 0; b < blocks_; ++b) {
    const int64_t index = first_block_ + b;
    for (int64_t e = begin, next; e < end; e = next) {  // never across a group of 6: their strips end apart
      next = std::min(end, (e / kernels::tile_rows + 1) * kernels::tile_rows);
      float factor[kernels::tile_rows], origin[kernels::tile_rows];
      const int rows = static_cast<int>(next - e);
      const int64_t padded = group(e / kernels::tile_rows * kernels::tile_rows, index).padded;
      if (padded == 0) continue;
      for (int r = 0; r < rows; ++r) {
        // A row that is not a number adds nothing to the keys; its own measures show it.
        factor[r] = std::isnan(sum_[state(e + r)]) ? 0.0F : factor_[(e + r) * blocks_ + b] * unit;
        origin[r] = static_cast<float>(sequence.first_row + rows_[e + r].row - index * block_keys);
      }
      kernels_->finish_rows({strip(e, index), strip_stride_, rows, padded, factor, origin,
                             received_.data() + b * block_keys, largest_.data() + b * block_keys,
                             lane_sums_.data() + e * 2 * lanes});
    }
  }
}

void Tile::add_to_keys(const Sequence& sequence, int64_t begin, int64_t) {
  const AttentionStatistics& out = *sequence.statistics;
  const int64_t head = rows_[begin].head, first_key = first_block_ * block_keys;
  const int64_t keys = std::min(blocks_ * block_keys, sequence.cache->length() - first_key);
  if (out.received != nullptr) {
    uint64_t* to = out.received + head * out.key_stride + first_key;
    const int64_t whole = keys / lanes * lanes;
    kernels_->carry(received_.data(), to, whole);
    for (int64_t j = whole; j < keys; ++j) to[j] += received_[j];
  }
  if (out.pool_sum == nullptr && out.pool_max == nullptr) return;
  const int64_t pool_row = (sequence.first_row + rows_[begin].row) / out.pool_block;
  const int64_t base = head * out.pool_stride + pool_row * (pool_row + 1) / 2;
  for (int64_t j = 0; j < keys;) {
    const int64_t cell = (first_key + j) / out.pool_block, stop = std::min(keys, (cell + 1) * out.pool_block - first_key);
    if (cell > pool_row) break;
    uint64_t sum = 0;
    float largest = 0;
    for (; j < stop; ++j) {
      sum += received_[j];
      largest = std::max(largest, largest_[j]);
    }
    if (out.pool_sum != nullptr) out.pool_sum[base + cell] += sum;
    if (out.pool_max != nullptr) out.pool_max[base + cell] = std::max(out.pool_max[base + cell], largest / unit);
  }
}

void Tile::row_statistics(const Sequence& sequence, int64_t e) {
  const AttentionStatistics& out = *sequence.statistics;
  const int64_t at = rows_[e].head * out.row_stride + rows_[e].row, position = sequence.first_row + rows_[e].row;
  const Seen seen = seen_[e];
  const float nothing = -std::numeric_limits<float>::infinity();
  const double log_sum = std::log(static_cast<double>(sum_[state(e)]));
  const auto weight_of = [&](int64_t key) { return key >= seen.begin && key < seen.end ? weight(e, key) : 0.0F; };
  if (out.max_logit != nullptr) out.max_logit[at] = max_[state(e)];
  if (out.row_sum != nullptr) out.row_sum[at] = sum_[state(e)];
  if (out.lse != nullptr) out.lse[at] = sum_[state(e)] == 0.0F ? nothing : static_cast<float>(max_[state(e)] + log_sum);
  if (out.max_key != nullptr) {
    out.max_key[at] = -1;
    for (int64_t b = blocks_ - 1; b >= 0; --b)
      if (block_key_[b * tile_height + e] >= 0 && block_max_[b * tile_height + e] == max_[state(e)])
        out.max_key[at] = static_cast<int32_t>((first_block_ + b) * block_keys) + block_key_[b * tile_height + e];
  }
  if (out.entropy != nullptr) {
    // -sum w ln w, ln w = (s - block max) + (block max - max) - ln sum
    double entropy = sum_[state(e)] == 0.0F ? 0.0 : log_sum;
    for (int64_t b = 0; b < blocks_; ++b) {
      const double factor = factor_[e * blocks_ + b], sum = block_sum_[b * tile_height + e];
      if (factor == 0.0 || sum == 0.0) continue;
      entropy -= factor * (block_entropy_[b * tile_height + e] + sum * (block_max_[b * tile_height + e] - max_[state(e)]));
    }
    out.entropy[at] = static_cast<float>(entropy);
  }
  const float* sums = lane_sums_.data() + e * 2 * lanes;
  const bool number = !std::isnan(sum_[state(e)]);
  if (out.sum_squares != nullptr)
    out.sum_squares[at] = number ? kernels::tree_sum(sums) / unit / unit : std::numeric_limits<float>::quiet_NaN();
  if (out.mean_distance != nullptr)
    out.mean_distance[at] = number ? kernels::tree_sum(sums + lanes) / unit : std::numeric_limits<float>::quiet_NaN();
  if (out.first_mass != nullptr) out.first_mass[at] = weight_of(0);
  if (out.self_weight != nullptr) out.self_weight[at] = weight_of(position);
  if (out.previous_weight != nullptr) out.previous_weight[at] = weight_of(position - 1);
  if (out.recent_mass != nullptr) {
    // Copied out first, at most 5 groups of 16 keys: lane by lane is then a loop that the compiler turns into vectors.
    const int64_t from = std::max(seen.begin, position - recent_keys + 1), to = std::min(seen.end, position + 1);
    const int64_t start = from / lanes * lanes;
    float weights[recent_keys + lanes] = {}, lane[lanes] = {};
    for (int64_t j = from, stop; j < to; j = stop) {
      stop = std::min(to, (j / block_keys + 1) * block_keys);
      const float factor = factor_[e * blocks_ + j / block_keys - first_block_];
      const float* s = strip(e, j / block_keys) - j / block_keys * block_keys;
      for (int64_t i = j; i < stop; ++i) weights[i - start] = s[i] * factor;
    }
    for (int64_t j = 0; j < recent_keys + lanes; j += lanes)
      for (int i = 0; i < lanes; ++i) lane[i] += weights[j + i];
    out.recent_mass[at] = kernels::tree_sum(lane);
  }
}

}  // namespace bareattn::attend
