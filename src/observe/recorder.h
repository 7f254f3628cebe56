// The Observer behind observe(): gives the attention pass the arrays to write its statistics to, and keeps Q and K as
// binary16. It takes a run of exactly the tokens announced, in one piece or in chunks, in order. Layers may come from
// different threads at once (no two write the same memory); one layer comes from one thread at a time.
//
// Memory for N tokens, L layers, Hq and Hkv heads of D: 44 L Hq N bytes of row statistics (4 more a named span),
// 8 L Hq N of received weight, 12 L Hq b (b + 1) / 2 of pooled maps (b <= 256 blocks), 2 L (Hq + Hkv) D N of Q and K,
// 2 L Hkv D N of V where it is kept, and during the run another 2 L Hkv D N, by which the last row is exact.
// What the keys carry takes another 4 L Hq N. SmolLM2-135M at 2,048 tokens: 26 + 27 + 94 + 24 MB.
#pragma once
#include <memory>
#include <vector>

#include "bareattn/attention.h"
#include "bareattn/observation.h"
#include "bareattn/points.h"
#include "base/aligned.h"
#include "observe/measures.h"
#include "observe/output_watch.h"

namespace bareattn::observing {

/// The smallest power of two that gives at most 40 blocks a side, where that is below 16; else at most 256, from 16 on.
int choose_pool_block(int64_t tokens);

class Recorder final : public Observer {
 public:
  Recorder(const Architecture& architecture, int64_t tokens, const ObservationOptions& options);
  /// Before the run, where `values` or `agreement` are measured: the model that runs.
  void watch_outputs(const Model& model);

  bool wants(Point point, int layer) override;
  void see(const Event& event) override;
  const AttentionStatistics* attention_statistics(int layer, int64_t first_row, int64_t rows) override;

  /// After the run: the last row's weights, [L, Hq, N], are made and what only they need is let go.
  void finish();

  int64_t tokens() const { return tokens_; }
  int layers() const { return layers_; }
  int heads() const { return heads_; }
  int kv_heads() const { return kv_heads_; }
  int head_dim() const { return head_dim_; }
  int pool_block() const { return pool_block_; }
  int64_t pool_blocks() const { return (tokens_ + pool_block_ - 1) / pool_block_; }
  const MeasureGroups& groups() const { return groups_; }
  const std::vector<SpanSet>& span_sets() const { return sets_; }
  const float* carried(HeadId head) const { return carried_.as<float>() + index(head) * tokens_; }  // [N]
  const std::vector<float>& cosines(int layer) const { return outputs_->cosines(layer); }           // [Hq, Hq]
  bool keeps_v() const { return keep_v_; }
  bool keeps_qk() const { return keep_qk_; }
  const ScoreTable* table() const { return table_.get(); }  // what the run was steered by, or null
  const ScoreRules& rules() const { return rules_; }
  /// The whole of one head's statistics: per-row arrays, received and pooled maps begin at the head's first element.
  AttentionStatistics head_statistics(HeadId head) const;
  const uint16_t* q(HeadId head) const;             // [N, D]
  const uint16_t* k(int layer, int kv_head) const;  // [N, D]
  const uint16_t* v(int layer, int kv_head) const;  // [N, D]; keeps_v() only
  const float* last_row(HeadId head) const { return last_row_.data() + index(head) * tokens_; }  // [N]; keeps_qk() only

 private:
  int64_t index(HeadId head) const { return int64_t{head.layer} * heads_ + head.head; }
  void keep_q(const Event& event);
  void keep_k(const Event& event);
  void keep_v(const Event& event);
  void keep_carried(const Event& event);
  AttentionStatistics statistics_from(int64_t head_index, int64_t row) const;

  int64_t tokens_;
  int layers_, heads_, kv_heads_, head_dim_;
  bool keep_qk_, keep_v_;
  std::shared_ptr<const ScoreTable> table_;
  ScoreRules rules_;
  int pool_block_;
  MeasureGroups groups_;
  std::vector<RowArray> arrays_;  // of the groups
  std::vector<SpanSet> sets_;
  std::vector<float> key_columns_;  // [N, sets]
  base::AlignedBuffer row_floats_;  // [arrays, then sets][L, Hq, N]; max_key's are int32
  base::AlignedBuffer received_;    // [L, Hq, N] u64
  base::AlignedBuffer pool_sum_;    // [L, Hq, b (b + 1) / 2] u64
  base::AlignedBuffer pool_max_;    // the same in f32
  base::AlignedBuffer carried_;     // [L, Hq, N] f32
  std::unique_ptr<OutputWatch> outputs_;
  std::unique_ptr<uint16_t[]> q_;      // [L, Hq, N, D]
  std::unique_ptr<uint16_t[]> k_;      // [L, Hkv, N, D]
  std::unique_ptr<uint16_t[]> v_;      // [L, Hkv, N, D]
  std::unique_ptr<uint16_t[]> k_low_;  // the same: what rounding K to f16 lost, itself in f16; gone after finish()
  std::vector<float> last_q_;          // [L, Hq, D]
  std::vector<float> last_row_;        // [L, Hq, N]
  std::vector<AttentionStatistics> handed_;  // [L]: what attention_statistics last gave out
};

/// q . k of one query over keys [0, dots.size()), f32. K [count, D] f16, `low` null or its rounding loss.
void row_dots(const float* q, const uint16_t* k, const uint16_t* low, int dim, std::vector<float>& dots);

}  // namespace bareattn::observing
