// The derived measures: what the attention pass wrote per row (attention.h) made into the measures that people read
// (observation.h). One row in, one number out; definitions with sources in docs/measures.md.
// To add a measure: the enum in observation.h, a line in `infos` (measures.cc), a case in row_measure, docs, a test.
#pragma once
#include <cstdint>
#include <string>

#include "bareattn/attention.h"
#include "bareattn/observation.h"

namespace bareattn::observing {

/// A per-row array of the attention pass: where AttentionStatistics points to it, its name in a trace, its group.
struct RowArray {
  const char* name;
  float* AttentionStatistics::*place;  // null: max_key, which is int32
  bool MeasureGroups::*group;          // null: always kept
};
const std::vector<RowArray>& row_arrays();
/// Those of the groups, in order.
std::vector<RowArray> row_arrays(const MeasureGroups& groups);
/// The array a measure is made from.
const char* source_of(Measure measure);
/// The group, as --measures names it, that keeps the tensor `name` of a trace.
const char* group_of(const std::string& name);
/// Indicators of the sets, [N, sets]: what AttentionStatistics::key_columns is given.
std::vector<float> span_columns(const std::vector<SpanSet>& sets, int64_t length);

/// The measure of the row at absolute position `row`, whose statistics stand at `at` in every per-row array.
/// Raw: a NaN that the pass wrote comes through.
float row_measure(Measure measure, const AttentionStatistics& statistics, int64_t at, int64_t row);

/// How many of the last keys recent_mass spans, the row's own included (fixed by the attention pass).
inline constexpr int recent_window = 64;

}  // namespace bareattn::observing
