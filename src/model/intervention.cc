// See intervention.h.
#include "model/intervention.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "kernels/elementwise.h"
#include "kernels/plain.h"

namespace bareattn::model {
namespace {

void require(bool ok, const std::string& sentence) {
  if (!ok) throw std::invalid_argument("Session: " + sentence);
}

void check_table(const ModelConfig& config, const ScoreTable& table) {
  const auto heads = static_cast<size_t>(config.heads);
  require(static_cast<int>(table.layers.size()) == config.layers && table.heads == config.heads &&
              table.head_dim == config.head_dim,
          "the table is for " + std::to_string(table.layers.size()) + " layers of " + std::to_string(table.heads) +
              " heads; the model has " + std::to_string(config.layers) + " of " + std::to_string(config.heads));
  require(table.row_spans > 0 && table.row_spans <= 256 && table.key_spans > 0 && table.key_spans <= 256,
          "the table needs 1 to 256 spans of rows and of keys");
  for (const uint8_t span : table.row_span) require(span < table.row_spans, "the table names a row span it has not");
  for (const uint8_t span : table.key_span) require(span < table.key_spans, "the table names a key span it has not");
  const size_t cells = heads * static_cast<size_t>(table.row_spans) * static_cast<size_t>(table.key_spans);
  for (const LayerTable& layer : table.layers) {
    const auto fits = [](const std::vector<float>& v, size_t count) { return v.empty() || v.size() == count; };
    require(fits(layer.value, cells) && fits(layer.head_scale, heads) && fits(layer.sinks, heads) &&
                fits(layer.output_scale, heads) &&
                fits(layer.output_mean, heads * static_cast<size_t>(config.head_dim)),
            "an array of the table has the wrong length");
    require(layer.window >= -1 && layer.leading_keys >= 0, "the table has a window that is none");
  }
}

void check_variant(const ModelConfig& config, const Variant& variant) {
  require(variant.kv_of_head.empty() || variant.kv_of_head.size() == static_cast<size_t>(config.heads),
          "variant.kv_of_head needs one entry per query head");
  for (const int kv : variant.kv_of_head)
    require(kv >= 0 && kv < config.kv_heads, "variant.kv_of_head names key-value head " + std::to_string(kv));
  require(variant.rope_dim >= 0 && variant.rope_dim % 2 == 0 && variant.rope_dim <= config.head_dim,
          "variant.rope_dim needs an even number up to the head's " + std::to_string(config.head_dim));
  require(variant.position_factor > 0 && std::isfinite(variant.position_factor),
          "variant.position_factor needs a number above 0");
  require(std::abs(variant.q_reorder) <= 1 && std::abs(variant.k_reorder) <= 1,
          "variant.q_reorder and k_reorder need -1, 0 or 1");
  require(variant.rope_base >= 0 && variant.position_limit >= 0 && variant.position_shift >= 0 && variant.future >= 0 &&
              variant.window >= -1 && variant.window_every >= 1,
          "variant: rope_base, position_limit, position_shift and future need 0 or more, window -1 or more");
  require(variant.key_bits == 0 || (variant.key_bits >= 2 && variant.key_bits <= 16),
          "variant.key_bits needs 2 to 16, or 0 for keys as they are");
  require(variant.copied_head.size() % 2 == 0, "variant.copied_head needs pairs");
  for (const int head : variant.copied_head)
    require(head >= 0 && head < config.layers * config.heads, "variant.copied_head names no head of the model");
  if (!variant.table.layers.empty()) check_table(config, variant.table);
}

// To 2^(bits - 1) - 1 levels on each side of zero, the outermost being the largest value: a quantised key cache.
void round_to_bits(float* values, int64_t count, int bits) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(values[i]));
  const float step = largest / static_cast<float>((1 << (bits - 1)) - 1);
  if (step > 0)
    for (int64_t i = 0; i < count; ++i) values[i] = std::round(values[i] / step) * step;
}

}  // namespace

Intervention::Intervention(const Architecture& config, std::shared_ptr<const ScoreTable> table,
                           std::shared_ptr<const Variant> variant)
    : config_(config), table_(std::move(table)), variant_(std::move(variant)) {
  if (variant_ == nullptr) variant_ = std::make_shared<const Variant>();
  check_variant(config, *variant_);
  if (table_ != nullptr) check_table(config, *table_);
  require(table_ == nullptr || variant_->table.layers.empty(), "a table and a variant with one cannot be had at once");
  active_ = table_ != nullptr ? table_.get() : !variant_->table.layers.empty() ? &variant_->table : nullptr;
}

bool Intervention::has_window() const { return active_ != nullptr && bareattn::has_window(*active_); }

int64_t Intervention::extra_positions() const {
  return variant_->position_shift + std::max<int64_t>(0, variant_->query_shift) +
         std::max<int64_t>(0, variant_->late_shift);
}

RopeTables Intervention::rope_of(const RopeTables& own, std::span<const float> factors, double position_scale) const {
  const Variant& v = *variant_;
  if (v.rope_base <= 0 && v.rope_dim == 0 && v.position_factor == 1) return own;
  Architecture other = config_;
  if (v.rope_base > 0) other.rope_base = v.rope_base;
  if (v.rope_dim > 0) other.rope_dim = v.rope_dim;
  return RopeTables(other, other.rope_dim == config_.rope_dim ? factors : std::span<const float>(),
                    position_scale / v.position_factor);
}

