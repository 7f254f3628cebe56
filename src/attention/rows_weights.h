// Weights of rows again, from their packed keys and (where it is given) the state they had: the steps are tile.cc's
// (scores, terms, softmax of a block, merge of the states) and tile_observe.cc's (weight = strip * e^(block max - row
// max) / row sum), on the same kernels in the same order; only the blend is left out.
#pragma once
#include <cstdint>
#include <vector>

#include "attention/cache.h"
#include "attention/call.h"
#include "bareattn/weights.h"
#include "kernels/kernels.h"

namespace bareattn::attend {

struct KeySpan {
  int64_t begin, end;
};

/// What the rows of a piece are weighed by.
struct Weighing {
  const Call& call;
  const Piece& piece;
  const ScoreTerms& terms;
  const KvCache& cache;
  const Rectangle& rectangle;
};

/// Up to 6 rows of one head, which read each key together: the task of a worker, or a part of one.
class RowsWeights {
 public:
  struct Rows {
    int64_t head, first, count;  // rows [first, first + count) of the piece
    int64_t line;                // of the rectangle's dense row arrays
    const float* q;              // [count, D]
  };
  RowsWeights(const Weighing& by, const Rows& rows);

  /// to [count, stride]: keys [columns.begin, columns.end) of the piece.
  void compute(KeySpan columns, float* to, int64_t stride);
  /// The finished weights of block `index` (of 512 keys) in s [count, lds], where the rows' states are given; returns
  /// how many keys of it are made: a multiple of 16, 0 where no row sees any. What a row does not see is 0.
  int64_t block(int64_t index, float* s, int64_t lds);

 private:
  KeySpan here(int64_t r, int64_t index) const;
  KeySpan all_of(int64_t index) const;
  void scores(int64_t index, float* s, int64_t lds);
  int64_t softmax(int64_t index, float* s, int64_t lds, float* block_max);
  void given_state();
  void factors(float* block_max, int64_t blocks) const;

  const Weighing& by_;
  const Rows rows_;
  const kernels::KernelTable& kernels_;
  KeySpan seen_[kernels::tile_rows];
  float scale_[kernels::tile_rows];
  float max_[kernels::lanes], sum_[kernels::lanes];  // of the rows, in their lanes
  std::vector<float> q_;                             // [count, D] scaled
  std::vector<uint16_t> q16_;
};

}  // namespace bareattn::attend
