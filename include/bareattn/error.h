// What the library throws. Shapes and values of arguments: std::invalid_argument, naming the argument, what was given
// and what was needed. Files and texts: InputError, one sentence that a user can act on. The library never prints,
// aborts or exits; the command line turns InputError into exit status 2 and everything else into 1.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>

namespace bareattn {

/// The user's input (a file, a text, an option) cannot be used; what() says what was found and what was needed.
class InputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A file cannot be used: what() is "PATH: offset N: SENTENCE" (the offset only where there is one).
class FileError : public InputError {
 public:
  static constexpr int64_t no_offset = -1;
  FileError(const std::string& path, int64_t offset, const std::string& sentence)
      : InputError(path + (offset < 0 ? "" : ": offset " + std::to_string(offset)) + ": " + sentence) {}
};

/// Writing failed (disk full, no permission): the target is as it was before.
class OutputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace bareattn
