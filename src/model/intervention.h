// What a steered or broken run does otherwise (score_table.h, variant.h), in the three places of a layer where it can:
// the rotation of Q and K, the keys that are stored, and the attention call. A run without one never comes here.
// Refuses a table or variant that was made for another model. Where to go next: layer.cc, which calls it.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "bareattn/model.h"
#include "bareattn/score_table.h"
#include "bareattn/variant.h"
#include "model/attention_steps.h"

namespace bareattn::model {

class Intervention final : public AttentionSteps {
 public:
  /// Either may be null. std::invalid_argument where sizes do not fit the model.
  Intervention(const Architecture& config, std::shared_ptr<const ScoreTable> table,
               std::shared_ptr<const Variant> variant);

  const ScoreTable* table() const { return active_; }  // what steers the scores; null: nothing does
  bool has_window() const;                             // the table's, in any layer
  /// The angles of this run: `own`, or others where the variant says so. position_scale as in RopeTable.
  RopeTables rope_of(const RopeTables& own, std::span<const float> factors, double position_scale) const;
  int cache_heads() const { return variant_->plain_cache() ? config_.kv_heads : config_.heads; }
  /// Angles are needed for so many positions more than there are rows.
  int64_t extra_positions() const;
  /// Before every Session::run(): rows that were there already.
  void begin_run(int64_t length) { late_ = length > 0; }

  void rotate(const Chunk& chunk, Qkv qkv) const override;
  void store_keys(const Chunk& chunk, Qkv qkv, attend::KvCache& cache) const override;
  void attend(int layer, attend::Sequence& sequence, base::ThreadPool& pool) const override;

 private:
  void rotate_head(const Chunk& chunk, float* head, int64_t position, int reorder) const;
  void change_outputs(const LayerTable& table, const attend::Sequence& sequence) const;

  Architecture config_;
  std::shared_ptr<const ScoreTable> table_;
  std::shared_ptr<const Variant> variant_;
  const ScoreTable* active_ = nullptr;  // table_, or the variant's
  bool late_ = false;
};

}  // namespace bareattn::model
