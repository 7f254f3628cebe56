// The page: one self-contained HTML file that shows an Observation. No request to anything, opens from file://.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bareattn/agreement.h"
#include "bareattn/diff.h"
#include "bareattn/head_roles.h"
#include "bareattn/lesson.h"
#include "bareattn/observation.h"

namespace bareattn {

struct PageOptions {
  std::string title;
  int64_t size_budget = 25'000'000;  // bytes of the whole file; decides how many heads are exact
  std::vector<HeadId> exact;  // heads to embed exactly; empty: chosen (all where they fit, else the most telling)
  bool pooled_only = false;   // no head exact, only pooled maps: the smallest page; `exact` must be empty
  std::shared_ptr<const HeadRoles> recipe_roles;    // what the heads are for, beside what they do in this text; or null
  std::shared_ptr<const Agreement> agreement = {};  // of every layer: exact likenesses of its heads; or null
  std::vector<HeadId> telling;  // heads, most telling first: who goes in first, and what the page opens with
  bool value_weighted = false;  // opens with weights times the size of what keys carry, where that was kept
  std::shared_ptr<const Lesson> lesson = {};  // what the page's tour is told on, of the same model; null: no tour
  /// A second run over the same tokens: the page shows the two beside each other and as a difference, second less
  /// first. Heads are exact in both or in neither. Null: one run.
  std::shared_ptr<const Observation> against = {};
  std::string against_title = {};
  std::shared_ptr<const RunDiff> changes = {};  // of the two (diff.h): how much each head changed; or null
};

/// The page as HTML text. Deterministic for the same observation and options.
std::string render_page(const Observation& observation, const PageOptions& options = {});

}  // namespace bareattn
