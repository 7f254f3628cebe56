// The arithmetic of one tile, block by block: scores, softmax, blend, merge. What is then said about the finished rows
// is in tile_observe.cc. See docs/arithmetic.md for the order of every rounding.
#include "attention/tile.h"

#include <algorithm>
#include <limits>

#include "attention/modify.h"

namespace bareattn::attention {

using kernels::block_keys;
using kernels::lanes;
using kernels::panel_keys;
using kernels::tile_rows;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

void grow(base::AlignedBuffer& buffer, int64_t floats) {
  if (buffer.bytes() < static_cast<size_t>(floats) * 4) buffer = base::AlignedBuffer(static_cast<size_t>(floats) * 4);
}

int64_t up16(int64_t n) { return (n + lanes - 1) / lanes * lanes; }

}  // namespace

float* Tile::strip(int64_t e, int64_t index) const {
  return strip_.as<float>() + e * strip_stride_ + (keep_ ? (index - first_block_) * block_keys : 0);
}

Tile::Seen Tile::within(int64_t e, int64_t index) const {
  const int64_t start = index * block_keys;
  return {std::clamp<int64_t>(seen_[e].begin - start, 0, block_keys),
          std::clamp<int64_t>(seen_[e].end - start, 0, block_keys)};
}

Tile::Seen Tile::within_group(int64_t begin, int64_t end, int64_t index) const {
  Seen all{block_keys, 0};
  for (int64_t e = begin; e < end; ++e) {
    const Seen one = within(e, index);
    if (one.begin >= one.end) continue;
    all.begin = std::min(all.begin, one.begin);
    all.end = std::max(all.end, one.end);
  }
  return all;
}

void Tile::compute(const Sequence& sequence, std::span<const TileRow> rows, std::span<std::mutex> locks) {
  prepare(sequence, rows);
  const bool modify_any = !Modifier(sequence.terms).nothing();
  const int64_t kv_head = rows[0].head / (sequence.q.shape[1] / sequence.cache->kv_heads());
  for (int64_t index = first_block_; index < first_block_ + blocks_; ++index) {
    const KvBlock kv = sequence.cache->block(kv_head, index);
    scores(sequence, kv, index);
    if (modify_any) modify(sequence, index);
    softmax(index);
    blend(sequence, kv, index);
  }
  if (!sequence.terms.sinks.empty()) join_sinks(sequence);
  write_output(sequence);
  if (sequence.statistics != nullptr) observe(sequence, locks);
}

void Tile::prepare(const Sequence& sequence, std::span<const TileRow> rows) {
  kernels_ = &kernels::table();
  rows_.assign(rows.begin(), rows.end());
  count_ = static_cast<int64_t>(rows.size());
  const AttentionStatistics* wanted = sequence.statistics;
  keep_ = wanted != nullptr;
  const int64_t keys = sequence.cache->length(), dims = sequence.q.shape[2];
  seen_.resize(tile_height);
  int64_t begin = keys, end = 0;
  for (int64_t e = 0; e < count_; ++e) {
    const int64_t position = sequence.first_row + rows_[e].row;
    Seen& seen = seen_[e];
    seen.begin = sequence.window.left < 0 ? 0 : std::max<int64_t>(0, position - sequence.window.left);
    seen.end = sequence.window.right < 0 ? keys : std::min(keys, position + sequence.window.right + 1);
    if (seen.begin >= seen.end) seen = {0, 0};
    if (seen.begin < seen.end) begin = std::min(begin, seen.begin);
    end = std::max(end, seen.end);
  }
  first_block_ = std::min(begin, end) / block_keys;
  blocks_ = (end + block_keys - 1) / block_keys - first_block_;
  // An odd number of cache lines apart: strips of 48 rows at a multiple of 4 KB would share the same few L1 sets.
  strip_stride_ = (keep_ ? blocks_ : 1) * block_keys + lanes;
  grow(strip_, tile_height * strip_stride_);
  grow(q_, tile_height * dims);
  grow(o_, tile_height * sequence.cache->value_stride());
  grow(block_o_, tile_rows * sequence.cache->value_stride());
  std::fill_n(o_.as<float>(), count_ * sequence.cache->value_stride(), 0.0F);
  for (int64_t e = 0; e < count_; ++e) {
    float scale = sequence.scale;
    if (sequence.terms.bias != nullptr && !sequence.terms.bias->head_scale.empty())
      scale *= sequence.terms.bias->head_scale[static_cast<size_t>(rows_[e].head)];
    const float* from = &sequence.q.at(rows_[e].row, rows_[e].head);
    float* to = q_.as<float>() + e * dims;
    for (int64_t d = 0, step = sequence.q.stride[2]; d < dims; ++d) to[d] = from[d * step] * scale;
  }
  max_.assign(tile_height, -infinity);
  sum_.assign(tile_height, 0.0F);
  a_.resize(tile_height);
  b_.resize(tile_height);
  const auto states = static_cast<size_t>(std::max<int64_t>(1, blocks_) * tile_height);
  block_max_.assign(states, -infinity);
  block_sum_.assign(states, 0.0F);
  block_entropy_.assign(states, 0.0F);
  block_key_.assign(states, -1);
}

