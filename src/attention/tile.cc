// The arithmetic of one tile, block by block: scores, softmax, blend, merge. What is then said about the finished rows
// is in tile_observe.cc. See docs/arithmetic.md for the order of every rounding.
#include "attention/tile.h"

#include <algorithm>
#include <limits>

#include "attention/modify.h"
#include "attention/pointer.h"
#include "kernels/backward.h"
#include "kernels/bf16.h"
#include "kernels/convert.h"

namespace bareattn::attend {

using kernels::block_keys;
using kernels::lanes;
using kernels::panel_keys;
using kernels::tile_rows;
using kernels::up16;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

}  // namespace

float* Tile::strip(int64_t e, int64_t index) const {
  const int64_t row = keep_ ? (index - first_block_) * tile_height + e : e % tile_rows;
  return strip_.as<float>() + row * strip_stride;
}

Tile::Seen Tile::within(int64_t e, int64_t index) const {
  const int64_t start = index * block_keys;
  const Seen seen{std::clamp<int64_t>(seen_[e].begin - start, 0, block_keys),
                  std::clamp<int64_t>(seen_[e].end - start, 0, block_keys)};
  if (window_ < 0) return seen;
  // Of the leading keys and the window: where the block has both, their hull, and the Modifier hides what is between.
  const Seen leading{seen.begin, std::min(seen.end, leading_keys_ - start)};
  const Seen recent{std::max(seen.begin, first_row_ + rows_[e].row - window_ - start), seen.end};
  const bool no_leading = leading.begin >= leading.end, no_recent = recent.begin >= recent.end;
  if (no_leading) return no_recent ? Seen{0, 0} : recent;
  return no_recent ? leading : seen;
}

Tile::Group Tile::group(int64_t e, int64_t index) const {
  Group group{e, std::min<int64_t>(tile_rows, count_ - e), index, {block_keys, 0}, {}, 0};
  for (int64_t r = 0; r < group.rows; ++r) {
    const Seen one = group.one[r] = within(e + r, index);
    if (one.begin >= one.end) continue;
    group.all.begin = std::min(group.all.begin, one.begin);
    group.all.end = std::max(group.all.end, one.end);
  }
  group.padded = up16(group.all.end);
  return group;
}

void Tile::compute(const Sequence& sequence, std::span<const TileRow> rows, std::span<std::mutex> locks) {
  prepare(sequence, rows);
  // Group by group inside a block: its strip stays in L1 from the scores to the blend, while K and V of the block come
  // from L2 for every group (21 bytes a cycle, which L2 gives). The other order, all scores first, was 1 % slower.
  for (int64_t index = first_block_; index < first_block_ + blocks_; ++index) {
    const KvBlock kv = sequence.cache->block(kv_head(sequence), index);
    owed_.pay(index - first_block_);
    for (int64_t e = 0; e < count_; e += tile_rows) {
      if (index == first_block_) load_queries(sequence, e);
      const Group here = group(e, index);
      if (here.all.begin >= here.all.end) {
        if (measure_) see_nothing(here);
        continue;
      }
      ahead_ = owed_.ahead(index + 1 - first_block_, e);
      if (keep_) padded_[static_cast<size_t>((index - first_block_) * groups + e / tile_rows)] = here.padded;
      if (index == first_block_ + blocks_ - 1) expect_output(sequence, here);
      if (index == first_block_) {  // nothing to merge with: these are the states
        block(sequence, kv, here, o_.as<float>() + e * sequence.cache->value_stride());
        std::copy_n(group_max_, lanes, &max_[e / tile_rows * lanes]);
        std::copy_n(group_sum_, lanes, &sum_[e / tile_rows * lanes]);
      } else {
        block(sequence, kv, here, block_o_.as<float>());
        merge(sequence, here, group_max_, group_sum_, block_o_.as<float>());
      }
    }
  }
  if (!sequence.terms.sinks.empty()) join_sinks(sequence);
  write_output(sequence);
  finish();
  if (sequence.statistics != nullptr) observe(sequence, locks);
}

