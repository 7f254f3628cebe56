// The one place where it is said what happens between q.k and the softmax: scale, softcap, window, causality, ALiBi,
// sink logits and the bias of steering, of a layer and of a head. The pass runs by a rule, traces and pages carry
// it, and whoever makes a score again (exact cells, rows, diagnosis, probes, the browser) asks it and nothing else.
// A score is softcap(scale q.k) + ALiBi + bias, and minus infinity where the key is not seen; the sink logit is one
// more term of the denominator. Next: ScoreTerms in attention.h, which the kernels take.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "bareattn/attention.h"
#include "bareattn/length.h"
#include "bareattn/score_table.h"

namespace bareattn {

struct Architecture;

/// The rule of one layer, or of one of its heads (of_head). The spans of `bias` belong to the ScoreRules that made it.
struct ScoreRule {
  float scale = 0;                       // of q.k; 0: 1 / sqrt(D), which score_rules() puts here
  float softcap = 0;                     // c: s = c tanh(s / c); 0: none
  int64_t left_window = -1;              // keys before its own that a row sees; -1: all
  int64_t leading_keys = 0;              // ... and so many at the beginning
  int64_t right_window = 0;              // keys past its own that a row sees; -1: all; 0: causal
  std::vector<float> alibi_slopes = {};  // [heads]: s += slope (key - row); empty: none
  std::vector<float> sinks = {};         // [heads]: a logit in the denominator only; empty: none
  SpanBias bias = {};                    // what steering adds, and by what it multiplies; empty: nothing

  /// The rule of one head: every array has one entry.
  ScoreRule of_head(int head) const;
  /// The same rule where positions of rows and keys count from `first`.
  ScoreRule from(int64_t first) const;
  bool sees(int64_t row, int64_t key) const;
  /// The slow form, of one head: the score of a cell from its q.k; minus infinity where the key is not seen.
  double score(double dot, int64_t row, int64_t key) const;
  /// The same for a row, of one head: q.k of the keys [0, dots.size()) become scores, rounded as the pass rounds them.
  void score_row(int64_t row, std::span<float> dots) const;
};

/// The rules of a run: what the architecture says, then what the run departs by. A window of the run narrows the
/// layer's own and keeps the run's leading keys; where the layer's own is no wider, it stays. A table's window takes
/// the place of both, and so do its sinks.
class ScoreRules {
 public:
  ScoreRules() = default;
  /// `positions`: rows and keys that a rule may be asked for. The table may be null; it must outlive the rules.
  ScoreRules(const Architecture& architecture, const Reach& reach, const ScoreTable* table, int64_t positions);

  ScoreRules(const ScoreRules&) = delete;
  ScoreRules& operator=(const ScoreRules&) = delete;
  ScoreRules(ScoreRules&&) = default;
  ScoreRules& operator=(ScoreRules&&) = default;

  const ScoreRule& layer(int layer) const { return layers_.at(static_cast<size_t>(layer)); }
  ScoreRule head(int layer, int head) const { return this->layer(layer).of_head(head); }

 private:
  std::vector<ScoreRule> layers_;
  std::vector<uint8_t> row_span_, key_span_;  // the table's, up to `positions`
};

/// The rule as attention() takes it. Points into the rule.
AttentionParams attention_params(const ScoreRule& rule);

}  // namespace bareattn
