// The steps of a layer's attention that a run may take otherwise: how Q and K are rotated, which keys are stored, and
// the attention call itself. AttentionSteps is the model as it is; Intervention (intervention.h) departs from it. The
// layer calls them and knows of no steering. Where to go next: layer.cc.
#pragma once
#include <algorithm>
#include <cstdint>

#include "attention/cache.h"
#include "attention/run.h"
#include "bareattn/architecture.h"
#include "base/thread_pool.h"
#include "model/rope.h"

namespace bareattn::model {

class AttentionSteps {
 public:
  virtual ~AttentionSteps() = default;

  /// A chunk of rows of one layer, and where its Q, K and V stand: [rows, (Hq + 2 Hkv) D].
  struct Chunk {
    const Architecture& architecture;
    const RopeTable& rope;
    base::ThreadPool& pool;
    int layer;
    int64_t first_row, rows;
  };
  struct Qkv {
    float* data;
    int64_t stride;
  };
  virtual void rotate(const Chunk& chunk, Qkv qkv) const;
  virtual void store_keys(const Chunk& chunk, Qkv qkv, attend::KvCache& cache) const;
  virtual void attend(int layer, attend::Sequence& sequence, base::ThreadPool& pool) const;
};

/// body(row) for each, several workers beside each other.
template <class Body>
void for_rows(base::ThreadPool& pool, int64_t rows, const Body& body) {
  constexpr int64_t at_once = 16;  // elementwise loops are short: that many amortise the handing out
  pool.run((rows + at_once - 1) / at_once, [&](int64_t task, int) {
    const int64_t end = std::min(rows, (task + 1) * at_once);
    for (int64_t r = task * at_once; r < end; ++r) body(r);
  });
}

}  // namespace bareattn::model
