// The two reports of `measures`: tables for a person, JSON for a program.
#pragma once
#include <string>

#include "bareattn/observation.h"
#include "bareattn/sweep.h"

namespace bareattn::cli {

struct MeasuresReport {
  const Observation* observation = nullptr;
  const Sweep* sweep = nullptr;
  SweepGroups groups;           // of the sweep
  MeasureGroups shown;          // of the pass; those that need more than the row's shares are left out where weighted
  bool listed = false;          // whether the tables have columns for `shown`
  bool value_weighted = false;  // of the shares of |p v W_O|
  std::string sort;             // the column that the heads are sorted by, the most first; empty: by layer and head
  int64_t top = 0;              // how many heads are listed; 0: all
};

std::string measures_json(const MeasuresReport& report);
/// Of 80 columns. InputError where there is no column `sort`.
std::string measures_text(const MeasuresReport& report);

}  // namespace bareattn::cli
