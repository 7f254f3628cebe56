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

namespace {

// What a slice of keys takes: rows that see some of them, whole blocks of keys, and what is done to the scores. Stays
// where it was made: params point into it.
struct Slice {
  Slice(const CellSource& source, TokenRange rows, TokenRange keys)
      : first_row(std::max(rows.begin, keys.begin)),  // rows before see none of these keys
        first_key(keys.begin / kernels::block_keys * kernels::block_keys) {
    const int64_t end = std::min({rows.end, source.tokens, up_to_block(keys.end)});
    q = vectors(source.q(first_row, rows.end), source.dtype, rows.end - first_row, source.dim);
    k = vectors(source.k(first_key, end), source.dtype, end - first_key, source.dim);
    params.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(source.dim)));  // as layer.cc
    params.is_causal = true;
    params.compute = source.compute;
    params.offset = first_row - first_key;
    mask = window_mask(source.reach, {first_row, rows.end}, {first_key, end});
    if (!mask.empty())
      params.attn_mask =
          ConstTensor(TensorView<const uint8_t>(mask.data(), {1, 1, rows.end - first_row, end - first_key}));
    if (source.table != nullptr) {
      bias = bias_of(*source.table, source.head, first_key);
      params.bias = &bias;
    }
    rectangle.key_begin = keys.begin - first_key;
    rectangle.key_end = keys.end - first_key;
    rectangle.row_begin = 0;
    rectangle.row_end = rows.end - first_row;
    rectangle.max_logit = source.max_logit(first_row, rows.end).data();
    rectangle.row_sum = source.row_sum(first_row, rows.end).data();
  }
  Slice(const Slice&) = delete;
  Slice& operator=(const Slice&) = delete;

  static int64_t up_to_block(int64_t key) {
    return (key + kernels::block_keys - 1) / kernels::block_keys * kernels::block_keys;
  }

  int64_t first_row, first_key;
  ConstTensor q, k;
  std::vector<uint8_t> mask;
  SpanBias bias;
  AttentionParams params;
  Rectangle rectangle;
};

// Whether no row from `row` on sees any of the keys, for the run's window.
bool unseen(const Reach& reach, int64_t row, TokenRange keys) {
  return reach.window >= 0 && keys.begin >= reach.sinks && keys.end <= row - reach.window;
}

// body(keys of the slice), slice after slice or, where there are several, side by side.
template <class Body>
void each_slice(TokenRange keys, base::ThreadPool& pool, const Body& body) {
  const int64_t first = keys.begin / slice_keys, slices = (keys.end + slice_keys - 1) / slice_keys - first;
  pool.run(slices, [&](int64_t task, int) {
    body(TokenRange{std::max(keys.begin, (first + task) * slice_keys),
                    std::min(keys.end, (first + task + 1) * slice_keys)});
  });
}

}  // namespace

void exact_cells(const CellSource& source, ScoreStage stage, TokenRange rows, TokenRange keys, float* out) {
  const int64_t count = rows.end - rows.begin, columns = keys.end - keys.begin;
  std::fill_n(out, count * columns, stage == ScoreStage::weight ? 0.0F : -std::numeric_limits<float>::infinity());
  keys.end = std::min(keys.end, rows.end);  // nobody sees further
  if (count == 0 || keys.begin >= keys.end) return;
  const bool one = keys.begin / slice_keys == (keys.end - 1) / slice_keys;
  const attend::PoolLease lease(one ? 1 : 0);
  each_slice(keys, lease.pool(), [&](TokenRange here) {
    if (unseen(source.reach, std::max(rows.begin, here.begin), here)) return;
    Slice slice(source, rows, here);
    slice.params.threads = one ? 0 : 1;
    slice.rectangle.stage = stage;
    const TensorView<float> target(out + (slice.first_row - rows.begin) * columns + here.begin - keys.begin,
                                   {1, 1, rows.end - slice.first_row, here.end - here.begin}, {0, 0, columns, 1});
    bareattn::weights(slice.q, slice.k, target, slice.rectangle, slice.params);
  });
}

void visit_cells(const CellSource& source, TokenRange rows, TokenRange keys, const SeePiece& see) {
  keys.end = std::min(keys.end, rows.end);
  if (rows.begin >= rows.end || keys.begin >= keys.end) return;
  each_slice(keys, attend::own_thread(), [&](TokenRange here) {
    if (unseen(source.reach, std::max(rows.begin, here.begin), here)) return;
    const Slice slice(source, rows, here);
    attend::visit_weights(slice.q, slice.k, slice.rectangle, slice.params, [&](const attend::WeightPiece& piece) {
      attend::WeightPiece moved = piece;
      moved.row += slice.first_row;
      moved.key += slice.first_key;
      see(moved);
    });
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
