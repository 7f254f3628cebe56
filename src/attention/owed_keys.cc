// See owed_keys.h.
#include "attention/owed_keys.h"

#include <algorithm>
#include <cmath>

namespace bareattn::attend {

using kernels::block_keys;
using kernels::lanes;

namespace {

constexpr float unit = static_cast<float>(1 << weight_fraction_bits);
constexpr int64_t rows_at_once = 24;  // sums of weights in units of 2^-27 fit 32 bits for 31 rows

}  // namespace

void OwedKeys::take(const Rows& rows, std::vector<float>& factor, std::vector<int64_t>& padded) {
  const AttentionStatistics& out = *rows.sequence->statistics;
  if (out.received == nullptr && out.pool_sum == nullptr && out.pool_max == nullptr) return;
  sequence_ = rows.sequence;
  locks_ = rows.locks;
  strip_ = rows.strip;
  first_block_ = rows.first_block;
  blocks_ = rows.blocks;
  next_ = 0;
  factor_.swap(factor);
  padded_.swap(padded);
  pieces_.clear();
  counts_.clear();
  for (int64_t e = 0; e < static_cast<int64_t>(rows.rows.size()); ++e) {
    const auto [head, row] = rows.rows[static_cast<size_t>(e)];
    const int64_t pool_row = out.pool_block == 0 ? 0 : (sequence_->first_row + row) / out.pool_block;
    counts_.push_back(!std::isnan(rows.sum[e]));
    const bool goes_on = !pieces_.empty() && pieces_.back().head == head && pieces_.back().pool_row == pool_row &&
                         e - pieces_.back().begin < rows_at_once;
    if (!goes_on) pieces_.push_back({e, e, head, pool_row});
    pieces_.back().end = e + 1;
  }
}

void OwedKeys::pay_all() {
  while (blocks_ != 0) pay(next_);
}

void OwedKeys::pay(int64_t block) {
  if (block >= blocks_) return;
  std::unique_lock<std::mutex> lock;
  for (const Piece& piece : pieces_) {
    std::mutex& guard = locks_[static_cast<size_t>(piece.head)];
    if (lock.mutex() != &guard) {
      if (lock.owns_lock()) lock.unlock();
      lock = std::unique_lock(guard);
    }
    pay(piece, block);
  }
  next_ = block + 1;
  if (next_ == blocks_) blocks_ = 0;
}

void OwedKeys::pay(const Piece& piece, int64_t block) const {
  const AttentionStatistics& out = *sequence_->statistics;
  const float* rows[rows_at_once];
  float factors[rows_at_once];
  const int64_t* padded = padded_.data() + block * groups;
  const float* factor = factor_.data() + block * tile_height;
  float* strip = strip_ + block * tile_height * strip_stride;
  int64_t widest = 0;
  for (int64_t g = piece.begin / kernels::tile_rows; g <= (piece.end - 1) / kernels::tile_rows; ++g)
    widest = std::max(widest, padded[g]);
  int count = 0;
  for (int64_t e = piece.begin; e < piece.end; ++e) {
    const int64_t keys = padded[e / kernels::tile_rows];
    if (keys == 0 || counts_[static_cast<size_t>(e)] == 0) continue;
    float* s = strip + e * strip_stride;
    std::fill(s + keys, s + widest, 0.0F);  // a row of another group of 6 may see further
    rows[count] = s;
    factors[count++] = factor[e] * unit;
  }
  if (count == 0) return;
  const bool maps = out.pool_sum != nullptr || out.pool_max != nullptr, pools = maps && out.pool_block >= lanes;
  const int64_t first_key = (first_block_ + block) * block_keys;
  uint32_t cell_sum[block_keys / lanes + 1];
  float cell_max[block_keys / lanes + 1];
  kernels::table().finish_rows(
      {rows, factors, count, widest, std::min(widest, sequence_->cache->length() - first_key),
       out.received == nullptr ? nullptr : out.received + piece.head * out.key_stride + first_key,
       pools ? cell_sum : nullptr, out.pool_max == nullptr ? nullptr : cell_max});
  if (maps && !pools) pool_finely(piece, first_key, {rows, factors, count, widest});
  if (pools) pool(piece, first_key, widest / lanes, cell_sum, out.pool_max == nullptr ? nullptr : cell_max);
}

// Blocks of fewer keys than a cell, which only short texts have: weight by weight.
void OwedKeys::pool_finely(const Piece& piece, int64_t first_key, const Finished& rows) const {
  const AttentionStatistics& out = *sequence_->statistics;
  const int64_t block = out.pool_block, row = piece.pool_row;
  const int64_t base = piece.head * out.pool_stride + row * (row + 1) / 2;
  const int64_t end = std::min(rows.keys, (row + 1) * block - first_key);  // the causal half
  for (int r = 0; r < rows.count; ++r)
    for (int64_t j = 0; j < end; ++j) {
      const float w = rows.p[r][j] * rows.factor[r];
      const int64_t at = base + (first_key + j) / block;
      if (out.pool_sum != nullptr) out.pool_sum[at] += static_cast<uint64_t>(std::llrint(w));
      if (out.pool_max != nullptr) out.pool_max[at] = std::max(out.pool_max[at], w * (1 / unit));
    }
}

// Cells of 16 keys go to those of the map, pool_block / 16 each: halved while they are smaller, for a block has 32 of
// them, a power of two. Only the causal half is kept.
void OwedKeys::pool(const Piece& piece, int64_t first_key, int64_t cells, uint32_t* sum, float* max) const {
  const AttentionStatistics& out = *sequence_->statistics;
  int64_t width = lanes;
  for (; width < out.pool_block && width < block_keys && out.pool_block % (2 * width) == 0; width *= 2) {
    if (cells % 2 != 0) {
      sum[cells] = 0;
      if (max != nullptr) max[cells] = 0;
      ++cells;
    }
    cells /= 2;
    for (int64_t c = 0; c < cells; ++c) sum[c] = sum[2 * c] + sum[2 * c + 1];  // all weights of the rows fit 32 bits
    for (int64_t c = 0; c < cells && max != nullptr; ++c) max[c] = std::max(max[2 * c], max[2 * c + 1]);
  }
  const int64_t per = out.pool_block / width, first = first_key / width, row = piece.pool_row;
  const int64_t base = piece.head * out.pool_stride + row * (row + 1) / 2;
  cells = std::min(cells, (row + 1) * per - first);
  uint64_t* const to = out.pool_sum == nullptr ? nullptr : out.pool_sum + base;
  float* const top = max == nullptr ? nullptr : out.pool_max + base;
  const auto raise = [](float old, float now) { return std::max(old, now * (1 / unit)); };
  if (per == 1) {  // plain loops, which become vectors
    for (int64_t c = 0; c < cells && to != nullptr; ++c) to[first + c] += sum[c];
    for (int64_t c = 0; c < cells && top != nullptr; ++c) top[first + c] = raise(top[first + c], max[c]);
    return;
  }
  for (int64_t c = 0; c < cells; ++c) {
    if (to != nullptr) to[(first + c) / per] += sum[c];
    if (top != nullptr) top[(first + c) / per] = raise(top[(first + c) / per], max[c]);
  }
}

}  // namespace bareattn::attend
