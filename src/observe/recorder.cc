// See recorder.h.
#include "observe/recorder.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "kernels/convert.h"

namespace bareattn::observing {
namespace {

void require(bool ok, const std::string& sentence) {
  if (!ok) throw std::invalid_argument(sentence);
}

// [N, D] of one head, whatever the strides; `to` is dense.
struct Rows {
  const float* data;
  int64_t row_stride, dim_stride;
  const float* row(int64_t i, int dim, std::vector<float>& scratch) const {
    const float* from = data + i * row_stride;
    if (dim_stride == 1) return from;
    for (int d = 0; d < dim; ++d) scratch[d] = from[d * dim_stride];
    return scratch.data();
  }
};

Rows rows_of(const TensorView<const float>& values, int64_t head) {
  return {values.data + head * values.stride[1], values.stride[0], values.stride[2]};
}

}  // namespace

int choose_pool_block(int64_t tokens) {
  // A short text is seen cell by cell, or nearly: 40 of them are what a small picture has.
  for (const int block : {1, 2, 4, 8})
    if (tokens <= 40 * block) return block;
  int64_t block = 16;
  while ((tokens + block - 1) / block > 256) block *= 2;
  return static_cast<int>(block);
}

Recorder::Recorder(const Architecture& config, int64_t tokens, const ObservationOptions& options)
    : tokens_(tokens),
      layers_(config.layers),
      heads_(config.heads),
      kv_heads_(config.kv_heads),
      head_dim_(config.head_dim),
      keep_qk_(options.keep_qk),
      keep_v_(options.keep_v),
      table_(options.table),
      rules_(config, {}, table_.get(), tokens),
      pool_block_(options.pool_block == 0 ? choose_pool_block(tokens) : options.pool_block),
      groups_(options.measures),
      arrays_(row_arrays(groups_)) {
  require(tokens > 0, "tokens: an observation needs at least one, got " + std::to_string(tokens));
  require(is_pool_block(pool_block_),
          "pool_block: needs 1, 2, 4, 8 or a multiple of 16, got " + std::to_string(pool_block_));
  const int64_t all_heads = int64_t{layers_} * heads_, blocks = pool_blocks();
  if (groups_.spans) sets_ = bareattn::span_sets(options.spans, tokens);
  key_columns_ = span_columns(sets_, tokens);
  row_floats_ = base::AlignedBuffer(sizeof(float) * (arrays_.size() + sets_.size()) * all_heads * tokens,
                                    base::Contents::any);  // every row of every head is written
  if (groups_.columns) received_ = base::AlignedBuffer(sizeof(uint64_t) * all_heads * tokens);
  handed_.resize(layers_);
  if (groups_.map) pool_sum_ = base::AlignedBuffer(sizeof(uint64_t) * all_heads * blocks * (blocks + 1) / 2);
  if (groups_.map) pool_max_ = base::AlignedBuffer(sizeof(float) * all_heads * blocks * (blocks + 1) / 2);
  const int64_t kv_values = int64_t{layers_} * kv_heads_ * tokens * head_dim_;
  if (keep_v_) v_ = std::make_unique_for_overwrite<uint16_t[]>(kv_values);
  if (!keep_qk_) return;
  q_ = std::make_unique_for_overwrite<uint16_t[]>(all_heads * tokens * head_dim_);
  k_ = std::make_unique_for_overwrite<uint16_t[]>(kv_values);
  k_low_ = std::make_unique_for_overwrite<uint16_t[]>(kv_values);
  last_q_.resize(all_heads * head_dim_);
}

void Recorder::watch_outputs(const Model& model) {
  outputs_ = std::make_unique<OutputWatch>(model, tokens_, groups_);
  if (groups_.values) carried_ = base::AlignedBuffer(sizeof(float) * int64_t{layers_} * heads_ * tokens_);
}

bool Recorder::wants(Point point, int layer) {
  (void)layer;
  if (outputs_ != nullptr && outputs_->wants(point)) return true;
  if (point == Point::v) return keep_v_;
  return keep_qk_ && (point == Point::rot_q || point == Point::rot_k);
}

void Recorder::see(const Event& event) {
  const bool is_q = event.point == Point::rot_q;
  const int heads = is_q || event.point == Point::z ? heads_ : kv_heads_;
  const auto& v = event.values;
  require(v.rank == 3 && v.shape[1] == heads && v.shape[2] == head_dim_ && event.first_row >= 0 &&
              event.first_row + v.shape[0] <= tokens_ && event.layer >= 0 && event.layer < layers_,
          point_name(event.point, event.layer) + ": not of the run announced, [<= " + std::to_string(tokens_) + ", " +
              std::to_string(heads) + ", " + std::to_string(head_dim_) + "]");
  if (event.point == Point::z) return outputs_->add(event);
  if (event.point == Point::v) {
    if (keep_v_) keep_v(event);
    if (groups_.values) keep_carried(event);
    return;
  }
  is_q ? keep_q(event) : keep_k(event);
}

void Recorder::keep_q(const Event& event) {
  std::vector<float> scratch(head_dim_);
  for (int head = 0; head < heads_; ++head) {
    const Rows rows = rows_of(event.values, head);
    uint16_t* to = q_.get() + (index({event.layer, head}) * tokens_ + event.first_row) * head_dim_;
    for (int64_t i = 0; i < event.values.shape[0]; ++i) {
      const float* row = rows.row(i, head_dim_, scratch);
      kernels::f16_from_f32(row, to + i * head_dim_, head_dim_);
      if (event.first_row + i == tokens_ - 1) {
        std::copy_n(row, head_dim_, last_q_.begin() + index({event.layer, head}) * head_dim_);
      }
    }
  }
}

void Recorder::keep_k(const Event& event) {
  std::vector<float> scratch(head_dim_), rest(head_dim_);
  for (int head = 0; head < kv_heads_; ++head) {
    const Rows rows = rows_of(event.values, head);
    const int64_t begin = ((int64_t{event.layer} * kv_heads_ + head) * tokens_ + event.first_row) * head_dim_;
    for (int64_t i = 0; i < event.values.shape[0]; ++i) {
      const float* row = rows.row(i, head_dim_, scratch);
      uint16_t* high = k_.get() + begin + i * head_dim_;
      kernels::f16_from_f32(row, high, head_dim_);
      kernels::f32_from_f16(high, rest.data(), head_dim_);
      for (int d = 0; d < head_dim_; ++d) rest[d] = row[d] - rest[d];
      kernels::f16_from_f32(rest.data(), k_low_.get() + begin + i * head_dim_, head_dim_);
    }
  }
}

void Recorder::keep_v(const Event& event) {
  std::vector<float> scratch(head_dim_);
  for (int head = 0; head < kv_heads_; ++head) {
    const Rows rows = rows_of(event.values, head);
    uint16_t* to = v_.get() + ((int64_t{event.layer} * kv_heads_ + head) * tokens_ + event.first_row) * head_dim_;
    for (int64_t i = 0; i < event.values.shape[0]; ++i) {
      kernels::f16_from_f32(rows.row(i, head_dim_, scratch), to + i * head_dim_, head_dim_);
    }
  }
}

void Recorder::keep_carried(const Event& event) {
  const std::vector<float> sizes = outputs_->carried(event);  // [Hq, rows]
  const int64_t rows = event.values.shape[0];
  for (int head = 0; head < heads_; ++head) {
    float* to = carried_.as<float>() + index({event.layer, head}) * tokens_ + event.first_row;
    std::copy_n(sizes.begin() + head * rows, rows, to);
  }
}

AttentionStatistics Recorder::statistics_from(int64_t head_index, int64_t row) const {
  const int64_t array = int64_t{layers_} * heads_ * tokens_, cells = pool_blocks() * (pool_blocks() + 1) / 2;
  // The buffers are the recorder's own; what is handed out of a const recorder is only read.
  float* f = const_cast<float*>(row_floats_.as<float>()) + head_index * tokens_ + row;
  AttentionStatistics s;
  s.row_stride = tokens_;
  for (const RowArray& one : arrays_) {
    if (one.place != nullptr)
      s.*one.place = f;
    else
      s.max_key = reinterpret_cast<int32_t*>(f);
    f += array;
  }
  if (!sets_.empty()) {
    s.columns = static_cast<int>(sets_.size());
    s.column_stride = array;
    s.key_columns = key_columns_.data();
    s.column_sums = f;
  }
  s.key_stride = tokens_;
  if (groups_.columns) s.received = const_cast<uint64_t*>(received_.as<uint64_t>()) + head_index * tokens_;
  if (!groups_.map) return s;
  s.pool_block = pool_block_;
  s.pool_stride = cells;
  s.pool_sum = const_cast<uint64_t*>(pool_sum_.as<uint64_t>()) + head_index * cells;
  s.pool_max = const_cast<float*>(pool_max_.as<float>()) + head_index * cells;
  return s;
}

const AttentionStatistics* Recorder::attention_statistics(int layer, int64_t first_row, int64_t rows) {
  require(layer >= 0 && layer < layers_ && first_row >= 0 && rows >= 0 && first_row + rows <= tokens_,
          "rows [" + std::to_string(first_row) + ", " + std::to_string(first_row + rows) + ") of layer " +
              std::to_string(layer) + ": the run announced has " + std::to_string(tokens_) + " tokens and " +
              std::to_string(layers_) + " layers");
  handed_[layer] = statistics_from(int64_t{layer} * heads_, first_row);
  return &handed_[layer];
}

AttentionStatistics Recorder::head_statistics(HeadId head) const { return statistics_from(index(head), 0); }

const uint16_t* Recorder::q(HeadId head) const { return q_.get() + index(head) * tokens_ * head_dim_; }

const uint16_t* Recorder::k(int layer, int kv_head) const {
  return k_.get() + (int64_t{layer} * kv_heads_ + kv_head) * tokens_ * head_dim_;
}

const uint16_t* Recorder::v(int layer, int kv_head) const {
  return v_.get() + (int64_t{layer} * kv_heads_ + kv_head) * tokens_ * head_dim_;
}

void Recorder::finish() {
  if (!keep_qk_) return;
  last_row_.resize(int64_t{layers_} * heads_ * tokens_);
  std::vector<float> logits(tokens_);
  for (int layer = 0; layer < layers_; ++layer) {
    for (int head = 0; head < heads_; ++head) {
      const int64_t at = index({layer, head}), kv_head = head / (heads_ / kv_heads_);
      const int64_t begin = (int64_t{layer} * kv_heads_ + kv_head) * tokens_ * head_dim_;
      row_dots(last_q_.data() + at * head_dim_, k_.get() + begin, k_low_.get() + begin, head_dim_, logits);
      rules_.head(layer, head).score_row(tokens_ - 1, logits);
      const float lse = statistics_from(at, tokens_ - 1).lse[0];
      for (int64_t j = 0; j < tokens_; ++j) last_row_[at * tokens_ + j] = std::exp(logits[j] - lse);
    }
  }
  k_low_.reset();
  last_q_ = {};
}

void row_dots(const float* q, const uint16_t* k, const uint16_t* low, int dim, std::vector<float>& dots) {
  constexpr int lanes = 16;  // independent sums, so that the compiler may use vectors
  std::vector<float> row(dim), rest(dim);
  for (size_t j = 0; j < dots.size(); ++j) {
    kernels::f32_from_f16(k + j * dim, row.data(), dim);
    if (low != nullptr) {
      kernels::f32_from_f16(low + j * dim, rest.data(), dim);
      for (int d = 0; d < dim; ++d) row[d] += rest[d];
    }
    float sums[lanes] = {};
    int d = 0;
    for (; d + lanes <= dim; d += lanes) {
      for (int lane = 0; lane < lanes; ++lane) sums[lane] += q[d + lane] * row[d + lane];
    }
    for (; d < dim; ++d) sums[d % lanes] += q[d] * row[d];
    for (int half = lanes / 2; half > 0; half /= 2) {
      for (int lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
    }
    dots[j] = sums[0];
  }
}

}  // namespace bareattn::observing
