// What was typed wrongly, said so that the next try is right: a command or an option that is nearly another, a text of
// several words without quotes. And the words that other programs take: `help`, `help COMMAND`, `version`.
#pragma once
#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace bareattn::cli {

/// The arguments with `help` and `version` as the options that they stand for.
std::vector<std::string> with_plain_words(const CLI::App& app, std::vector<std::string> arguments);

/// The sentence for arguments that nothing takes.
std::string unexpected(const CLI::App& app);

}  // namespace bareattn::cli
