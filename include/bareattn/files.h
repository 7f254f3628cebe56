// Files and terminal text for the doors (command line, bindings, examples): read whole, written whole or not at all,
// and text from strangers made safe to print.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace bareattn {

/// The whole file, any bytes. FileError where it cannot be read, is a directory, or holds more than `limit` bytes. A
/// pipe may keep it waiting: a signal that comes meanwhile calls `on_signal`, which may throw; then reading goes on.
std::string read_file(const std::string& path, int64_t limit, const std::function<void()>& on_signal = {});

/// Writes the whole content or leaves the target as it was (temporary file, flush to disk, rename). OutputError.
void write_file(const std::string& path, std::string_view content);

/// Several files, all of them or none: the first is put in place when the last is on disk. OutputError.
struct Output {
  std::string path;
  std::string_view content;
};
void write_files(std::span<const Output> outputs);

/// OutputError unless a file could be written at `path` now. Call it before long work.
void check_writable(const std::string& path);

/// Valid UTF-8 that cannot act on a terminal or reorder a line: controls, bidi and invisible formatting characters are
/// spelled out (as `\n`, `\x1b`, `\u{202e}`), invalid bytes become U+FFFD. keep_newlines lets newline and tab pass.
std::string printable(std::string_view text, bool keep_newlines = false);
/// JSON for a terminal: the same value, with such characters escaped as JSON does (`\u202e`).
std::string printable_json(std::string_view json);

}  // namespace bareattn
