// See rows_weights.h.
#include "attention/rows_weights.h"

#include <algorithm>
#include <limits>

#include "attention/modify.h"
#include "kernels/backward.h"
#include "kernels/convert.h"

namespace bareattn::attend {

using kernels::block_keys;
using kernels::lanes;
using kernels::panel_keys;
using kernels::up16;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

}  // namespace

RowsWeights::RowsWeights(const Weighing& by, const Rows& rows) : by_(by), rows_(rows), kernels_(kernels::table()) {
  const Call& call = by.call;
  const int64_t dims = call.dim, dims16 = by.cache.panel_dims(), keys = by.cache.length();
  float scale = call.scale;
  if (by.terms.bias != nullptr && !by.terms.bias->head_scale.empty())
    scale *= by.terms.bias->head_scale[static_cast<size_t>(rows.head)];
  std::fill_n(scale_, kernels::tile_rows, scale);
  std::fill_n(max_, lanes, -infinity);
  std::fill_n(sum_, lanes, 0.0F);
  const bool every = by.rectangle.stage < ScoreStage::biased;
  for (int64_t r = 0; r < rows.count; ++r) {
    const int64_t position = by.piece.first_row + rows.first + r;
    seen_[r].begin = every || call.window.left < 0 ? 0 : std::max<int64_t>(0, position - call.window.left);
    seen_[r].end = every || call.window.right < 0 ? keys : std::min(keys, position + call.window.right + 1);
  }
  if (by.rectangle.max_logit != nullptr) given_state();
  if (by.cache.storage() == Storage::f32) {
    q_.resize(static_cast<size_t>(rows.count * dims));
    for (int64_t i = 0; i < rows.count * dims; ++i) q_[static_cast<size_t>(i)] = rows.q[i] * scale;
    return;
  }
  q16_.assign(static_cast<size_t>(rows.count * dims16), 0);
  for (int64_t r = 0; r < rows.count; ++r) kernels::bf16_from_f32(rows.q + r * dims, q16_.data() + r * dims16, dims);
}

void RowsWeights::compute(KeySpan columns, float* to, int64_t stride) {
  const ScoreStage stage = by_.rectangle.stage;
  const bool weigh = stage == ScoreStage::weight, whole = weigh && by_.rectangle.max_logit == nullptr;
  KeySpan hull{by_.cache.length(), 0};  // of what the rows see and is to be computed
  for (int64_t r = 0; r < rows_.count; ++r) {
    std::fill_n(to + r * stride, columns.end - columns.begin, stage == ScoreStage::biased ? -infinity : 0.0F);
    const KeySpan one =
        whole ? seen_[r] : KeySpan{std::max(seen_[r].begin, columns.begin), std::min(seen_[r].end, columns.end)};
    if (one.begin < one.end) hull = {std::min(hull.begin, one.begin), std::max(hull.end, one.end)};
  }
  if (hull.begin >= hull.end) return;
  const int64_t first = hull.begin / block_keys, blocks = (hull.end + block_keys - 1) / block_keys - first;
  const int64_t lds = blocks * block_keys + lanes;
  std::vector<float> strip(static_cast<size_t>(rows_.count * lds)), factor(static_cast<size_t>(blocks * lanes), 1.0F);
  for (int64_t b = 0; b < blocks; ++b) {
    float* s = strip.data() + b * block_keys;
    scores(first + b, s, lds);
    if (weigh) softmax(first + b, s, lds, &factor[static_cast<size_t>(b * lanes)]);
  }
  if (whole && !by_.terms.sinks.empty()) {
    const float sink = by_.terms.sinks[static_cast<size_t>(rows_.head)];
    float max[lanes], sum[lanes], a[lanes], b[lanes];
    std::fill_n(max, lanes, sink);
    std::fill_n(sum, lanes, sink == -infinity ? 0.0F : 1.0F);
    kernels_.merge_states(max_, sum_, max, sum, a, b, lanes);
  }
  if (weigh) factors(factor.data(), blocks);
  for (int64_t r = 0; r < rows_.count; ++r)
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t start = (first + b) * block_keys;
      const int64_t begin = std::max({columns.begin, seen_[r].begin, start});
      const int64_t end = std::min({columns.end, seen_[r].end, start + block_keys});
      if (begin >= end) continue;
      const float* s = strip.data() + r * lds + begin - first * block_keys;
      float* at = to + r * stride + begin - columns.begin;
      if (weigh)
        kernels_.backward->scale_row(s, end - begin, factor[static_cast<size_t>(b * lanes + r)], at);
      else
        std::copy_n(s, end - begin, at);
    }
}

