// --measures and --span: what is measured, the same wherever a text is observed.
#pragma once
#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "bareattn/observation.h"
#include "bareattn/sweep.h"

namespace bareattn::cli {

struct MeasuresChoice {
  std::vector<std::string> groups{"rows", "distance", "spans", "columns", "map"}, spans;

  /// `with_swept`: the groups that are made by a second look too, which a trace has no need to keep.
  void declare(CLI::App& command, bool with_swept = false);
  /// InputError where --span is given but the group is not.
  MeasureGroups measures() const;
  SweepGroups swept() const;
  /// What --span names in these tokens, and with `question` (not empty: a chat) the parts of the template. InputError
  /// as find_spans.
  std::vector<NamedSpan> find(const Tokenizer& tokenizer, const std::vector<int32_t>& tokens,
                              const std::string& question) const;
};

}  // namespace bareattn::cli
