// SHA-256 (OpenSSL), for naming the model file that a result came from. Lower-case hexadecimal.
#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/mapped_file.h"

namespace bareattn::base {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void update(std::span<const std::byte> bytes);
  /// The digest of all that was given, 64 characters; ends this object's use.
  std::string finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

std::string sha256(std::string_view bytes);
/// Of a whole file, read in pieces (resident memory stays small). FileError where it shrinks meanwhile.
std::string sha256(const MappedFile& file);

}  // namespace bareattn::base
