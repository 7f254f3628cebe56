// `bareattn completion bash|zsh|fish`: a completion script made from the options themselves, so it is never stale.
#include <fmt/format.h>

#include <algorithm>

#include "commands/commands.h"

namespace bareattn::cli {
namespace {

struct Flag {
  std::string name;  // with dashes
  std::string description;
};

struct Command {
  std::string name, description;
  std::vector<Flag> flags;
};

std::vector<Command> commands_of(const CLI::App& app) {
  std::vector<Command> commands;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    Command command{sub->get_name(), sub->get_description(), {}};
    for (const CLI::Option* option : sub->get_options()) {
      for (const auto& name : option->get_snames()) command.flags.push_back({"-" + name, option->get_description()});
      for (const auto& name : option->get_lnames()) command.flags.push_back({"--" + name, option->get_description()});
    }
    commands.push_back(std::move(command));
  }
  return commands;
}

std::string without(std::string text, std::string_view unwanted) {
  std::erase_if(text, [&](char c) { return unwanted.find(c) != std::string_view::npos; });
  return text;
}

std::string joined(const std::vector<Flag>& flags) {
  std::string all;
  for (const Flag& flag : flags) all += (all.empty() ? "" : " ") + flag.name;
  return all;
}

std::string bash(const std::vector<Command>& commands) {
  std::string names, cases;
  for (const Command& c : commands) {
    names += (names.empty() ? "" : " ") + c.name;
    const std::string words = c.name == "completion" ? "bash zsh fish " + joined(c.flags) : joined(c.flags);
    cases += fmt::format("    {}) words=\"{}\" ;;\n", c.name, words);
  }
  return fmt::format(
      "# bash completion for bareattn: source <(bareattn completion bash)\n"
      "_bareattn() {{\n"
      "  local word=\"${{COMP_WORDS[COMP_CWORD]}}\" words=\"{} --help --version\"\n"
      "  if [ \"$COMP_CWORD\" -gt 1 ]; then case \"${{COMP_WORDS[1]}}\" in\n"
      "{}"
      "  esac; fi\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
      "}}\n"
      "complete -o default -F _bareattn bareattn\n",
      names, cases);
}

std::string zsh(const std::vector<Command>& commands) {
  std::string list, cases;
  for (const Command& c : commands) {
    list += fmt::format("    '{}:{}'\n", c.name, without(c.description, "':"));
    std::string specs;
    for (const Flag& f : c.flags) specs += fmt::format(" '{}[{}]'", f.name, without(f.description, "'[]:"));
    if (c.name == "completion") specs += " '1:shell:(bash zsh fish)'";
    cases += fmt::format("    {}) _arguments{} '*:file:_files' ;;\n", c.name, specs);
  }
  return fmt::format(
      "#compdef bareattn\n"
      "# zsh completion for bareattn: bareattn completion zsh > a directory of $fpath, as _bareattn\n"
      "_bareattn() {{\n"
      "  local -a commands=(\n{}  )\n"
      "  if (( CURRENT == 2 )); then _describe command commands; return; fi\n"
      "  local name=$words[2]\n"
      "  shift words; (( CURRENT-- ))\n"
      "  case $name in\n{}  esac\n"
      "}}\n"
      "compdef _bareattn bareattn\n",
      list, cases);
}

std::string fish(const std::vector<Command>& commands) {
  std::string out = "# fish completion for bareattn: bareattn completion fish | source\n";
  for (const Command& c : commands) {
    out += fmt::format("complete -c bareattn -n __fish_use_subcommand -a {} -d '{}'\n", c.name,
                       without(c.description, "'"));
    for (const Flag& f : c.flags) {
      const bool is_long = f.name.starts_with("--");
      out += fmt::format("complete -c bareattn -n '__fish_seen_subcommand_from {}' -{} {} -d '{}'\n", c.name,
                         is_long ? "l" : "s", f.name.substr(is_long ? 2 : 1), without(f.description, "'"));
    }
  }
  out += "complete -c bareattn -n '__fish_seen_subcommand_from completion' -f -a 'bash zsh fish'\n";
  return out;
}

}  // namespace

void add_completion(CLI::App& app, Action& action) {
  auto shell = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("completion", "print a completion script for your shell");
  command->add_option("SHELL", *shell, "bash, zsh or fish")
      ->type_name("")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}).description(""));
  command->footer("Example, for bash:\n  source <(bareattn completion bash)");
  command->callback([shell, &app, &action] {
    action = [shell, &app] {
      const auto commands = commands_of(app);
      fmt::print("{}", *shell == "bash" ? bash(commands) : *shell == "zsh" ? zsh(commands) : fish(commands));
      return exit_ok;
    };
  });
}

}  // namespace bareattn::cli
