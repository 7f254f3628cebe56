// One block of keys of one key-value head in the backward pass: it holds K, V and the growing dK and dV of its keys
// while every row that sees them passes by, tile by tile, for every head of the group. One per worker, reused.
// Next: backward.cc, which hands out the blocks.
#pragma once
#include <atomic>
#include <cstdint>
#include <vector>

#include "attention/call.h"
#include "attention/modify.h"
#include "bareattn/attention_backward.h"
#include "base/aligned.h"
#include "kernels/backward.h"

namespace bareattn::attend {

// A multiple of a panel. dQ is cut here: part of the contract. 192, 256 and 384 keys reached 68, 72 and 75 % of the
// peak at D = 64, N = 2,048 (what a tile reads of Q, dO, O and dQ is used for more keys); 384 leaves too few blocks to
// share at N = 512.
inline constexpr int64_t backward_keys = 256;
inline constexpr int64_t backward_rows = 96;  // rows of a tile; moving it changes no bit
inline constexpr int64_t backward_cut = 384;  // rows after which dK and dV go to their sums: part of the contract

struct BackwardJob {
  const Call* call;
  const Piece* piece;
  const AttentionForward* forward;
  const ConstTensor* d_o;
  const AttentionGradients* gradients;

  int64_t blocks() const { return (piece->visible + backward_keys - 1) / backward_keys; }
  int64_t tiles() const { return (piece->rows + backward_rows - 1) / backward_rows; }
  int64_t group() const { return call->heads / call->kv_heads; }
  float scale(int64_t head) const;  // of q.k
};

/// How far each block has come, in steps of one tile of one head. Blocks of a key-value head add to the same dQ, so
/// each waits until the one before it is past the same step. Blocks are started in order: the first never waits.
class Progress {
 public:
  explicit Progress(int64_t blocks) : steps_(static_cast<size_t>(blocks)) {}
  void wait_past(int64_t block, int64_t step) {
    for (int64_t seen; (seen = at(block).load(std::memory_order_acquire)) <= step;) at(block).wait(seen);
  }
  void publish(int64_t block, int64_t steps) {
    at(block).store(steps, std::memory_order_release);
    at(block).notify_all();
  }

 private:
  std::atomic<int64_t>& at(int64_t block) { return steps_[static_cast<size_t>(block)]; }
  std::vector<std::atomic<int64_t>> steps_;
};

class BackwardBlock {
 public:
  /// Adds what keys [block * 256, + 256) of a head give to every gradient but d_sinks. `task` is this block's place in
  /// `progress`, `before` that of the block before it (-1: none).
  void compute(const BackwardJob& job, int64_t kv_head, int64_t block, Progress& progress, int64_t task,
               int64_t before);

 private:
  struct Seen {
    int64_t begin, end;  // keys of the block, counted from its first; both grow with the row
  };
  void prepare(int64_t kv_head, int64_t block);
  bool see(int64_t first, int64_t count);
  void load(int64_t head, int64_t first);
  void scores();
  void weights(int64_t head, int64_t first);
  void softcap(Modifier::Place place, int64_t r);
  void add_to_terms(const Modifier::Place& place, int64_t r);
  void key_gradients(int64_t head, int64_t first);
  void key_gradient(const float* p, const float* rows, int64_t ld, int64_t dims, float* sum);
  void row_gradients(int64_t head, int64_t first);
  void add_rows(int64_t head, int64_t first);
  void flush();
  void flush_bias();
  /// f(begin, end) for every run of keys that row r of the tile sees.
  template <class F>
  void runs(const Modifier::Place& place, int64_t r, F&& f) const;
  float* s(int64_t r) const { return const_cast<float*>(s_.as<float>()) + r * lds; }
  float* dp(int64_t r) const { return const_cast<float*>(dp_.as<float>()) + r * lds; }

  static constexpr int64_t lds = backward_keys + kernels::lanes;  // rows of the strips fall on different L1 sets

  const BackwardJob* job_ = nullptr;
  const kernels::KernelTable* kernels_ = nullptr;
  ScoreTerms terms_, capped_, rest_;                             // all, the softcap alone, all but the softcap
  int64_t kv_head_ = 0, first_key_ = 0, keys_ = 0, padded_ = 0;  // keys of this block, and up to a multiple of 16
  int64_t dim_ = 0, value_dim_ = 0, ldk_ = 0, ldv_ = 0;          // ldk, ldv: D and Dv up to multiples of 16
  int64_t count_ = 0;                                            // rows of the tile
  bool k_finite_ = true, q_finite_ = true, d_o_finite_ = true, dirty_ = false;
  base::AlignedBuffer k_panels_, v_panels_, k_;  // [4][D][64], [4][Dv][64], [256, ldk]
  base::AlignedBuffer d_k_, d_v_;                // [256, ldk], [256, ldv]: sums since the last flush
  base::AlignedBuffer q_, d_o_, d_q_, row_;      // [96, ldk] scaled, [96, ldv], [96, ldk], one row
  base::AlignedBuffer s_, dp_, slope_;           // [96, lds]: s then p; dP then dS; d softcap
  Seen seen_[backward_rows] = {}, group_[backward_rows / kernels::tile_rows] = {};
  float lse_[backward_rows] = {}, delta_[backward_rows] = {};
  std::vector<double> d_bias_;  // [group, row_spans, key_spans]
};

}  // namespace bareattn::attend