int64_t Tile::kv_head(const Sequence& sequence) const {
  return rows_[0].head / (sequence.q.shape[1] / sequence.cache->kv_heads());
}

void Tile::block(const Sequence& sequence, const KvBlock& kv, const Group& group, float* o) {
  scores(sequence, kv, group);
  if (modify_) modify(sequence, group);
  softmax(group);
  if (columns_ != 0) sum_columns(sequence, group);
  blend(sequence, kv, group, o);
}

void Tile::merge(const Sequence& sequence, const Group& group, const float* max, const float* sum, const float* o) {
  const int64_t first = group.e / tile_rows * lanes, ldv = sequence.cache->value_stride();
  kernels_->merge_states(max_.data() + first, sum_.data() + first, max, sum, a_.data(), b_.data(), lanes);
  for (int64_t r = 0; r < group.rows; ++r)
    if (group.one[r].begin < group.one[r].end)
      kernels_->merge(o_.as<float>() + (group.e + r) * ldv, o + r * ldv, a_[r], b_[r], sequence.cache->value_dim());
}

void Tile::prepare(const Sequence& sequence, std::span<const TileRow> rows) {
  kernels_ = &kernels::table();
  first_row_ = sequence.first_row;
  modify_ = !Modifier(sequence.terms).nothing();
  window_ = sequence.terms.window;
  leading_keys_ = sequence.terms.leading_keys;
  rows_.assign(rows.begin(), rows.end());
  count_ = static_cast<int64_t>(rows.size());
  const AttentionStatistics* wanted = sequence.statistics;
  measure_ = wanted != nullptr;
  measure_rows_ =
      measure_ && (wanted->entropy != nullptr || wanted->sum_squares != nullptr || wanted->max_key != nullptr ||
                   wanted->mean_distance != nullptr || wanted->distance_spread != nullptr);
  keep_ = sequence.visitor != nullptr ||
          (measure_ && (wanted->received != nullptr || wanted->pool_sum != nullptr || wanted->pool_max != nullptr ||
                        wanted->first_mass != nullptr || wanted->self_weight != nullptr ||
                        wanted->previous_weight != nullptr || wanted->recent_mass != nullptr));
  const int64_t keys = sequence.cache->length(), dims = sequence.q.shape[2];
  seen_.resize(tile_height);
  int64_t begin = keys, end = 0;
  for (int64_t e = 0; e < count_; ++e) {
    const int64_t position = sequence.first_row + rows_[e].row;
    Seen& seen = seen_[e];
    seen.begin = sequence.window.left < 0 ? 0 : std::max<int64_t>(0, position - sequence.window.left);
    if (window_ >= 0 && leading_keys_ == 0) seen.begin = std::max(seen.begin, position - window_);
    seen.end = sequence.window.right < 0 ? keys : std::min(keys, position + sequence.window.right + 1);
    if (seen.begin >= seen.end) seen = {0, 0};
    if (seen.begin < seen.end) begin = std::min(begin, seen.begin);
    end = std::max(end, seen.end);
  }
  first_block_ = std::min(begin, end) / block_keys;
  blocks_ = (end + block_keys - 1) / block_keys - first_block_;
  const int64_t ldv = sequence.cache->value_stride();
  const int64_t room = (keep_ ? blocks_ * tile_height : tile_rows) * strip_stride;
  if (strip_.bytes() < static_cast<size_t>(room) * sizeof(float)) finish();  // it would be gone
  strip_.reserve<float>(room);
  q_.reserve<float>(tile_height * dims);
  o_.reserve<float>(tile_height * ldv);
  block_o_.reserve<float>(tile_rows * ldv);
  std::fill_n(o_.as<float>(), count_ * ldv, 0.0F);
  scale_.assign(tile_height, sequence.scale);
  if (sequence.terms.bias != nullptr && !sequence.terms.bias->head_scale.empty())
    for (int64_t e = 0; e < count_; ++e)
      scale_[e] *= sequence.terms.bias->head_scale[static_cast<size_t>(rows_[e].head)];
  const bool narrow = sequence.cache->storage() == Storage::bf16;
  if (narrow) {
    q16_.assign(static_cast<size_t>(tile_height * sequence.cache->panel_dims()), 0);
    p16_.resize(tile_rows * (block_keys + lanes));
  }
  max_.assign(tile_height / tile_rows * lanes, -infinity);
  sum_.assign(max_.size(), 0.0F);
  a_.resize(lanes);
  b_.resize(lanes);
  columns_ = 0;
  if (!measure_) return;
  prepare_columns(sequence);
  padded_.assign(static_cast<size_t>(blocks_ * groups), 0);
  states_.reserve<float>(6 * std::max<int64_t>(1, blocks_) * tile_height);
}

