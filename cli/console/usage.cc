// See usage.h.
#include "console/usage.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <string_view>

namespace bareattn::cli {
namespace {

using Names = std::vector<std::string>;

// Letters to be put in, left out, exchanged, or swapped with the next.
size_t edits(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  std::iota(d[0].begin(), d[0].end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i)
    for (size_t j = 1; j <= b.size(); ++j) {
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  return d[a.size()][b.size()];
}

// "; did you mean 'look'?" where one of the names is near, else nothing.
std::string suggestion(const std::string& word, const Names& names) {
  if (word.size() > 40) return {};
  const auto nearer = [&](const std::string& a, const std::string& b) { return edits(word, a) < edits(word, b); };
  const auto best = std::min_element(names.begin(), names.end(), nearer);
  const bool near = best != names.end() && edits(word, *best) <= std::max<size_t>(1, word.size() / 3);
  return near ? "; did you mean '" + *best + "'?" : "";
}

std::string unknown_command(const CLI::App& app, const std::string& word) {
  Names names{"help", "version"};
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(sub->get_name());
  return "there is no command '" + word + "'" + suggestion(word, names) + " (bareattn --help lists all)";
}

std::string unknown_option(const CLI::App& command, const std::string& word) {
  Names names;
  for (const CLI::Option* option : command.get_options()) {
    for (const auto& name : option->get_snames()) names.push_back("-" + name);
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
  }
  const std::string name = word.substr(0, word.find('='));
  return fmt::format("{} has no option '{}'{} (see bareattn {} --help)", command.get_name(), name,
                     suggestion(name, names), command.get_name());
}

}  // namespace

std::vector<std::string> with_plain_words(const CLI::App& app, std::vector<std::string> arguments) {
  if (arguments.empty()) return arguments;
  if (arguments[0] == "version" && arguments.size() == 1) return {"--version"};
  if (arguments[0] == "help" && arguments.size() == 1) return {"--help"};
  if (arguments[0] == "help" && arguments.size() == 2) arguments = {arguments[1], "--help"};
  const std::string& name = arguments[0];
  const auto commands = app.get_subcommands([&](const CLI::App* command) { return command->get_name() == name; });
  // Of no command, --help would be that of all: the word alone is refused.
  if (commands.empty() && !name.starts_with("-") && name != "help" && name != "version") return {name};
  return arguments;
}

std::string unexpected(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  std::vector<std::string> left = app.remaining(true);
  if (left.empty()) return "too many arguments (see bareattn --help)";
  if (chosen.empty()) return left[0].starts_with("-") ? unknown_option(app, left[0]) : unknown_command(app, left[0]);
  const CLI::App& command = *chosen[0];
  for (const std::string& word : left)
    if (word.size() > 1 && word[0] == '-') return unknown_option(command, word);
  const bool takes_text = command.get_option_no_throw("--text") != nullptr;
  return fmt::format("{} takes no more arguments, but there {} '{}'{} (see bareattn {} --help)", command.get_name(),
                     left.size() == 1 ? "is" : "are", fmt::join(left, "' '"),
                     takes_text ? "; a text of several words stands in quotes, \"the cat sat\"" : "",
                     command.get_name());
}

}  // namespace bareattn::cli
