// Where the text comes from: an argument that names an existing file is that file, "-" is standard input, anything
// else is the text itself; --text and --file say it outright.
#pragma once
#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bareattn/model.h"

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

/// How a text becomes tokens: --chat, --special, --bos, --no-bos, of which a command declares what it has.
struct TokenChoice {
  bool chat = false, special = false, bos = false, no_bos = false;

  void declare_chat(CLI::App& command, const std::string& what);  // "the text", "the prompt"
  void declare_special(CLI::App& command);
  void declare_bos(CLI::App& command);
  /// With --chat the text is a user's message in the model's chat template, up to where the answer begins.
  /// Control tokens that are spelled out and not asked for are warned of.
  std::vector<int32_t> encode(const Tokenizer& tokenizer, const std::string& text) const;
  /// The same, but InputError as soon as there are more tokens than the model's context, unless a run may go `beyond`
  /// it. Nothing: no run of this command may.
  std::vector<int32_t> encode(const Model& model, const std::string& text, std::optional<Beyond> beyond) const;

 private:
  std::optional<std::vector<int32_t>> encode_within(int64_t most, const Tokenizer& tokenizer,
                                                    const std::string& text) const;
};

/// Control tokens that a text spells out are characters to the model unless they are asked for: warns of them, with
/// their count, for a transcript means them.
void warn_of_spelled(const Tokenizer& tokenizer, const std::string& text);

/// InputError where both names lead to one file, whether it is there yet or not. An empty name leads nowhere.
void refuse_same_file(const std::string& output, const std::string& other);

}  // namespace bareattn::cli
