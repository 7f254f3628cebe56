// Exact attention on the CPU, every weight observable. O = softmax(softcap(scale * Q K^T) + bias) V, the order of the
// ONNX Attention operator. What is returned beside O is exact and costs O(N) memory: nothing N x N is ever allocated.
#pragma once
#include <cstdint>
#include <optional>
#include <span>

#include "bareattn/tensor_view.h"

namespace bareattn {

/// Column sums and pooled sums are kept in fixed point, so that any order of addition gives the same bits.
/// One weight p in [0, 1] is rounded to a multiple of 2^-27 (error <= 3.8e-9).
inline constexpr int weight_fraction_bits = 27;
inline double from_fixed(uint64_t sum) { return static_cast<double>(sum) / (1 << weight_fraction_bits); }

/// Where one call writes what it saw. Every pointer may be null: not wanted, not paid for.
/// Per-row arrays are [Hq, rows] with `row_stride` elements from head to head. All logarithms are natural.
struct AttentionStatistics {
  int64_t row_stride = 0;
  float* lse = nullptr;            // log sum exp of the row's logits (sink included); -inf: no visible key
  float* max_logit = nullptr;      // largest visible logit
  int32_t* max_key = nullptr;      // its key, the first one on a tie; -1: no visible key
  float* entropy = nullptr;        // -sum p ln p, nats
  float* sum_squares = nullptr;    // sum p^2; 1 / it is the participation ratio
  float* mean_distance = nullptr;  // sum p (position of the row - j), tokens
  float* first_mass = nullptr;     // weight on key 0
  float* self_weight = nullptr;    // weight on the row's own key
  float* previous_weight = nullptr;  // weight on the key before it (0 for the first row)
  float* recent_mass = nullptr;    // weight on the last 64 keys, the row's own included
  // Per key, added to (the caller zeroes them): [Hq, Sk] with `key_stride` from head to head, fixed point.
  int64_t key_stride = 0;
  uint64_t* received = nullptr;    // sum over rows of the weight on this key
  // Map of `pool_block` x `pool_block` cells over absolute positions, causal half only: row block r, key block c <= r at
  // r (r + 1) / 2 + c; `pool_stride` elements from head to head. pool_block is a multiple of 16. Added to / maximised.
  int pool_block = 0;
  int64_t pool_stride = 0;
  uint64_t* pool_sum = nullptr;    // fixed point
  float* pool_max = nullptr;
};

/// A mask over [Hq, Sq, Sk] of one sequence; any stride may be 0 (broadcast) or negative.
struct MaskView {
  enum class Kind { none, boolean, additive };  // boolean: true = seen; additive: added to the score, -inf = not seen
  Kind kind = Kind::none;
  TensorView<const uint8_t> seen;    // [Hq, Sq, Sk]
  TensorView<const float> additive;  // [Hq, Sq, Sk]
};

/// A bias by spans, the one table of steering: score(h, i, j) += value[h][row_span[i]][key_span[j]]; -inf cuts the edge.
/// Rows and keys name their span by small integers, so the table costs O(Sq + Sk) whatever the spans' shapes.
struct SpanBias {
  int row_spans = 0, key_spans = 0;
  std::span<const uint8_t> row_span;  // [positions]: span of the row at each absolute position
  std::span<const uint8_t> key_span;  // [positions]
  std::span<const float> value;       // [Hq, row_spans, key_spans]
  std::span<const float> head_scale;  // [Hq]: multiplies the scores of a head (inverse temperature); empty = 1
};

/// Everything that is done to scores after scale * q.k.
struct ScoreTerms {
  float softcap = 0;                      // c: s = c tanh(s / c); 0 = off
  std::span<const float> alibi_slopes;    // [Hq]: s += slope * (j - position of the row)
  const SpanBias* bias = nullptr;
  MaskView mask;
  std::span<const float> sinks;           // [Hq]: a logit that joins the denominator and the LSE, never the blend
};

}  // namespace bareattn
