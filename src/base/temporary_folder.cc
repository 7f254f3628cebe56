// See temporary_folder.h.
#include "base/temporary_folder.h"

#include <cstdlib>
#include <filesystem>

#include "bareattn/error.h"

namespace bareattn::base {

TemporaryFolder::TemporaryFolder() {
  std::error_code error;
  path_ = (std::filesystem::temp_directory_path(error) / "bareattn-XXXXXX").string();
  if (error || mkdtemp(path_.data()) == nullptr) throw OutputError("no temporary folder can be made at " + path_);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace bareattn::base
