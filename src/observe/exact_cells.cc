// See exact_cells.h.
#include "observe/exact_cells.h"

#include <algorithm>
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

ConstTensor vectors(std::span<const std::byte> bytes, DType dtype, int64_t rows, int64_t dim) {
  ConstTensor tensor;
  tensor.data = bytes.data();
  tensor.dtype = dtype;
  tensor.rank = 4;
  tensor.shape = {1, 1, rows, dim};
  tensor.stride = {rows * dim, rows * dim, dim, 1};
  return tensor;
}

// What a slice of keys takes: rows that see some of them, whole blocks of keys, and what is done to the scores. Stays
// where it was made: params point into it.
struct Slice {
  Slice(const CellSource& source, TokenRange rows, TokenRange keys)
      : first_row(std::max(rows.begin, keys.begin)),  // rows before see none of these keys
        first_key(keys.begin / kernels::block_keys * kernels::block_keys),
        rule(source.rule.from(first_key)) {
    const int64_t end = std::min({rows.end, source.tokens, up_to_block(keys.end)});
    q = vectors(source.q(first_row, rows.end), source.dtype, rows.end - first_row, source.dim);
    k = vectors(source.k(first_key, end), source.dtype, end - first_key, source.dim);
    params = attention_params(rule);
    params.compute = source.compute;
    params.offset = first_row - first_key;
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
  ScoreRule rule;
  AttentionParams params;
  Rectangle rectangle;
};

// Whether no row from `row` on sees any of the keys, for the rule's window.
bool unseen(const ScoreRule& rule, int64_t row, TokenRange keys) {
  return rule.left_window >= 0 && keys.begin >= rule.leading_keys && keys.end <= row - rule.left_window;
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
    if (unseen(source.rule, std::max(rows.begin, here.begin), here)) return;
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
    if (unseen(source.rule, std::max(rows.begin, here.begin), here)) return;
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
