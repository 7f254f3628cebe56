// What a stream can show: colour or not, how wide; and text laid out for it. Widths are in columns, so that CJK and
// combining characters keep their place. NO_COLOR, TERM=dumb and a stream that is no terminal mean no colour;
// --color always|never decides otherwise.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace bareattn::cli {

enum class Colour { automatic, always, never };

struct Terminal {
  bool interactive = false;  // a person may be watching
  bool colour = false;
  int width = 80;
};
Terminal terminal_of(int file_descriptor, Colour choice = Colour::automatic);

/// Columns that valid, printable UTF-8 takes.
int columns(std::string_view text);
/// The longest prefix of at most `width` columns; the longest suffix likewise.
std::string_view prefix(std::string_view text, int width);
std::string_view suffix(std::string_view text, int width);
/// Words wrapped to `width` columns; lines after the first begin with `indent` spaces. The first line has `used`
/// columns taken already.
std::string wrapped(std::string_view text, int width, int indent, int used);

std::string padded(std::string_view text, int width);       // spaces after
std::string padded_left(std::string_view text, int width);  // spaces before
std::string grouped(int64_t number);                        // 12,345
std::string quoted(std::string_view printable);             // "text" in typographic quotes

/// ANSI styles, empty where there is no colour.
std::string bold(const Terminal& terminal, std::string_view text);
std::string dim(const Terminal& terminal, std::string_view text);

/// A background from dark to bright for strength in [0, 1] (viridis, readable foreground); plain text below the first
/// step or without colour. heat_steps colours.
inline constexpr int heat_steps = 7;
std::string heat(const Terminal& terminal, std::string_view text, double strength);

}  // namespace bareattn::cli
