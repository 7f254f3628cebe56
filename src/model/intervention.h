// What a steered or broken run does otherwise (score_table.h, variant.h), in the three places of a layer where it can:
// the rotation of Q and K, the keys that are stored, and the attention call. A run without one never comes here.
// Refuses a table or variant that was made for another model. Where to go next: layer.cc, which calls it.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "attention/cache.h"
#include "attention/run.h"
#include "bareattn/model.h"
#include "bareattn/score_table.h"
#include "bareattn/variant.h"
#include "base/thread_pool.h"
#include "model/rope.h"

namespace bareattn::model {

class Intervention {
 public:
  /// Either may be null. std::invalid_argument where sizes do not fit the model.
  Intervention(const ModelConfig& config, std::shared_ptr<const ScoreTable> table,
               std::shared_ptr<const Variant> variant, int64_t capacity);

  bool has_window() const;  // the table's, in any layer
  /// The angles of this run: `own`, or others where the variant says so. position_scale as in RopeTable.
  RopeTable rope_of(const RopeTable& own, std::span<const float> factors, double position_scale) const;
  int cache_heads() const { return variant_->plain_cache() ? config_.kv_heads : config_.heads; }
  /// Angles are needed for so many positions more than there are rows.
  int64_t extra_positions() const;
  /// Before every Session::run(): rows that were there already.
  void begin_run(int64_t length) { late_ = length > 0; }

  /// A chunk of rows of one layer, and where its Q, K and V stand: [rows, (Hq + 2 Hkv) D].
  struct Chunk {
    const RopeTable& rope;
    base::ThreadPool& pool;
    int layer;
    int64_t first_row, rows;
  };
  struct Qkv {
    float* data;
    int64_t stride;
  };
  void rotate(const Chunk& chunk, Qkv qkv) const;
  void store_keys(const Chunk& chunk, Qkv qkv, attend::KvCache& cache) const;
  void attend(int layer, attend::Sequence& sequence, base::ThreadPool& pool) const;

 private:
  void rotate_head(const Chunk& chunk, float* head, int64_t position, int reorder) const;
  void change_outputs(const LayerTable& table, const attend::Sequence& sequence) const;

  ModelConfig config_;
  std::shared_ptr<const ScoreTable> table_;
  std::shared_ptr<const Variant> variant_;
  const ScoreTable* active_ = nullptr;        // table_, or the variant's
  std::vector<uint8_t> row_span_, key_span_;  // active_'s, up to the capacity
  bool late_ = false;
};

}  // namespace bareattn::model
