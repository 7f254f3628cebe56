// The recipe of attention over one sequence: which rows see which keys, how rows are cut into tiles and tiles into
// blocks, and the order in which block states are merged. No instruction set, no file, no thread code but the pool.
#pragma once
#include <cstdint>
#include <span>

#include "attention/cache.h"
#include "bareattn/attention.h"
#include "base/thread_pool.h"

namespace bareattn::attend {

/// Keys that a row at position i sees: max(0, i - left) <= j <= min(keys - 1, i + right). Causal is right = 0.
struct Window {
  static constexpr int64_t unbounded = -1;
  int64_t left = unbounded;
  int64_t right = 0;
};

/// Sees rows of finished weights, those that made the output. Called by any worker, once for each row it wants.
class RowVisitor {
 public:
  virtual ~RowVisitor() = default;
  virtual bool wants(int64_t head, int64_t row) const = 0;
  /// weights[i] is that of key first_key + i; keys outside are not seen. The span dies with the call.
  virtual void see(int64_t head, int64_t row, int64_t first_key, std::span<const float> weights) = 0;
};

struct Sequence {
  TensorView<const float> q;  // [rows, Hq, D]
  TensorView<float> o;        // [rows, Hq, Dv]
  const KvCache* cache;       // Hkv divides Hq; query head h reads key-value head h / (Hq / Hkv)
  int64_t first_row;          // position of row 0 among the keys
  float scale;
  Window window;
  ScoreTerms terms = {};
  const AttentionStatistics* statistics = nullptr;  // row arrays start at this call's row 0
  RowVisitor* visitor = nullptr;                    // needs statistics (which may want nothing)
};

/// O and, where asked, the statistics. Preconditions are the caller's to check. The bits of every output are the same
/// for any pool size and however a sequence's rows are split over calls.
void run(const Sequence& sequence, base::ThreadPool& pool);

}  // namespace bareattn::attend
