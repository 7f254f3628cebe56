// One transformer layer over a chunk of rows, and the buffers it works in. Reads like the paper; the loops are in
// kernels/ and attention/, and what a family does otherwise is in the Architecture. Bits depend neither on the chunk
// nor on the threads: rows are independent everywhere but in attention, whose contract says so too. Where to go next:
// session.cc, which calls it for every chunk and layer; embed.cc, how a token enters and how logits leave.
#pragma once
#include <cstdint>

#include "attention/cache.h"
#include "bareattn/model.h"
#include "bareattn/scores.h"
#include "base/aligned.h"
#include "base/thread_pool.h"
#include "model/attention_steps.h"
#include "model/rope.h"
#include "model/watch.h"
#include "model/weights.h"

namespace bareattn::model {

/// A matrix of f32 rows that owns its memory; rows are padded to whole cache lines.
class Rows {
 public:
  Rows() = default;
  Rows(int64_t rows, int64_t columns)
      : columns_(columns), stride_((columns + 15) / 16 * 16), data_(static_cast<size_t>(rows * stride_) * 4) {}
  float* row(int64_t i) { return data_.as<float>() + i * stride_; }
  const float* row(int64_t i) const { return data_.as<float>() + i * stride_; }
  int64_t columns() const { return columns_; }
  int64_t stride() const { return stride_; }
  TensorView<const float> view(int64_t rows) const { return {row(0), {rows, columns_}, {stride_, 1}}; }

 private:
  int64_t columns_ = 0, stride_ = 0;
  base::AlignedBuffer data_;
};

/// Activations of up to `rows` rows. x is the residual stream, in and out of every layer.
struct Workspace {
  Workspace(const Architecture& architecture, const Weights& weights, int64_t rows);
  Rows x;        // [rows, W]
  Rows normed;   // [rows, W]
  Rows qkv;      // [rows, (Hq + 2 Hkv) D]
  Rows z;        // [rows, Hq D]
  Rows branch;   // [rows, W]: what attention or the MLP adds to x
  Rows held;     // [rows, W]: attention's branch while a parallel MLP is made; else empty
  Rows gate_up;  // [rows, up_begin + F]
  Rows mlp;      // [rows, F]
};

/// What a chunk of rows meets on its way through the layers.
struct Pass {
  const Architecture& architecture;
  const Weights& weights;
  const RopeTables& rope;
  const Watch& watch;
  base::ThreadPool& pool;
  const ScoreRules& rules;      // what makes a score of q.k, layer by layer
  const AttentionSteps& steps;  // those of the model, or of a run that departs from it
  int64_t first_row = 0;        // position of the chunk's row 0 in the sequence
  int64_t rows = 0;
};

/// x becomes the layer's output. The cache already has room for the chunk's keys, which are written here.
void run_layer(const Pass& pass, int layer, attend::KvCache& cache, Workspace& work);

/// The OV step: what each head would write into the stream from a weight of one on a row of x, W_O^h W_V^h norm(x_row),
/// without output bias; a norm after attention is taken of each head's output alone. Makes the rows' values once; then
/// each row's outputs [Hq, W].
class HeadWrites {
 public:
  HeadWrites(const Pass& pass, int64_t rows);
  void take(int layer, const Rows& x, int64_t rows);
  const Rows& of(int64_t row);

 private:
  const Pass& pass_;
  int layer_ = 0;
  Rows normed_, qkv_, z_, written_;
};

inline attend::Storage cache_storage(const Model& model) {
  return model.attention() == Precision::bf16 ? attend::Storage::bf16 : attend::Storage::f32;
}

/// x [0, rows): the embeddings of the tokens at positions from first_row on. InputError past learned positions.
void embed(const Pass& pass, std::span<const int32_t> tokens, int64_t first_row, Rows& x, int64_t at);

/// Rows [first, first + rows) of a matrix.
struct RowRange {
  int64_t first, rows;
};

/// to [rows, V]: logits of the rows of x. `normed` is scratch.
void unembed(const Pass& pass, const Rows& x, RowRange range, Rows& normed, float* to);

/// normed [rows] = the norm of the rows of x; where normed is x, they stay in their places.
void normalize(const Pass& pass, const Rows& x, RowRange range, const NormWeights& weights, Rows& normed);

/// y [rows, n] (stride ldy) = x [rows, k] W^T, over all workers.
void project(base::ThreadPool& pool, TensorView<const float> x, const kernels::PackedMatrix& w, float* y, int64_t ldy);

}  // namespace bareattn::model