void Intervention::rotate_head(const Chunk& chunk, float* head, int64_t position, int reorder) const {
  if (!config_.layer(chunk.layer).rotary) return;
  position = std::max<int64_t>(0, position + variant_->position_shift);
  if (variant_->position_limit > 0) position = std::min(position, variant_->position_limit - 1);
  const int64_t dim = chunk.rope.dim(), half = dim / 2;
  if (reorder != 0) {  // it stays so: scores do not ask for an order that Q and K share
    const std::vector<float> was(head, head + dim);
    for (int64_t i = 0; i < half; ++i)
      for (const int64_t second : {0, 1}) {
        const int64_t neighbour = 2 * i + second, apart = i + second * half;
        head[reorder > 0 ? neighbour : apart] = was[static_cast<size_t>(reorder > 0 ? apart : neighbour)];
      }
  }
  const auto turn = config_.pairing == Pairing::halves ? kernels::rotate_halves : kernels::rotate_pairs;
  turn(head, chunk.rope.cosine(position), chunk.rope.sine(position), dim);
}

void Intervention::rotate(const Chunk& chunk, Qkv qkv) const {
  const int64_t q = config_.heads, kv = config_.kv_heads, d = config_.head_dim;
  const bool scaled =
      variant_->query_scale != 1.0F && (variant_->query_scale_layer < 0 || variant_->query_scale_layer == chunk.layer);
  chunk.pool.run(chunk.rows, [&](int64_t r, int) {
    float* row = qkv.data + r * qkv.stride;
    const int64_t position = chunk.first_row + r;
    for (int64_t h = 0; h < q; ++h) {
      rotate_head(chunk, row + h * d, position + variant_->query_shift, variant_->q_reorder);
      if (scaled)
        for (int64_t i = 0; i < d; ++i) row[h * d + i] *= variant_->query_scale;
    }
    for (int64_t h = q; h < q + kv; ++h) {
      if (variant_->key_bits > 0) round_to_bits(row + h * d, d, variant_->key_bits);
      rotate_head(chunk, row + h * d, position + (late_ ? variant_->late_shift : 0), variant_->k_reorder);
    }
    for (size_t pair = 0; pair < variant_->copied_head.size(); pair += 2) {
      const int to = variant_->copied_head[pair], from = variant_->copied_head[pair + 1];
      if (to / config_.heads == chunk.layer)
        std::copy_n(row + from % config_.heads * d, d, row + to % config_.heads * d);
    }
  });
}

void Intervention::store_keys(const Chunk& chunk, Qkv qkv, attend::KvCache& cache) const {
  const int64_t q = config_.heads, kv = config_.kv_heads, d = config_.head_dim;
  const auto rows_of = [&](int64_t head) {
    return TensorView<const float>(qkv.data + head * d, {chunk.rows, d}, {qkv.stride, 1});
  };
  chunk.pool.run(cache.kv_heads(), [&](int64_t h, int) {
    const int64_t from = variant_->plain_cache() ? h : variant_->kv_of_head[static_cast<size_t>(h)];
    cache.write(h, chunk.first_row, rows_of(q + from), rows_of(q + kv + from));
  });
}

void Intervention::change_outputs(const LayerTable& table, const attend::Sequence& sequence) const {
  const int64_t d = config_.head_dim;
  for (int64_t r = 0; r < sequence.o.shape[0]; ++r) {
    for (int64_t h = 0; h < config_.heads; ++h) {
      float* z = sequence.o.data + r * sequence.o.stride[0] + h * sequence.o.stride[1];
      if (!table.output_mean.empty() && !std::isnan(table.output_mean[static_cast<size_t>(h * d)]))
        std::copy_n(table.output_mean.begin() + h * d, d, z);
      if (!table.output_scale.empty() && table.output_scale[static_cast<size_t>(h)] != 1.0F)
        for (int64_t i = 0; i < d; ++i) z[i] *= table.output_scale[static_cast<size_t>(h)];
    }
  }
}

void Intervention::attend(int layer, attend::Sequence& sequence, base::ThreadPool& pool) const {
  const Variant& v = *variant_;
  if (v.score_scale != 1.0F) sequence.scale *= v.score_scale;
  const bool in_layer = layer % v.window_every == 0;
  const LayerTable* table = active_ == nullptr ? nullptr : &active_->layers[static_cast<size_t>(layer)];
  std::vector<float> tired;  // Q of the scores; what observers saw stays as it was
  if (v.drift != 0) {
    const int64_t rows = sequence.q.shape[0], q = config_.heads, d = config_.head_dim;
    for (int64_t r = 0; r < rows; ++r) {
      const auto factor =
          static_cast<float>(std::max(0.05, 1 - v.drift * static_cast<double>(sequence.first_row + r) / 512));
      for (int64_t h = 0; h < q; ++h)
        for (int64_t i = 0; i < d; ++i) tired.push_back(sequence.q.at(r, h, i) * factor);
    }
    sequence.q = TensorView<const float>(tired.data(), {rows, q, d});
  }
  if (in_layer && v.window >= 0) sequence.window.left = v.window;
  sequence.window.right += v.future;
  attend::run(sequence, pool);
  if (table != nullptr && (!table->output_mean.empty() || !table->output_scale.empty()))
    change_outputs(*table, sequence);
}

}  // namespace bareattn::model
