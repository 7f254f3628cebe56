// Exact weights of one head piece by piece, for who adds them up and needs no rectangle of them: a piece is 24 rows
// against what they see of one block of 512 keys, and lies in L1 and L2 when it is seen.
#pragma once
#include <cstdint>
#include <functional>

#include "bareattn/weights.h"

namespace bareattn::attend {

inline constexpr int64_t piece_rows = 24;

struct WeightPiece {
  int64_t row, rows;    // of q, up to 24
  int64_t key, keys;    // of k, within one block of 512
  const float* weight;  // [rows, stride]; 0 where a key is not seen
  int64_t stride;
};

/// q [1, 1, Sq, D] and k [1, 1, Sk, D]; the rectangle with max_logit and row_sum of its rows. Pieces that no row sees
/// are left out. `see` is called by several threads at once, by one for any row, keys in order.
void visit_weights(const ConstTensor& q, const ConstTensor& k, const Rectangle& rectangle,
                   const AttentionParams& params, const std::function<void(const WeightPiece&)>& see);

}  // namespace bareattn::attend
