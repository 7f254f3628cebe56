// What goes into the page within its size budget: how coarse the pooled maps are, and which heads are exact. Every head
// is always there as a pooled map; exact heads are added, most telling first, until the budget is used.
#pragma once
#include <cstdint>
#include <vector>

#include "bareattn/page.h"
#include "view/page_sections.h"

namespace bareattn::view {

struct PageContent {
  PoolLayout layout;
  int64_t thumb_size = 0;         // T
  Bytes thumbs;                   // of all heads, layer by layer
  bool has_sizes = false;         // whether keys/ sections hold what keys carry
  bool has_rows = true;           // false where the budget had no room for the measures along the edges
  std::vector<HeadId> telling;    // all heads, most telling first
  std::vector<HeadId> exact;      // those whose Q, K and LSE are embedded
  std::vector<Section> sections;  // in the order of the file: thumbs, then heads, most telling first
};

/// `fixed_size`: bytes of the page without sections. InputError where not even the pooled maps fit;
/// std::invalid_argument for a head that the model has not.
PageContent choose_content(const Observation& observation, const PageOptions& options, int64_t fixed_size);

/// The same heads of a second run, laid out as the first: its sections are named "against/...".
PageContent same_content(const Observation& against, const PageContent& first);

/// `given`, then all others: by role in turn, best score of each first, so that the first few differ.
std::vector<HeadId> telling_order(const Observation& observation, const std::vector<HeadId>& given);

}  // namespace bareattn::view
