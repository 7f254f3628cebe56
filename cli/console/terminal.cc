// See terminal.h.
#include "console/terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <clocale>
#include <cstdlib>
#include <cwchar>
#include <vector>

namespace bareattn::cli {
namespace {

constexpr int narrowest = 40, widest = 120;

struct Character {
  size_t begin, length;
  int width;
};

// wcwidth needs a UTF-8 locale for LC_CTYPE; the numbers' locale stays "C".
/// `see` is given one character after the other; false ends it.
template <class See>
void each_character(std::string_view text, const See& see) {
  static const bool ready = std::setlocale(LC_CTYPE, "C.UTF-8") != nullptr;
  std::mbstate_t state{};
  for (size_t at = 0; at < text.size();) {
    wchar_t wide = 0;
    size_t length = ready ? std::mbrtowc(&wide, text.data() + at, text.size() - at, &state) : 1;
    int width = 1;
    if (length == 0 || length > text.size() - at) {
      length = 1;
      state = {};
    } else if (ready) {
      width = std::max(0, ::wcwidth(wide));
    }
    if (!see(Character{at, length, width})) return;
    at += length;
  }
}

std::string styled(const Terminal& terminal, const char* style, std::string_view text) {
  if (!terminal.colour) return std::string(text);
  return fmt::format("\x1b[{}m{}\x1b[0m", style, text);
}

}  // namespace

Terminal terminal_of(int file_descriptor, Colour choice) {
  Terminal terminal;
  const char* term = std::getenv("TERM");
  const char* no_colour = std::getenv("NO_COLOR");
  const bool dumb = term == nullptr || std::string_view(term) == "dumb";
  terminal.interactive = isatty(file_descriptor) == 1 && !dumb;
  terminal.colour = choice == Colour::always || (choice == Colour::automatic && terminal.interactive &&
                                                 (no_colour == nullptr || *no_colour == '\0'));
  winsize size{};
  if (ioctl(file_descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    terminal.width = size.ws_col;
  } else if (const char* wanted = std::getenv("COLUMNS"); wanted != nullptr && std::atoi(wanted) > 0) {
    terminal.width = std::atoi(wanted);
  }
  terminal.width = std::clamp(terminal.width, narrowest, widest);
  return terminal;
}

int columns(std::string_view text) {
  int width = 0;
  each_character(text, [&](const Character& c) {
    width += c.width;
    return true;
  });
  return width;
}

std::string_view prefix(std::string_view text, int width) {
  int used = 0;
  size_t end = text.size();
  each_character(text, [&](const Character& c) {
    used += c.width;
    if (used > width) end = c.begin;
    return used <= width;
  });
  return text.substr(0, end);
}

std::string_view suffix(std::string_view text, int width) {
  std::vector<Character> all;
  each_character(text, [&](const Character& c) {
    all.push_back(c);
    return true;
  });
  int used = 0;
  for (size_t i = all.size(); i > 0; --i) {
    used += all[i - 1].width;
    if (used > width) return text.substr(all[i - 1].begin + all[i - 1].length);
  }
  return text;
}

std::string wrapped(std::string_view text, int width, int indent, int used) {
  std::string out;
  bool line_has_words = false;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    std::string_view word = text.substr(at, end - at);
    at = end + 1;
    if (word.empty()) continue;
    int left = columns(word);  // of the word, kept up to date: measuring it anew for each line would be quadratic
    if (line_has_words && used + 1 + left > width) {
      out += '\n' + std::string(indent, ' ');
      used = indent;
      line_has_words = false;
    }
    if (line_has_words) out += ' ', ++used;
    while (used + left > width && used < width) {  // a word longer than a line is cut
      const std::string_view part = prefix(word, width - used);
      if (part.empty()) break;
      out += part;
      out += '\n' + std::string(indent, ' ');
      word.remove_prefix(part.size());
      left -= columns(part);
      used = indent;
    }
    out += word;
    used += left;
    line_has_words = true;
  }
  return out;
}

std::string padded(std::string_view text, int width) {
  return std::string(text) + std::string(std::max(0, width - columns(text)), ' ');
}
std::string padded_left(std::string_view text, int width) {
  return std::string(std::max(0, width - columns(text)), ' ') + std::string(text);
}

std::string grouped(int64_t number) {
  std::string digits = std::to_string(number);
  for (int64_t at = static_cast<int64_t>(digits.size()) - 3; at > (number < 0 ? 1 : 0); at -= 3)
    digits.insert(digits.begin() + at, ',');
  return digits;
}

std::string quoted(std::string_view printable) { return "“" + std::string(printable) + "”"; }

std::string bold(const Terminal& terminal, std::string_view text) { return styled(terminal, "1", text); }
std::string dim(const Terminal& terminal, std::string_view text) { return styled(terminal, "2", text); }

std::string heat(const Terminal& terminal, std::string_view text, double strength) {
  // viridis in the 256-colour cube; white on the dark half, black on the bright half.
  static constexpr std::array<const char*, heat_steps> styles{
      "48;5;53;38;5;231", "48;5;54;38;5;231", "48;5;25;38;5;231", "48;5;30;38;5;231",
      "48;5;72;38;5;16",  "48;5;113;38;5;16", "48;5;226;38;5;16"};
  const int step = static_cast<int>(std::min(strength, 1.0) * (heat_steps + 1)) - 1;
  if (!(strength > 0) || step < 0) return std::string(text);
  return styled(terminal, styles[std::min(step, heat_steps - 1)], text);
}

}  // namespace bareattn::cli
