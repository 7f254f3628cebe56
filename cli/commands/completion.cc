// `bareattn completion bash|zsh|fish`: a completion script made from the options themselves, so it is never stale.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>

#include "commands/commands.h"

namespace bareattn::cli {
namespace {

struct Flag {
  std::string name;  // with dashes
  std::string description;
  bool takes_value = false;
  std::vector<std::string> values;  // where they are few and known; else the value is a file's name or a number
};

// The words of its description that an option's check lets pass, where it is picky: "f32 or bf16" gives both.
std::vector<std::string> values_of(CLI::Option& option) {
  const auto passes = [&](std::string word) {
    for (int i = 0;; ++i) {
      CLI::Validator* check = nullptr;
      try {
        check = option.get_validator(i);
      } catch (const CLI::OptionNotFound&) {
        return true;
      }
      if (!(*check)(word).empty()) return false;
    }
  };
  std::vector<std::string> values;
  if (passes("no-such-value") || passes("1")) return values;
  std::string word;
  for (const char c : option.get_description() + " ") {
    const bool letter = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-';
    if (letter) {
      word += c;
    } else if (!word.empty()) {
      if (passes(word) && std::find(values.begin(), values.end(), word) == values.end()) values.push_back(word);
      word.clear();
    }
  }
  return values;
}

struct Command {
  std::string name, description;
  std::vector<Flag> flags;
};

std::vector<Command> commands_of(CLI::App& app) {
  std::vector<Command> commands;
  for (CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    Command command{sub->get_name(), sub->get_description(), {}};
    for (CLI::Option* option : sub->get_options([](const CLI::Option*) { return true; })) {
      const bool takes_value = option->get_type_size_max() > 0 && option->get_items_expected_max() > 0;
      const auto add = [&](const std::string& name) {
        command.flags.push_back({name, option->get_description(), takes_value, values_of(*option)});
      };
      for (const auto& name : option->get_snames()) add("-" + name);
      for (const auto& name : option->get_lnames()) add("--" + name);
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

std::string joined(const std::vector<std::string>& words) { return fmt::format("{}", fmt::join(words, " ")); }

// What follows an option: one of its values, or whatever the shell completes, which is a file's name.
std::string bash_values(const Command& c) {
  std::string cases, files;
  for (const Flag& flag : c.flags) {
    if (!flag.takes_value) continue;
    if (flag.values.empty())
      files += (files.empty() ? "" : "|") + flag.name;
    else
      cases += fmt::format("      {}) words=\"{}\" ;;\n", flag.name, joined(flag.values));
  }
  if (!files.empty()) cases += fmt::format("      {}) return ;;\n", files);
  return cases;
}

std::string bash(const std::vector<Command>& commands) {
  std::string names, cases;
  for (const Command& c : commands) {
    names += (names.empty() ? "" : " ") + c.name;
    const std::string words = c.name == "completion" ? "bash zsh fish " + joined(c.flags) : joined(c.flags);
    cases += fmt::format("    {}) words=\"{}\"\n      case \"$before\" in\n{}      esac ;;\n", c.name, words,
                         bash_values(c));
  }
  return fmt::format(
      "# bash completion for bareattn: source <(bareattn completion bash)\n"
      "_bareattn() {{\n"
      "  local word=\"${{COMP_WORDS[COMP_CWORD]}}\" before=\"${{COMP_WORDS[COMP_CWORD-1]}}\"\n"
      "  local words=\"{} help version --help --version\"\n"
      "  if [ \"$COMP_CWORD\" -gt 1 ]; then case \"${{COMP_WORDS[1]}}\" in\n"
      "{}"
      "    help) words=\"{}\" ;;\n"
      "  esac; fi\n"
      "  if [ -z \"$word\" ] && [ \"${{words:0:1}}\" = - ]; then return; fi\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
      "}}\n"
      "complete -o default -F _bareattn bareattn\n",
      names, cases, names);
}

std::string zsh(const std::vector<Command>& commands) {
  std::string list, cases;
  for (const Command& c : commands) {
    list += fmt::format("    '{}:{}'\n", c.name, without(c.description, "':"));
    std::string specs;
    for (const Flag& f : c.flags) {
      const std::string value = !f.takes_value     ? ""
                                : f.values.empty() ? ":value:_files"
                                                   : ":value:(" + joined(f.values) + ")";
      specs += fmt::format(" '{}[{}]{}'", f.name, without(f.description, "'[]:"), value);
    }
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
      const std::string value = !f.takes_value ? "" : f.values.empty() ? " -r" : " -x -a '" + joined(f.values) + "'";
      out += fmt::format("complete -c bareattn -n '__fish_seen_subcommand_from {}' -{} {}{} -d '{}'\n", c.name,
                         is_long ? "l" : "s", f.name.substr(is_long ? 2 : 1), value, without(f.description, "'"));
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
