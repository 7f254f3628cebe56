// Any rectangle of one head's weights or scores, from the Q and K that were kept of a run, in a file or in memory. A
// weight needs Q of its row, K of the keys of its block of 512 (the block's maximum counts), and the row's maximum and
// sum, so a tile costs the same at any length. Blocks stay where they are in the text: slices begin at multiples of
// 512, and from f32 the bits are those of the run. Ranges are the caller's to check.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "attention/weight_blocks.h"
#include "bareattn/observation.h"
#include "bareattn/scores.h"
#include "bareattn/tensor.h"
#include "bareattn/weights.h"

namespace bareattn::observing {

/// Compute of an attention's precision.
inline Compute compute_of(Precision attention) { return attention == Precision::bf16 ? Compute::bf16 : Compute::f32; }

struct CellSource {
  DType dtype = DType::f16;        // of Q and K
  Compute compute = Compute::f32;  // of the run's attention
  int64_t tokens = 0, dim = 0;
  ScoreRule rule;                                                                        // of the head
  std::function<std::span<const std::byte>(int64_t begin, int64_t end)> q;               // rows [begin, end) of [N, D]
  std::function<std::span<const std::byte>(int64_t begin, int64_t end)> k;               // the same of the keys
  std::function<std::span<const float>(int64_t begin, int64_t end)> max_logit, row_sum;  // of those rows
};

/// out [rows, keys]: weights (0 where a key is not seen), or scores (-inf there).
void exact_cells(const CellSource& source, ScoreStage stage, TokenRange rows, TokenRange keys, float* out);

/// The weights piece by piece (weight_blocks.h), places counted in the text. Pieces of one row come from one thread,
/// keys in order; where several threads work, others come at the same time.
using SeePiece = std::function<void(const attend::WeightPiece&)>;
void visit_cells(const CellSource& source, TokenRange rows, TokenRange keys, const SeePiece& see);

/// std::invalid_argument for a range that is not within the text.
void check_ranges(TokenRange rows, TokenRange keys, int64_t length);

}  // namespace bareattn::observing
