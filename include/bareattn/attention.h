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

}  // namespace bareattn
