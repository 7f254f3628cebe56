// See temporary_folder.h.
#include "base/temporary_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "bareattn/error.h"

namespace bareattn::base {

TemporaryFolder::TemporaryFolder() {
  std::error_code error;
  const std::filesystem::path where = std::filesystem::temp_directory_path(error);
  remove_left_behind(where.string(), Left::folders);
  do {
    if (lock_ >= 0) close(lock_);
    path_ = (where / "bareattn-run-XXXXXX").string();
    if (error || mkdtemp(path_.data()) == nullptr)
      throw OutputError("no temporary folder can be made at " + path_ + ": " +
                        (error ? error.message() : std::strerror(errno)));
    lock_ = open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  } while (lock_ >= 0 && !lock_temporary(lock_));
  noted_[0].emplace(path_);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
  if (lock_ >= 0) close(lock_);
}

std::string TemporaryFolder::file(const std::string& name) const {
  std::string path = path_ + "/" + name;
  for (auto& noted : noted_) {
    if (noted) continue;
    noted.emplace(path);
    break;
  }
  return path;
}

}  // namespace bareattn::base
