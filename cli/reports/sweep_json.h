// What the JSON of a head has in `look` and `measures` alike: of a sweep, and what gathered most.
#pragma once
#include <nlohmann/json.hpp>

#include "bareattn/sweep.h"

namespace bareattn::cli {

/// Seven significant digits, as much as the f32 behind it holds. NaN and infinities become null.
nlohmann::ordered_json json_number(double value);
/// Appends {"id", "title", "unit", "description"} of the groups' measures.
void append_swept_infos(nlohmann::ordered_json& measures, const SweepGroups& groups);
/// Adds to head["means"], and "distance_bins", "stripe", "stripes", "templates" where asked for.
void add_sweep(nlohmann::ordered_json& head, const HeadSweep& sweep, const SweepGroups& groups);

/// The token after the first that gathered most, as a share of the rows that could see it (at least 16, and an eighth);
/// key -1: there is none.
struct Gathered {
  int64_t key = -1;
  double share = 0;
};
Gathered gathered(const Observation& observation, HeadId head);
nlohmann::ordered_json gathered_json(const Observation& observation, HeadId head);

/// What Q and K are kept as, from which cells are made again: "f16", "bf16", "f32".
const char* store_of(const Observation& observation);

}  // namespace bareattn::cli
