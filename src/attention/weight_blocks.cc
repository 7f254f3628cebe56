// See weight_blocks.h.
#include "attention/weight_blocks.h"

#include <algorithm>
#include <vector>

#include "attention/rows_weights.h"
#include "attention/serve.h"
#include "attention/shared_pool.h"
#include "attention/widen.h"
#include "base/aligned.h"
#include "base/float_environment.h"

namespace bareattn::attend {

using kernels::block_keys;
using kernels::tile_rows;

namespace {

constexpr int64_t stride = block_keys + kernels::lanes;

// Groups of 6 rows side by side.
class PieceRows {
 public:
  PieceRows(const Weighing& by, const ConstTensor& q, int64_t row, int64_t rows) : row_(row), rows_(rows) {
    static thread_local base::AlignedBuffer strip;
    strip.reserve<float>(piece_rows * stride);
    strip_ = strip.as<float>();
    std::vector<float> query(static_cast<size_t>(rows * by.call.dim));
    for (int64_t r = 0; r < rows; ++r)
      widen(q.dtype, address(q, 0, 0, row + r, 0), q.stride[3], by.call.dim, query.data() + r * by.call.dim);
    for (int64_t r = 0; r < rows; r += tile_rows)
      groups_.emplace_back(by, RowsWeights::Rows{0, row + r, std::min<int64_t>(tile_rows, rows - r),
                                                 row + r - by.rectangle.row_begin, query.data() + r * by.call.dim});
  }

  WeightPiece block(int64_t index, const Rectangle& rectangle) {
    int64_t made[piece_rows / tile_rows], most = 0;
    for (size_t g = 0; g < groups_.size(); ++g) {
      made[g] = groups_[g].block(index, strip_ + static_cast<int64_t>(g) * tile_rows * stride, stride);
      most = std::max(most, made[g]);
    }
    for (int64_t r = 0; r < rows_; ++r)  // a row of another group may see further
      std::fill(strip_ + r * stride + made[r / tile_rows], strip_ + r * stride + most, 0.0F);
    const int64_t start = index * block_keys, begin = std::max(start, rectangle.key_begin);
    return {row_, rows_, begin, std::min(start + most, rectangle.key_end) - begin, strip_ + begin - start, stride};
  }

 private:
  int64_t row_, rows_;
  float* strip_;
  std::vector<RowsWeights> groups_;
};

}  // namespace

void visit_weights(const ConstTensor& q, const ConstTensor& k, const Rectangle& rectangle,
                   const AttentionParams& params, const std::function<void(const WeightPiece&)>& see) {
  const Call call = make_call(q, k, nullptr, params, Types::fast);
  const base::DefaultFloatEnvironment environment;
  const PoolLease lease(params.threads);
  const Piece& piece = call.pieces.front();
  const ScoreTerms terms = call.terms(piece);
  Scratch scratch(call, 0, piece.visible);
  const int64_t first = rectangle.key_begin / block_keys, end = std::min(rectangle.key_end, piece.visible);
  pack({&k, nullptr}, piece, first * block_keys,
       std::min(piece.visible, (end + block_keys - 1) / block_keys * block_keys), scratch.cache(), lease.pool());
  const Weighing by{call, piece, terms, scratch.cache(), rectangle};
  const int64_t lines = rectangle.row_end - rectangle.row_begin;
  lease.pool().run((lines + piece_rows - 1) / piece_rows, [&](int64_t task, int) {
    const int64_t row = rectangle.row_begin + task * piece_rows;
    PieceRows rows(by, q, row, std::min(piece_rows, rectangle.row_end - row));
    for (int64_t index = first; index * block_keys < end; ++index)
      if (const WeightPiece seen = rows.block(index, rectangle); seen.keys > 0) see(seen);
  });
}

}  // namespace bareattn::attend
