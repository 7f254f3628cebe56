// See reach_choice.h.
#include "options/reach_choice.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdio>

#include "bareattn/error.h"
#include "commands/commands.h"
#include "console/terminal.h"

namespace bareattn::cli {
namespace {

// Digits only; -1 where the text is anything else.
int64_t number(std::string_view text) {
  int64_t value = -1;
  if (text.empty()) return -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && text.front() != '-' ? value : -1;
}

}  // namespace

void ReachChoice::declare_beyond(CLI::App& command) {
  command
      .add_option("--beyond", beyond,
                  "a text longer than the model's context: refuse, extrapolate (positions go on) or scale (positions "
                  "are squeezed into the context)")
      ->type_name("HOW")
      ->check(CLI::IsMember({"refuse", "extrapolate", "scale"}).description(""))
      ->capture_default_str();
}

void ReachChoice::declare(CLI::App& command) {
  declare_beyond(command);
  CLI::Option* window_option =
      command.add_option("--window", window, "a token sees only this many tokens before it (and itself)")
          ->type_name("W")
          ->check(within<int64_t>(0, int64_t{1} << 40));
  command.add_option("--sinks", sinks, "and the first S tokens of the text")
      ->type_name("S")
      ->check(within<int64_t>(0, int64_t{1} << 40))
      ->needs(window_option);
}

Reach ReachChoice::reach() const {
  Reach reach;
  if (beyond == "extrapolate") reach.beyond = Beyond::extrapolate;
  if (beyond == "scale") reach.beyond = Beyond::scale;
  reach.window = window;
  reach.sinks = sinks;
  return reach;
}

void ReachChoice::warn(const ModelConfig& config, int64_t tokens) const {
  if (tokens <= config.context_length || beyond == "refuse") return;
  fmt::print(stderr, "bareattn: warning: {} tokens are more than the {} that the model was trained for; positions {}\n",
             grouped(tokens), grouped(config.context_length),
             beyond == "scale" ? "are squeezed into its context" : "go on past its context");
}

namespace {

// A position in a text: from its end where it is negative, so that -1 is the last; -1 where it is none.
int64_t position(std::string_view text, int64_t length) {
  if (!text.starts_with('-')) return number(text);
  const int64_t back = number(text.substr(1));
  return back < 1 || back > length ? -1 : length - back;
}

}  // namespace

TraceRange parse_range(const char* what, const std::string& text, int64_t length) {
  const size_t colon = text.find(':');
  const std::string_view whole = text;
  TraceRange range;
  if (colon == std::string::npos) {
    range.begin = position(whole, length);
    range.end = range.begin + 1;
  } else {
    range.begin = colon == 0 ? 0 : position(whole.substr(0, colon), length);
    range.end = colon + 1 == text.size() ? length : position(whole.substr(colon + 1), length);
  }
  if (text.empty() || range.begin < 0 || range.end < range.begin || range.end > length) {
    throw InputError(fmt::format("{}: '{}' is no range BEGIN:END within 0:{} (-1 is the last)", what, text, length));
  }
  return range;
}

HeadId parse_head(const std::string& text, const ModelConfig& config) {
  const size_t dot = text.find('.');
  const std::string_view whole = text;
  const int64_t layer = dot == 0 || dot == std::string::npos ? -1 : number(whole.substr(0, dot));
  const int64_t head = layer < 0 || dot + 1 == text.size() ? -1 : number(whole.substr(dot + 1));
  if (layer < 0 || head < 0 || layer >= config.layers || head >= config.heads) {
    throw InputError(fmt::format("'{}' is no head: LAYER.HEAD is needed, layer 0 to {}, head 0 to {}", text,
                                 config.layers - 1, config.heads - 1));
  }
  return {static_cast<int>(layer), static_cast<int>(head)};
}

}  // namespace bareattn::cli
