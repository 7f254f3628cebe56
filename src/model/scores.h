// A ScoreRule (bareattn/scores.h) as the attention pass takes it. Where to go next: layer.cc, which runs by it.
#pragma once
#include "attention/run.h"
#include "bareattn/scores.h"

namespace bareattn::model {

inline bool has_bias(const ScoreRule& rule) { return !rule.bias.value.empty() || !rule.bias.head_scale.empty(); }

/// Points into the rule.
ScoreTerms score_terms(const ScoreRule& rule);

/// Scale, window and terms of the sequence. Points into the rule.
void set_scores(attend::Sequence& sequence, const ScoreRule& rule);

}  // namespace bareattn::model
