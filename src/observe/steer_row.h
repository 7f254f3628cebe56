// The table of a steered run applied to one row of recomputed logits, as the attention pass applied it.
#pragma once
#include <cstdint>
#include <vector>

#include "bareattn/observation.h"
#include "bareattn/score_table.h"

namespace bareattn::observing {

/// logits[j] of row `row` against key j, for all j given.
void steer_row(const ScoreTable& table, HeadId head, int64_t row, std::vector<float>& logits);

}  // namespace bareattn::observing
