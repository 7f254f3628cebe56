// What a sweep adds to the JSON of a head, the same in `look` and `measures`.
#pragma once
#include <nlohmann/json.hpp>

#include "bareattn/sweep.h"

namespace bareattn::cli {

/// Seven significant digits, as much as the f32 behind it holds. NaN and infinities become null.
nlohmann::ordered_json json_number(double value);
/// Appends {"id", "title", "unit", "description"} of the groups' measures.
void append_swept_infos(nlohmann::ordered_json& measures, const SweepGroups& groups);
/// Adds to head["means"], and "distance_bins", "stripe", "templates" where asked for.
void add_sweep(nlohmann::ordered_json& head, const HeadSweep& sweep, const SweepGroups& groups);

}  // namespace bareattn::cli