int64_t RowsWeights::block(int64_t index, float* s, int64_t lds) {
  float factor[lanes] = {};
  scores(index, s, lds);
  const int64_t keys = softmax(index, s, lds, factor);
  factors(factor, 1);
  for (int64_t r = 0; r < rows_.count; ++r) kernels_.backward->scale_row(s + r * lds, keys, factor[r], s + r * lds);
  return keys;
}

// What row r sees of the block: all of it, whatever the rectangle needs, since the block's maximum counts.
KeySpan RowsWeights::here(int64_t r, int64_t index) const {
  const int64_t start = index * block_keys;
  return {std::clamp<int64_t>(seen_[r].begin - start, 0, block_keys),
          std::clamp<int64_t>(seen_[r].end - start, 0, block_keys)};
}

KeySpan RowsWeights::all_of(int64_t index) const {
  KeySpan all{block_keys, 0};
  for (int64_t r = 0; r < rows_.count; ++r)
    if (const KeySpan one = here(r, index); one.begin < one.end)
      all = {std::min(all.begin, one.begin), std::max(all.end, one.end)};
  return all;
}

void RowsWeights::scores(int64_t index, float* s, int64_t lds) {
  const KvBlock kv = by_.cache.block(rows_.head / (by_.call.heads / by_.call.kv_heads), index);
  const KeySpan all = all_of(index);
  if (all.begin >= all.end) return;
  const int64_t dims = by_.cache.panel_dims(), first = all.begin / panel_keys * panel_keys;
  const int count = static_cast<int>(rows_.count), columns = static_cast<int>(all.end - first);
  if (by_.cache.storage() == Storage::bf16)
    kernels_.score_tile_bf16(q16_.data(), dims, count, dims, kv.k16 + first * dims, columns, s + first, lds, false,
                             scale_);
  else
    kernels_.score_tile(q_.data(), dims, count, dims, kv.k + first * dims, columns, s + first, lds, false);
  if (by_.rectangle.stage == ScoreStage::product) return;
  ScoreTerms terms = by_.terms;
  if (by_.rectangle.stage == ScoreStage::capped) terms.bias = nullptr;
  const Modifier modifier(terms);
  if (modifier.nothing()) return;
  for (int64_t r = 0; r < rows_.count; ++r)
    if (const KeySpan one = here(r, index); one.begin < one.end)
      modifier.apply(
          {rows_.head, rows_.first + r, by_.piece.first_row + rows_.first + r, index * block_keys + one.begin},
          s + r * lds + one.begin, one.end - one.begin);
}

int64_t RowsWeights::softmax(int64_t index, float* s, int64_t lds, float* block_max) {
  int64_t keys[kernels::tile_rows], padded = 0;
  float max[lanes], sum[lanes];
  std::fill_n(max, lanes, -infinity);
  std::fill_n(sum, lanes, 0.0F);
  for (int64_t r = 0; r < rows_.count; ++r) {
    const KeySpan one = here(r, index);
    keys[r] = one.begin < one.end ? one.end : 0;
    if (keys[r] > 0) std::fill_n(s + r * lds, one.begin, -infinity);
    padded = std::max(padded, up16(keys[r]));
  }
  kernels_.softmax_rows(
      {s, lds, static_cast<int>(rows_.count), keys, padded, nullptr, nullptr, {.max = max, .sum = sum}});
  std::copy_n(max, lanes, block_max);
  float a[lanes], b[lanes];
  if (by_.rectangle.max_logit == nullptr) kernels_.merge_states(max_, sum_, max, sum, a, b, lanes);
  return padded;
}

void RowsWeights::given_state() {
  std::copy_n(by_.rectangle.max_logit + rows_.line, rows_.count, max_);
  std::copy_n(by_.rectangle.row_sum + rows_.line, rows_.count, sum_);
}

// The blocks' maxima become the factors by which their e^x count.
void RowsWeights::factors(float* block_max, int64_t blocks) const {
  float power[lanes];
  for (int64_t b = 0; b < blocks; ++b, block_max += lanes) {
    for (int64_t r = 0; r < lanes; ++r) block_max[r] -= max_[r] == -infinity ? 0.0F : max_[r];
    kernels_.exp_below(block_max, power, lanes);
    for (int64_t r = 0; r < lanes; ++r) block_max[r] = sum_[r] == 0.0F ? 0.0F : power[r] / sum_[r];
  }
}

}  // namespace bareattn::attend