// Rows of q lie a stride apart, where no hardware looks ahead: those of the next group are asked for while this one is
// computed (3 % at 2,048 keys), and so are the rows of o before they are written.
void Tile::load_queries(const Sequence& sequence, int64_t first) {
  const int64_t dims = sequence.q.shape[2], dims16 = sequence.cache->panel_dims(), step = sequence.q.stride[2];
  const bool narrow = sequence.cache->storage() == Storage::bf16;
  for (int64_t e = first; e < std::min(count_, first + tile_rows); ++e) {
    const float* from = pointer_to(sequence.q, rows_[e].row, rows_[e].head);
    float* to = q_.as<float>() + e * dims;
    if (narrow && step == 1) {  // rounded as it came: the scale goes to the f32 score
      kernels::bf16_from_f32(from, q16_.data() + e * dims16, dims);
    } else if (narrow) {
      for (int64_t d = 0; d < dims; ++d) q16_[e * dims16 + d] = kernels::bf16_from_f32(from[d * step]);
    } else if (step == 1) {
      kernels_->backward->scale_row(from, dims, scale_[e], to);
    } else {
      for (int64_t d = 0; d < dims; ++d) to[d] = from[d * step] * scale_[e];
    }
  }
  for (int64_t e = first + tile_rows; e < std::min(count_, first + 2 * tile_rows); ++e) {
    const float* next = pointer_to(sequence.q, rows_[e].row, rows_[e].head);
    for (int64_t d = 0; d < dims; d += 16) __builtin_prefetch(next + d * step);
  }
}

void Tile::scores(const Sequence& sequence, const KvBlock& kv, const Group& group) {
  const int64_t dims = sequence.cache->panel_dims(), first = group.all.begin / panel_keys * panel_keys;
  const int rows = static_cast<int>(group.rows);
  const bool narrow = sequence.cache->storage() == Storage::bf16;
  float* s = strip(group.e, group.index);
  const int columns = static_cast<int>(group.all.end - first);
  if (narrow)
    kernels_->score_tile_bf16(q16_.data() + group.e * dims, dims, rows, dims, kv.k16 + first * dims, columns, s + first,
                              strip_stride, false, &scale_[static_cast<size_t>(group.e)]);
  else
    kernels_->score_tile(q_.as<float>() + group.e * dims, dims, rows, dims, kv.k + first * dims, columns, s + first,
                         strip_stride, false);
}

kernels::BlockStates Tile::states(int64_t block) const {
  const int64_t plane = blocks_ * tile_height;
  float* at = states_.as<float>() + block * tile_height;
  return {at, at + plane, at + 2 * plane, at + 3 * plane, at + 4 * plane, reinterpret_cast<int32_t*>(at + 5 * plane)};
}

