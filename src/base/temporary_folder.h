// A new folder that only this user may enter, removed with all in it when this object goes, whatever happened.
#pragma once
#include <array>
#include <optional>
#include <string>

#include "base/temporaries.h"

namespace bareattn::base {

class TemporaryFolder {
 public:
  /// Where the system keeps temporary files; OutputError where none can be made.
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const;

 private:
  std::string path_;
  int lock_ = -1;
  mutable std::array<std::optional<Temporary>, 4> noted_;  // itself and the first of its files
};

}  // namespace bareattn::base
