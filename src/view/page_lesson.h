// The page's tour as it stands in the description (docs/page-format.md, "lesson"). Next: viewer/src/tour/tour.tsx.
#pragma once
#include <nlohmann/json.hpp>

#include "bareattn/lesson.h"

namespace bareattn::view {

/// Q, K and V [n][D] and the weights [n][i + 1] with the nine digits from which each f32 can be restored; null where a
/// number is none.
nlohmann::json page_lesson(const Lesson& lesson);

}  // namespace bareattn::view
