// What the page's tour needs: one head on one short sentence, every number of it. Next: viewer/src/tour.tsx.
#pragma once
#include <nlohmann/json.hpp>

#include "bareattn/observation.h"

namespace bareattn::view {

inline constexpr int64_t lesson_tokens = 16;  // more do not fit on a screen

/// The sentence's tokens, and of the most telling of its heads Q, K and V [N][D] and the engine's weights [N][i + 1],
/// with the row and key it is told by: from "it" to "cat" where the sentence has these, else the heaviest weight that
/// goes neither to the first token nor to the token itself or the one before. std::invalid_argument where the
/// observation holds no V or more than lesson_tokens; null where the sentence has no such pair (fewer than four
/// tokens).
nlohmann::json page_lesson(const Observation& observation);

}  // namespace bareattn::view
