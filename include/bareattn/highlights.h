// Which heads to show first. A model has hundreds; these rankings name the few that tell most about a text, and why,
// in a sentence. Pure: an Observation in, a list out.
#pragma once
#include <string>
#include <vector>

#include "bareattn/observation.h"

namespace bareattn {

/// The top head of one ranking. `title` says what the ranking looks for, `evidence` what this head does.
struct Highlight {
  std::string id;     // "previous-token": the name in JSON
  std::string title;  // "Looks one token back"
  HeadId head;
  double value = 0;      // what was ranked; higher is more telling
  std::string evidence;  // "puts 0.93 of its weight on the token before"
};

/// One highlight per ranking that found somebody, most telling ranking first; a head is named once. The rankings and
/// their formulas are in docs/measures.md. A text of one token has none.
std::vector<Highlight> highlights(const Observation& observation);

/// All heads, most telling first: the best of every ranking, then the second of every ranking, and so on, so that any
/// prefix is diverse.
std::vector<HeadId> telling_heads(const Observation& observation);

}  // namespace bareattn
