// See exact_cells.h.
#include "observe/exact_cells.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "attention/shared_pool.h"
#include "bareattn/attention.h"
#include "kernels/kernels.h"

namespace bareattn::observing {
namespace {

constexpr int64_t slice_keys = 4 * kernels::block_keys;  // packed K of a slice stays in L2: 512 KB at D = 64

// Keys that a row past the window's edge does not see, as a mask [rows, keys]; empty where there is no window.
std::vector<uint8_t> window_mask(const Reach& reach, TokenRange rows, TokenRange keys) {
  if (reach.window < 0) return {};
  std::vector<uint8_t> seen;
  seen.reserve(static_cast<size_t>((rows.end - rows.begin) * (keys.end - keys.begin)));
  for (int64_t i = rows.begin; i < rows.end; ++i)
    for (int64_t j = keys.begin; j < keys.end; ++j) seen.push_back(j < reach.sinks || j >= i - reach.window ? 1 : 0);
  return seen;
}

ConstTensor vectors(std::span<const std::byte> bytes, DType dtype, int64_t rows, int64_t dim) {
  ConstTensor tensor;
  tensor.data = bytes.data();
  tensor.dtype = dtype;
  tensor.rank = 4;
  tensor.shape = {1, 1, rows, dim};
  tensor.stride = {rows * dim, rows * dim, dim, 1};
  return tensor;
}

// What a table does to a head's scores, where positions count from `first`. Its spans reach to the end of the text.
SpanBias bias_of(const ScoreTable& table, HeadId head, int64_t first) {
  const LayerTable& layer = table.layers[static_cast<size_t>(head.layer)];
  const size_t cells = static_cast<size_t>(table.row_spans) * static_cast<size_t>(table.key_spans);
  SpanBias bias;
  bias.row_spans = table.row_spans;
  bias.key_spans = table.key_spans;
  bias.row_span = std::span(table.row_span).subspan(static_cast<size_t>(first));
  bias.key_span = std::span(table.key_span).subspan(static_cast<size_t>(first));
  bias.value = std::span(layer.value).subspan(static_cast<size_t>(head.head) * cells, cells);
  bias.head_scale = std::span(layer.head_scale).subspan(static_cast<size_t>(head.head), 1);
  return bias;
}

}  // namespace

void exact_cells(const CellSource& source, ScoreStage stage, TokenRange rows, TokenRange keys, float* out) {
  const int64_t count = rows.end - rows.begin, columns = keys.end - keys.begin;
  std::fill_n(out, count * columns, stage == ScoreStage::weight ? 0.0F : -std::numeric_limits<float>::infinity());
  keys.end = std::min(keys.end, rows.end);  // nobody sees further
  if (count == 0 || keys.begin >= keys.end) return;
  const int64_t width = source.dim * (source.dtype == DType::f32 ? 4 : 2);
  const ConstTensor q = vectors(source.q(rows.begin, rows.end), source.dtype, count, source.dim);
  const auto max = source.max_logit(rows.begin, rows.end), sum = source.row_sum(rows.begin, rows.end);
  const int64_t first = keys.begin / slice_keys, slices = (keys.end + slice_keys - 1) / slice_keys - first;
  const attend::PoolLease lease(slices == 1 ? 1 : 0);
  lease.pool().run(slices, [&](int64_t task, int) {
    const int64_t begin = std::max(keys.begin, (first + task) * slice_keys);
    const int64_t end = std::min(keys.end, (first + task + 1) * slice_keys);
    const int64_t from = begin / kernels::block_keys * kernels::block_keys;  // whole blocks, as far as the rows see
    const int64_t to = std::min(
        {rows.end, source.tokens, (end + kernels::block_keys - 1) / kernels::block_keys * kernels::block_keys});
    const ConstTensor k = vectors(source.k(from, to), source.dtype, to - from, source.dim);
    const int64_t late = std::max(rows.begin, begin);  // rows before see none of these keys
    const int64_t skip = late - rows.begin;
    const Reach& reach = source.reach;
    if (reach.window >= 0 && begin >= reach.sinks && end <= late - reach.window) return;  // no row sees any of them
    ConstTensor some_q = q;
    some_q.data = static_cast<const std::byte*>(q.data) + skip * width;
    some_q.shape[2] = count - skip;
    AttentionParams params;
    params.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(source.dim)));  // as layer.cc
    params.is_causal = true;
    params.compute = source.compute;
    params.offset = late - from;
    params.threads = slices == 1 ? 0 : 1;
    const std::vector<uint8_t> mask = window_mask(source.reach, {late, rows.end}, {from, to});
    if (!mask.empty()) {
      params.attn_mask = ConstTensor(TensorView<const uint8_t>(mask.data(), {1, 1, rows.end - late, to - from}));
    }
    SpanBias bias;
    if (source.table != nullptr) {
      bias = bias_of(*source.table, source.head, from);
      params.bias = &bias;
    }
    Rectangle rectangle;
    rectangle.key_begin = begin - from;
    rectangle.key_end = end - from;
    rectangle.stage = stage;
    rectangle.max_logit = max.data() + skip;
    rectangle.row_sum = sum.data() + skip;
    const TensorView<float> target(out + skip * columns + begin - keys.begin, {1, 1, count - skip, end - begin},
                                   {0, 0, columns, 1});
    bareattn::weights(some_q, k, target, rectangle, params);
  });
}

void check_ranges(TokenRange rows, TokenRange keys, int64_t length) {
  const auto within = [&](const char* what, TokenRange range) {
    if (range.begin >= 0 && range.begin <= range.end && range.end <= length) return;
    throw std::invalid_argument(std::string(what) + " " + std::to_string(range.begin) + ":" +
                                std::to_string(range.end) + ": a range within 0:" + std::to_string(length) +
                                " is needed");
  };
  within("rows", rows);
  within("keys", keys);
}

}  // namespace bareattn::observing
