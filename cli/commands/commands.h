// The commands of `bareattn`, one file each. Every add_* declares its options and examples on the app and, when the
// user chose it, sets `action`; main.cc runs the action after parsing and turns what it throws into an exit status.
// To add a command: a file here, a line in main.cc, a section in docs/cli.md, a test under tests/cli/.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>

#include "bareattn/model.h"

namespace bareattn {
class Trace;
class InputError;
}  // namespace bareattn

namespace bareattn::cli {

/// What runs after parsing; returns the exit status.
using Action = std::function<int()>;

inline constexpr int exit_ok = 0;             // done
inline constexpr int exit_failure = 1;        // could not be done (disk full, out of memory, a bug)
inline constexpr int exit_input = 2;          // wrong usage or unusable input
inline constexpr int exit_interrupted = 130;  // Ctrl-C

void add_look(CLI::App& app, Action& action);
void add_trace(CLI::App& app, Action& action);
void add_tile(CLI::App& app, Action& action);
void add_row(CLI::App& app, Action& action);
void add_page(CLI::App& app, Action& action);
void add_serve(CLI::App& app, Action& action);
void add_generate(CLI::App& app, Action& action);
void add_tokenize(CLI::App& app, Action& action);
void add_perplexity(CLI::App& app, Action& action);
void add_info(CLI::App& app, Action& action);
void add_steer(CLI::App& app, Action& action);
void add_roles(CLI::App& app, Action& action);
void add_stream(CLI::App& app, Action& action);
void add_agree(CLI::App& app, Action& action);
void add_measures(CLI::App& app, Action& action);
void add_diff(CLI::App& app, Action& action);
void add_quantize(CLI::App& app, Action& action);
void add_diagnose(CLI::App& app, Action& action);
void add_break(CLI::App& app, Action& action);
void add_completion(CLI::App& app, Action& action);

/// A range check that adds nothing to the help: the description says what matters. NaN is in no range (CLI::Range
/// refuses only what is below or above).
template <class T>
CLI::Validator within(T least, T most) {
  const auto refuse_nan = [](std::string& text) {
    double value = 0;
    const bool nan = CLI::detail::lexical_cast(text, value) && value != value;
    return nan ? "Value " + text + " is not a number" : std::string();
  };
  return (CLI::Validator(refuse_nan, "") & CLI::Range(least, most)).description("");
}

/// -m, -t, --precision and --attention, the same everywhere.
struct ModelChoice {
  std::string path;
  int threads = 0;
  std::string precision = precision_name(LoadOptions{}.precision), attention = precision_name(LoadOptions{}.attention);

  void declare(CLI::App& command);
  std::shared_ptr<const Model> load() const;  // stops with Cancelled where the user did

  /// Within a catch, of a model that does not fit: throws on, but one of BAREATTN_MODEL is meant for other commands too
  /// and left out, with a warning that begins with what is lost by it, "no tour in the page".
  void leave_out(const InputError& error, const std::string& lost) const;
  /// Whether there is a model and it made the trace. One that did not: leave_out().
  bool made(const Trace& trace, const std::string& lost) const;
  /// The same model with the precisions of the trace, so that what it runs can be compared with it.
  ModelChoice as_made(const Trace& trace) const;
};

/// InputError that names the first of these options that was given: with a trace they would do nothing.
void refuse_with_trace(const CLI::App& command, std::initializer_list<const char*> options);

}  // namespace bareattn::cli
