// One transformer layer over a chunk of rows, and the buffers it works in. Reads like the paper; the loops are in
// kernels/ and attention/. Bits depend neither on the chunk nor on the threads: rows are independent everywhere but in
// attention, whose contract says so too. Where to go next: session.cc, which calls it for every chunk and layer.
#pragma once
#include <cstdint>

#include "attention/cache.h"
#include "bareattn/model.h"
#include "base/aligned.h"
#include "base/thread_pool.h"
#include "model/intervention.h"
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
  int64_t stride() const { return stride_; }
  TensorView<const float> view(int64_t rows) const { return {row(0), {rows, columns_}, {stride_, 1}}; }

 private:
  int64_t columns_ = 0, stride_ = 0;
  base::AlignedBuffer data_;
};

/// Activations of up to `rows` rows. x is the residual stream, in and out of every layer.
struct Workspace {
  Workspace(const ModelConfig& config, const Weights& weights, int64_t rows);
  Rows x;        // [rows, W]
  Rows normed;   // [rows, W]
  Rows qkv;      // [rows, (Hq + 2 Hkv) D]
  Rows z;        // [rows, Hq D]
  Rows branch;   // [rows, W]: what attention or the MLP adds to x
  Rows gate_up;  // [rows, up_begin + F]
  Rows mlp;      // [rows, F]
};

/// What a chunk of rows meets on its way through the layers.
struct Pass {
  const ModelConfig& config;
  const Weights& weights;
  const RopeTable& rope;
  const Watch& watch;
  base::ThreadPool& pool;
  Reach reach;                                 // window and sinks
  const Intervention* intervention = nullptr;  // null: the model as it is
  int64_t first_row = 0;                       // position of the chunk's row 0 in the sequence
  int64_t rows = 0;
};

/// x becomes the layer's output. The cache already has room for the chunk's keys, which are written here.
void run_layer(const Pass& pass, int layer, attend::KvCache& cache, Workspace& work);

inline attend::Storage cache_storage(const Model& model) {
  return model.attention() == Precision::bf16 ? attend::Storage::bf16 : attend::Storage::f32;
}

/// normed [rows] = RMSNorm of x rows [first, first + rows).
void normalize(const Pass& pass, const Rows& x, int64_t first, int64_t rows, const std::vector<float>& weight,
               Rows& normed);

/// y [rows, n] (stride ldy) = x [rows, k] W^T, over all workers.
void project(base::ThreadPool& pool, TensorView<const float> x, const kernels::PackedMatrix& w, float* y, int64_t ldy);

}  // namespace bareattn::model