void Tile::scores(const Sequence& sequence, const KvBlock& kv, int64_t index) {
  const int64_t dims = sequence.q.shape[2];
  padded_ = up16(within_group(0, count_, index).end);
  for (int64_t panel = 0; panel * panel_keys < padded_; ++panel)
    for (int64_t e = 0; e < count_; e += tile_rows) {
      const int64_t rows = std::min<int64_t>(tile_rows, count_ - e);
      const Seen seen = within_group(e, e + rows, index);
      const int64_t columns = std::min(panel_keys, seen.end - panel * panel_keys);
      if (columns <= 0 || (panel + 1) * panel_keys <= seen.begin) continue;
      kernels_->score_tile(q_.as<float>() + e * dims, dims, static_cast<int>(rows), dims,
                           kv.k + panel * panel_keys * dims, static_cast<int>(columns),
                           strip(e, index) + panel * panel_keys, strip_stride_, false);
    }
}

void Tile::softmax(int64_t index) {
  const int64_t at = (index - first_block_) * tile_height;
  for (int64_t e = 0; e < count_; ++e) {
    const Seen seen = within(e, index);
    float* s = strip(e, index);
    if (seen.begin >= seen.end) {
      std::fill_n(s, padded_, 0.0F);
      continue;
    }
    std::fill_n(s, seen.begin, -infinity);
    kernels::BlockState state{-infinity, 0.0F, 0.0F, -1};
    kernels_->softmax_block(s, seen.end, padded_, keep_, &state);
    block_max_[at + e] = state.max;
    block_sum_[at + e] = state.sum;
    block_entropy_[at + e] = state.entropy;
    block_key_[at + e] = state.max_key;
  }
  kernels_->merge_states(max_.data(), sum_.data(), block_max_.data() + at, block_sum_.data() + at, a_.data(), b_.data(),
                         up16(count_));
}

void Tile::blend(const Sequence& sequence, const KvBlock& kv, int64_t index) {
  const int64_t dv = sequence.cache->value_dim(), ldv = sequence.cache->value_stride();
  float* block_o = block_o_.as<float>();
  for (int64_t e = 0; e < count_; e += tile_rows) {
    const int64_t rows = std::min<int64_t>(tile_rows, count_ - e);
    const Seen all = within_group(e, e + rows, index);
    if (all.begin >= all.end) continue;
    if (kv.finite) {  // a zero weight times a finite value adds nothing
      kernels_->blend(strip(e, index) + all.begin, strip_stride_, static_cast<int>(rows), all.end - all.begin,
                      kv.v + all.begin * ldv, ldv, dv, block_o, ldv, false);
    } else {
      for (int64_t r = 0; r < rows; ++r) blend_careful(sequence, kv, index, e + r, block_o + r * ldv);
    }
    for (int64_t r = 0; r < rows; ++r) {
      const Seen seen = within(e + r, index);
      if (seen.begin < seen.end)
        kernels_->merge(o_.as<float>() + (e + r) * ldv, block_o + r * ldv, a_[e + r], b_[e + r], dv);
    }
  }
}

// Where some value is not finite, zero times it would be NaN: the row is blended over just the runs of keys it sees.
void Tile::blend_careful(const Sequence& sequence, const KvBlock& kv, int64_t index, int64_t e, float* o) {
  const int64_t dv = sequence.cache->value_dim(), ldv = sequence.cache->value_stride();
  const Modifier modifier(sequence.terms);
  const Seen seen = within(e, index);
  const auto hidden = [&](int64_t key) {
    return modifier.masks() && modifier.hides({rows_[e].head, rows_[e].row, sequence.first_row + rows_[e].row,
                                               index * block_keys + key});
  };
  std::fill_n(o, ldv, 0.0F);
  for (int64_t begin = seen.begin, end; begin < seen.end; begin = end) {
    for (; begin < seen.end && hidden(begin);) ++begin;
    for (end = begin; end < seen.end && !hidden(end);) ++end;
    if (begin < end)
      kernels_->blend(strip(e, index) + begin, strip_stride_, 1, end - begin, kv.v + begin * ldv, ldv, dv, o, ldv, true);
  }
}

void Tile::modify(const Sequence& sequence, int64_t index) {
  const Modifier modifier(sequence.terms);
  for (int64_t e = 0; e < count_; ++e) {
    const Seen seen = within(e, index);
    if (seen.begin < seen.end)
      modifier.apply({rows_[e].head, rows_[e].row, sequence.first_row + rows_[e].row, index * block_keys + seen.begin},
                     strip(e, index) + seen.begin, seen.end - seen.begin);
  }
}

// A sink is a last block with one key of weight e^0 and no value.
void Tile::join_sinks(const Sequence& sequence) {
  std::vector<float> max(tile_height, -infinity), sum(tile_height, 0.0F);
  for (int64_t e = 0; e < count_; ++e) {
    max[e] = sequence.terms.sinks[static_cast<size_t>(rows_[e].head)];
    sum[e] = max[e] == -infinity ? 0.0F : 1.0F;
  }
  kernels_->merge_states(max_.data(), sum_.data(), max.data(), sum.data(), a_.data(), b_.data(), up16(count_));
  const int64_t ldv = sequence.cache->value_stride();
  std::vector<float> nothing(static_cast<size_t>(ldv), 0.0F);
  for (int64_t e = 0; e < count_; ++e)
    kernels_->merge(o_.as<float>() + e * ldv, nothing.data(), a_[e], b_[e], sequence.cache->value_dim());
}

void Tile::write_output(const Sequence& sequence) {
  const int64_t dv = sequence.cache->value_dim(), ldv = sequence.cache->value_stride();
  for (int64_t e = 0; e < count_; ++e) {
    const float* o = o_.as<float>() + e * ldv;
    const float sum = sum_[e];
    for (int64_t d = 0; d < dv; ++d)
      sequence.o.at(rows_[e].row, rows_[e].head, d) = sum == 0.0F ? 0.0F : o[d] / sum;
  }
}

}  // namespace bareattn::attention
