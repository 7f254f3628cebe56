// Any rectangle of attention weights, exactly those that made the output, without running the whole: recomputed from Q
// and K over the blocks of 512 keys that the rectangle touches. Also the scores on their way there.
#pragma once
#include <cstdint>

#include "bareattn/attention.h"

namespace bareattn {

/// How far a score has come.
enum class ScoreStage : uint8_t {
  product,  // scale * q.k, for every key, seen or not
  capped,   // after softcap, for every key
  biased,   // after ALiBi, bias and mask; -inf where the key is not seen
  weight,   // after the softmax; 0 where the key is not seen
};

/// Rows [row_begin, row_end) of every head and batch entry, keys [key_begin, key_end); -1 as an end: to the last.
struct Rectangle {
  int64_t row_begin = 0, row_end = -1;
  int64_t key_begin = 0, key_end = -1;
  ScoreStage stage = ScoreStage::weight;
  // max_logit and row_sum of the pass, dense [B, Hq, rows of the rectangle]. Given: only the rectangle's own blocks are
  // computed. Not given (both null): every block that the rows see, as in the pass itself.
  const float* max_logit = nullptr;
  const float* row_sum = nullptr;
};

/// out [B, Hq, rows, keys of the rectangle], f32. The weights are bit for bit those that attention() with the same
/// arguments used. With cu_seqlens keys count over the packed axis, and weights between sequences are 0.
void weights(const ConstTensor& q, const ConstTensor& k, const MutableTensor& out, const Rectangle& rectangle,
             const AttentionParams& params = {});

}  // namespace bareattn