void Tile::see_nothing(const Group& group) {
  const kernels::BlockStates to = states(group.index - first_block_).from(group.e);
  std::fill_n(to.max, group.rows, -infinity);
  for (float* sums : {to.sum, to.entropy, to.squares, to.distance}) std::fill_n(sums, group.rows, 0.0F);
  std::fill_n(to.max_key, group.rows, -1);
}

void Tile::softmax(const Group& group) {
  int32_t origin[tile_rows];
  int64_t keys[tile_rows];
  for (int64_t r = 0; r < group.rows; ++r) {
    const Seen seen = group.one[r];
    keys[r] = seen.begin < seen.end ? seen.end : 0;
    origin[r] = static_cast<int32_t>(first_row_ - group.index * block_keys + rows_[group.e + r].row);
    if (keys[r] > 0) std::fill_n(strip(group.e + r, group.index), seen.begin, -infinity);
  }
  std::fill_n(group_max_, lanes, -infinity);
  std::fill_n(group_sum_, lanes, 0.0F);
  kernels::BlockStates state{.max = group_max_, .sum = group_sum_};
  if (measure_) state = states(group.index - first_block_).from(group.e);
  kernels_->softmax_rows({strip(group.e, group.index), strip_stride, static_cast<int>(group.rows), keys, group.padded,
                          origin, measure_rows_ ? &max_[state_of(group.e)] : nullptr, state});
  if (!measure_) return;
  std::copy_n(state.max, group.rows, group_max_);
  std::copy_n(state.sum, group.rows, group_sum_);
}

void Tile::blend(const Sequence& sequence, const KvBlock& kv, const Group& group, float* o) {
  const int64_t dv = sequence.cache->value_dim(), ldv = sequence.cache->value_stride();
  const Seen all = group.all;
  if (kv.finite && sequence.cache->storage() == Storage::bf16) {
    blend_bf16(kv, group, {dv, ldv, o});
  } else if (kv.finite) {  // a zero weight times a finite value adds nothing
    kernels_->blend({strip(group.e, group.index) + all.begin, strip_stride, static_cast<int>(group.rows),
                     all.end - all.begin, kv.v + all.begin * ldv, ldv, dv, o, ldv, false, ahead_});
  } else {
    for (int64_t r = 0; r < group.rows; ++r) blend_careful(sequence, kv, group, r, o + r * ldv);
  }
}

void Tile::blend_bf16(const KvBlock& kv, const Group& group, const Output& to) {
  constexpr int64_t ldp = block_keys + lanes;
  const int64_t begin = group.all.begin / 2 * 2, end = (group.all.end + 1) / 2 * 2;  // pairs; the strip is 0 around
  for (int64_t r = 0; r < group.rows; ++r)
    kernels_->narrow_bf16(strip(group.e + r, group.index), p16_.data() + r * ldp, group.padded);
  kernels_->blend_bf16({p16_.data() + begin, ldp, static_cast<int>(group.rows), end - begin, kv.v16 + begin * to.ldv,
                        to.ldv, to.dv, to.o, to.ldv, false, ahead_});
}

