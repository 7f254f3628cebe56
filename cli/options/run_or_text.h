// What a command looks at: a trace that is there (RUN.safetensors), or a text that is run now with -m.
#pragma once
#include <CLI/CLI.hpp>
#include <memory>

#include "bareattn/observation.h"
#include "commands/commands.h"
#include "options/input.h"
#include "options/measures_choice.h"
#include "options/reach_choice.h"

namespace bareattn::cli {

struct RunOrText {
  ModelChoice model;
  InputChoice input;
  ReachChoice reach;
  TokenChoice encoding;

  void declare(CLI::App& command);
  bool is_run() const;
  /// The trace (with -m: checked to be of that model), or a run of the text in which `groups` are measured, and the
  /// weight on what --span of `spans` names (and --chat: the template's parts). InputError for spans of a trace, and
  /// for options that say how a text is run.
  std::shared_ptr<const Observation> observation(const MeasureGroups& groups,
                                                 const MeasuresChoice* spans = nullptr) const;

 private:
  const CLI::App* command_ = nullptr;
};

}  // namespace bareattn::cli
