// See input.h.
#include "options/input.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>

#include "bareattn/error.h"
#include "bareattn/files.h"
#include "console/interrupt.h"
#include "console/terminal.h"
#include "console/warn.h"
#include "options/text_form.h"

namespace bareattn::cli {
namespace {

bool exists(const std::string& path) {
  struct stat status {};
  return !path.empty() && path.size() < 4096 && stat(path.c_str(), &status) == 0;
}

InputText from_file(const std::string& path) {
  if (path == "-") {
    if (isatty(STDIN_FILENO) == 1) throw InputError("'-' reads the text from standard input, and nothing is piped in");
    return {read_file("/dev/stdin", most_input_bytes, stop_if_interrupted), "standard input"};
  }
  const std::string name = path.substr(path.rfind('/') + 1);
  if (std::error_code none; std::filesystem::is_regular_file(path, none)) {
    // Before it is read: most models hold more than a text may, and that they are no text is the better answer.
    char start[16];
    std::ifstream begin(path, std::ios::binary);
    begin.read(start, sizeof start);
    refuse_model_or_trace({start, static_cast<size_t>(begin.gcount())}, name);
  }
  return {read_file(path, most_input_bytes, stop_if_interrupted), name};
}

}  // namespace

void InputChoice::declare(CLI::App& command, const std::string& name, const std::string& what) {
  command_ = &command;
  command.add_option(name, argument, what + ": an existing file's path, '-' for standard input, else the text itself")
      ->type_name("");
  command.add_option("--text", text, "the text itself, even if a file is called so")->type_name("TEXT");
  command.add_option("--file", file, "a file with the text, '-' for standard input")->type_name("FILE");
}

bool InputChoice::given() const {
  return !argument.empty() || command_->count("--text") + command_->count("--file") > 0;
}

InputText InputChoice::read() const {
  const int ways =
      (argument.empty() ? 0 : 1) + (command_->count("--text") > 0 ? 1 : 0) + (command_->count("--file") > 0 ? 1 : 0);
  if (ways > 1) throw InputError("the text was given more than once: use one of the argument, --text and --file");
  InputText input;
  if (command_->count("--file") > 0) {
    input = from_file(file);
  } else if (command_->count("--text") > 0) {
    input.text = text;
  } else if (argument == "-" || exists(argument)) {
    input = from_file(argument);
  } else {
    input.text = argument;
    if (looks_like_a_path(argument))
      warn("there is no file '" + argument + "': these characters are taken as the text (--text says so)");
  }
  if (const std::string odd = check_form(input.text, input.origin); !odd.empty()) warn(odd);
  if (input.text.empty()) {
    throw InputError(given() && !input.origin.empty()
                         ? "the text is empty (" + input.origin + ")"
                         : "the text is empty: give a text, a file, or '-' for standard input");
  }
  return input;
}

std::string InputChoice::path() const {
  const std::string& name = command_->count("--file") > 0 ? file : argument;
  return name != "-" && command_->count("--text") == 0 && exists(name) ? name : "";
}

void TokenChoice::declare_chat(CLI::App& command, const std::string& what) {
  command.add_flag("--chat", chat, what + " is a user's message: apply the model's chat template");
}

void TokenChoice::declare_special(CLI::App& command) {
  command.add_flag("--special", special, "recognise control tokens such as <|im_start|> in the text");
}

void TokenChoice::declare_bos(CLI::App& command) {
  CLI::Option* with = command.add_flag("--bos", bos, "begin with the beginning-of-sequence token");
  command.add_flag("--no-bos", no_bos, "begin without it (default: as the model says)")->excludes(with);
}

void warn_of_spelled(const Tokenizer& tokenizer, const std::string& text) {
  int64_t spelled = 0;
  int32_t first = -1;
  for (const bool meant : {true, false})  // as they come, for they may be many
    tokenizer.encode(text, Tokenizer::Encoding{meant, false}, [&](std::span<const int32_t> ids) {
      for (const int32_t id : ids) {
        if (!tokenizer.is_special(id)) continue;
        spelled += meant ? 1 : -1;
        if (first < 0) first = id;
      }
      stop_if_interrupted();
      return true;
    });
  if (spelled <= 0) return;
  warn("the text spells out " + std::to_string(spelled) + " control token" + (spelled == 1 ? "" : "s") + " (" +
       std::string(tokenizer.piece(first)) + "), which are run as ordinary characters; --special recognises them");
}

std::vector<int32_t> TokenChoice::encode(const Tokenizer& tokenizer, const std::string& text) const {
  return *encode_within(std::numeric_limits<int64_t>::max(), tokenizer, text);
}

std::vector<int32_t> TokenChoice::encode(const Model& model, const std::string& text,
                                         std::optional<Beyond> beyond) const {
  if (beyond.value_or(Beyond::refuse) != Beyond::refuse) return encode(model.tokenizer(), text);
  const int64_t context = model.config().context_length;
  auto tokens = encode_within(context, model.tokenizer(), text);
  if (!tokens && beyond) refuse_length(model.config(), "more than " + std::to_string(context));
  if (!tokens)
    throw InputError(fmt::format("the text is more than {} tokens long; this model's context holds no more", context));
  return std::move(*tokens);
}

std::optional<std::vector<int32_t>> TokenChoice::encode_within(int64_t most, const Tokenizer& tokenizer,
                                                               const std::string& text) const {
  const bool begin = bos || (!no_bos && tokenizer.spec().add_bos);
  if (!chat) {
    auto tokens = tokenizer.encode_within(most, text, {.parse_special = special, .add_bos = begin});
    if (tokens && !special) warn_of_spelled(tokenizer, text);
    return tokens;
  }
  const ChatMessage message{"user", text};
  return tokenizer.encode_within(most, tokenizer.apply_chat_template({&message, 1}, true),
                                 {.parse_special = true, .add_bos = begin});
}

void refuse_same_file(const std::string& output, const std::string& other) {
  if (output.empty() || other.empty()) return;
  std::error_code error;  // a name that cannot be examined is the writer's complaint
  const bool same = std::filesystem::equivalent(output, other, error) ||
                    std::filesystem::weakly_canonical(output, error) == std::filesystem::weakly_canonical(other, error);
  if (same) throw InputError(output + ": this output would replace " + other + ", which is used by the same command");
}

}  // namespace bareattn::cli
