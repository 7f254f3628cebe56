// What the summary of `look` says of the measures that need a second look: a line for each, a label and a sentence.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "bareattn/sweep.h"

namespace bareattn::cli {

std::vector<std::pair<std::string, std::string>> second_look_lines(const Sweep& sweep, const SweepGroups& groups);

}  // namespace bareattn::cli
