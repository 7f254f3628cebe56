// --beyond, --window and --sinks, the same wherever a text is run; and ranges and heads as trace commands take them.
#pragma once
#include <CLI/CLI.hpp>
#include <string>

#include "bareattn/length.h"
#include "bareattn/trace.h"

namespace bareattn::cli {

struct ReachChoice {
  std::string beyond = "refuse";
  int64_t window = -1, sinks = 0;

  void declare(CLI::App& command);         // all three
  void declare_beyond(CLI::App& command);  // --beyond alone
  Reach reach() const;
  /// Says on stderr what was chosen, where the text is longer than the model's context.
  void warn(const ModelConfig& config, int64_t tokens) const;
};

/// "a:b" as [a, b), an empty end as the first or `length`; "a" as [a, a + 1). InputError where it is not within length.
TraceRange parse_range(const char* what, const std::string& text, int64_t length);
/// "5.3". InputError where it is no head of the model.
HeadId parse_head(const std::string& text, const ModelConfig& config);

}  // namespace bareattn::cli
