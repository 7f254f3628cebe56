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
  CLI::Option* named = nullptr;  // counts what was given

  /// `help`: what is done with the groups. `second_look`: whether the command makes coverage, scores, repeats and
  /// offsets; where not, they are refused with the word that does.
  void declare(CLI::App& command, const std::string& help, bool second_look);
  /// Whether any group of the pass (rows to all, none) was given.
  bool of_pass() const;
  bool gives(const char* group) const;
  /// InputError where `none` is not alone, or --span is given but the group is not.
  MeasureGroups measures() const;
  SweepGroups swept() const;
  /// What --span names in these tokens, and with `question` (not empty: a chat) the parts of the template. InputError
  /// as find_spans.
  std::vector<NamedSpan> find(const Tokenizer& tokenizer, const std::vector<int32_t>& tokens,
                              const std::string& question) const;
};

inline constexpr const char* groups_help =
    "what is measured, and paid for: rows, distance, spans, columns, map; values (what a weight on each key carries); "
    "spread, agreement (between the heads of a layer); roles (what they need); all, none";
inline constexpr const char* second_look_help = "; by a second look: coverage, scores, repeats, offsets";

}  // namespace bareattn::cli