// Where some value is not finite, zero times it would be NaN: the row is blended over just the runs of keys it sees.
void Tile::blend_careful(const Sequence& sequence, const KvBlock& kv, const Group& group, int64_t r, float* o) {
  const int64_t dv = sequence.cache->value_dim(), ldv = sequence.cache->value_stride(), e = group.e + r;
  const Modifier modifier(sequence.terms);
  const Seen seen = group.one[r];
  const auto hidden = [&](int64_t key) {
    return modifier.masks() && modifier.hides({rows_[e].head, rows_[e].row, sequence.first_row + rows_[e].row,
                                               group.index * block_keys + key});
  };
  std::fill_n(o, ldv, 0.0F);
  if (sequence.cache->storage() == Storage::bf16) {  // pair by pair, what is hidden as a pair of zeros
    const auto visible = [&](int64_t key) { return key >= seen.begin && key < seen.end && !hidden(key); };
    for (int64_t d = 0; d < dv; ++d) {
      for (int64_t j = seen.begin / 2 * 2; j < seen.end; j += 2) {
        uint16_t p[2] = {}, v[2] = {};
        for (int64_t i = 0; i < 2; ++i)
          if (visible(j + i)) {
            p[i] = kernels::bf16_from_f32(strip(e, group.index)[j + i]);
            v[i] = kv.v16[j * ldv + 2 * d + i];
          }
        o[d] = kernels::dot_pair_bf16(p, v, o[d]);
      }
      o[d] += 0.0F;
    }
    return;
  }
  for (int64_t begin = seen.begin, end; begin < seen.end; begin = end) {
    for (; begin < seen.end && hidden(begin);) ++begin;
    for (end = begin; end < seen.end && !hidden(end);) ++end;
    if (begin < end)
      kernels_->blend(
          {strip(e, group.index) + begin, strip_stride, 1, end - begin, kv.v + begin * ldv, ldv, dv, o, ldv, true});
  }
}

void Tile::modify(const Sequence& sequence, const Group& group) {
  const Modifier modifier(sequence.terms);
  for (int64_t r = 0; r < group.rows; ++r) {
    const Seen seen = group.one[r];
    const TileRow row = rows_[group.e + r];
    if (seen.begin < seen.end)
      modifier.apply({row.head, row.row, sequence.first_row + row.row, group.index * block_keys + seen.begin},
                     strip(group.e + r, group.index) + seen.begin, seen.end - seen.begin);
  }
}

// A sink is a last block with one key of weight e^0 and no value.
void Tile::join_sinks(const Sequence& sequence) {
  const int64_t ldv = sequence.cache->value_stride(), dv = sequence.cache->value_dim();
  const std::vector<float> nothing(static_cast<size_t>(ldv), 0.0F);
  for (int64_t e = 0; e < count_; ++e) {
    const float logit = sequence.terms.sinks[static_cast<size_t>(rows_[e].head)];
    float max[lanes], sum[lanes];
    std::fill_n(max, lanes, logit);
    std::fill_n(sum, lanes, logit == -infinity ? 0.0F : 1.0F);
    float own_max[lanes], own_sum[lanes];
    std::fill_n(own_max, lanes, max_[state_of(e)]);
    std::fill_n(own_sum, lanes, sum_[state_of(e)]);
    kernels_->merge_states(own_max, own_sum, max, sum, a_.data(), b_.data(), lanes);
    max_[state_of(e)] = own_max[0];
    sum_[state_of(e)] = own_sum[0];
    kernels_->merge(o_.as<float>() + e * ldv, nothing.data(), a_[0], b_[0], dv);
  }
}

void Tile::expect_output(const Sequence& sequence, const Group& group) const {
  const int64_t dv = sequence.cache->value_dim(), step = sequence.o.stride[2];
  for (int64_t e = group.e; e < group.e + group.rows; ++e) {
    const float* o = pointer_to(sequence.o, rows_[e].row, rows_[e].head);
    for (int64_t d = 0; d < dv; d += 16) __builtin_prefetch(o + d * step, 1);
  }
}

void Tile::write_output(const Sequence& sequence) {
  const int64_t dv = sequence.cache->value_dim(), ldv = sequence.cache->value_stride(), step = sequence.o.stride[2];
  for (int64_t e = 0; e < count_; ++e) {
    const float* o = o_.as<float>() + e * ldv;
    float* to = pointer_to(sequence.o, rows_[e].row, rows_[e].head);
    const float sum = sum_[state_of(e)] == 0.0F ? 1.0F : sum_[state_of(e)];  // nothing seen: o is 0
    if (step == 1)
      kernels_->divide(o, sum, to, dv);
    else
      for (int64_t d = 0; d < dv; ++d) to[d * step] = o[d] / sum;
  }
}

}  // namespace bareattn::attend
