// Where the text comes from: an argument that names an existing file is that file, "-" is standard input, anything
// else is the text itself; --text and --file say it outright.
#pragma once
#include <CLI/CLI.hpp>
#include <string>

namespace bareattn::cli {

/// The most bytes read from a file or a pipe: far more than any context holds.
inline constexpr int64_t most_input_bytes = int64_t{64} << 20;

struct InputText {
  std::string text;
  std::string origin;  // "tom-sawyer.txt", "standard input", or empty for text on the command line
};

struct InputChoice {
  std::string argument, text, file;

  /// Declares the positional argument (called `name` in the help) and --text, --file.
  void declare(CLI::App& command, const std::string& name, const std::string& what);
  bool given() const;  // whether any text was named
  /// The file that read() reads, empty where it reads none.
  std::string path() const;
  /// InputError where there is none, several, or none that can be read.
  InputText read() const;

 private:
  CLI::App* command_ = nullptr;
};

/// InputError where both names lead to one file, whether it is there yet or not. An empty name leads nowhere.
void refuse_same_file(const std::string& output, const std::string& other);

}  // namespace bareattn::cli
