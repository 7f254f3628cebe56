// Sums over keys that are linear in the weights: spans named by the caller, and the moments of the distance. Each is a
// column of values g[key] beside those of V, so that sum_j p_ij g_j is the blend once more over 16 columns instead of
// D. Nobody who asks for none pays for them.
#include <algorithm>
#include <cmath>

#include "attention/tile.h"

namespace bareattn::attend {

using kernels::block_keys;
using kernels::lanes;

namespace {

constexpr int64_t moments = 2;  // u and u^2, u = place in the block from its middle: exact in f32
constexpr double middle = 0.5 * (block_keys - 1);

}  // namespace

void Tile::prepare_columns(const Sequence& sequence) {
  const AttentionStatistics& out = *sequence.statistics;
  const int64_t wanted = out.column_sums == nullptr ? 0 : out.columns;
  if (wanted == 0 && out.distance_spread == nullptr) return;
  columns_ = (wanted + moments + lanes - 1) / lanes * lanes;
  column_block_ = -1;
  const auto cleared = [](base::AlignedBuffer& buffer, int64_t floats) {
    buffer.reserve<float>(floats);
    std::fill_n(buffer.as<float>(), floats, 0.0F);
  };
  cleared(column_values_, block_keys * columns_);
  cleared(column_sums_, std::max<int64_t>(1, blocks_) * tile_height * columns_);
  for (int64_t j = 0; j < block_keys; ++j) {
    const double u = static_cast<double>(j) - middle;
    column_values_.as<float>()[j * columns_] = static_cast<float>(u);
    column_values_.as<float>()[j * columns_ + 1] = static_cast<float>(u * u);
  }
}

void Tile::sum_columns(const Sequence& sequence, const Group& group) {
  const AttentionStatistics& out = *sequence.statistics;
  if (out.column_sums != nullptr && out.columns > 0 && column_block_ != group.index) {
    column_block_ = group.index;
    const int64_t start = group.index * block_keys, keys = std::min(block_keys, sequence.cache->length() - start);
    for (int64_t j = 0; j < keys; ++j)
      std::copy_n(out.key_columns + (start + j) * out.columns, out.columns,
                  column_values_.as<float>() + j * columns_ + moments);
  }
  float* to = column_sums_.as<float>() + ((group.index - first_block_) * tile_height + group.e) * columns_;
  kernels_->blend({strip(group.e, group.index) + group.all.begin, strip_stride, static_cast<int>(group.rows),
                   group.all.end - group.all.begin, column_values_.as<float>() + group.all.begin * columns_, columns_,
                   columns_, to, columns_, false});
}

void Tile::column_statistics(const Sequence& sequence, int64_t e) {
  const AttentionStatistics& out = *sequence.statistics;
  const int64_t at = rows_[e].head * out.row_stride + rows_[e].row, position = sequence.first_row + rows_[e].row;
  const auto sums = [&](int64_t b) { return column_sums_.as<float>() + (b * tile_height + e) * columns_; };
  for (int64_t c = 0; out.column_sums != nullptr && c < out.columns; ++c) {
    double sum = 0;
    for (int64_t b = 0; b < blocks_; ++b)
      if (const double factor = factor_[b * tile_height + e]; factor != 0) sum += factor * sums(b)[moments + c];
    out.column_sums[c * out.column_stride + at] = static_cast<float>(sum);
  }
  if (out.distance_spread == nullptr) return;
  double mean = 0, square = 0;
  for (int64_t b = 0; b < blocks_; ++b)
    mean += static_cast<double>(factor_[b * tile_height + e]) * states(b).distance[e];
  // Around the mean, not minus its square: what is close together far away would be lost in the rounding of large
  // squares. With o the distance of the block's middle: distance - mean = (o - mean) - u.
  for (int64_t b = 0; b < blocks_; ++b) {
    const double factor = factor_[b * tile_height + e];
    if (factor == 0) continue;
    const double o = static_cast<double>(position - (first_block_ + b) * block_keys) - middle - mean;
    square += factor * (o * o * states(b).sum[e] - 2 * o * sums(b)[0] + sums(b)[1]);
  }
  out.distance_spread[at] = static_cast<float>(std::sqrt(std::max(0.0, square)));
  if (std::isnan(sum_[state_of(e)])) out.distance_spread[at] = sum_[state_of(e)];
}

}  // namespace bareattn::attend
