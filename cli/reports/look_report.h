// The two reports of `look`: a terminal summary for a person, and JSON for a program (docs/json.md,
// docs/schema/look.schema.json).
#pragma once
#include <optional>
#include <string>

#include "bareattn/agreement.h"
#include "bareattn/head_roles.h"
#include "bareattn/observation.h"
#include "bareattn/sweep.h"
#include "console/terminal.h"
#include "reports/last_look.h"

namespace bareattn::cli {

struct LookReport {
  const Observation* observation = nullptr;
  const HeadRoles* roles = nullptr;  // by the recipes, where the cache has them
  LastLook last;
  std::optional<Sweep> sweep;  // of the groups `swept`
  SweepGroups swept;
  bool value_weighted = false;         // last
  std::optional<Agreement> agreement;  // where the group was asked for
  std::string origin;                  // "story.txt", "standard input" or empty
  std::string page;                    // path written, or empty
  int64_t page_bytes = 0;
};

/// The heads that pass the test of a role, the best first.
std::vector<HeadId> heads_of(const HeadRoles& roles, Recipe recipe);

/// Fits the terminal's width; everything from the model or the text is escaped.
std::string look_summary(const LookReport& report, const Terminal& terminal);

inline constexpr int look_schema_version = 1;
std::string look_json(const LookReport& report);

}  // namespace bareattn::cli
