// See temporary_folder.h. The folder is locked as long as it is in use, and its lock is kept with the note of it.
#include "base/temporary_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "bareattn/error.h"
#include "base/temporaries.h"

namespace bareattn::base {

TemporaryFolder::TemporaryFolder() {
  std::error_code error;
  const std::filesystem::path where = std::filesystem::temp_directory_path(error);
  remove_left_behind(where.string(), Left::folders);
  for (int lock = -1, attempt = 0; attempt < 100; ++attempt) {
    path_ = (where / "bareattn-run-XXXXXX").string();
    if (error || mkdtemp(path_.data()) == nullptr)
      throw OutputError("no temporary folder can be made at " + path_ + ": " +
                        (error ? error.message() : std::strerror(errno)));
    lock = open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool ours = lock < 0 || lock_temporary(lock);  // or taken for left behind and removed
    if (ours) hold_temporary(path_, lock);
    if (lock >= 0) close(lock);
    if (ours) return;
  }
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
  let_go_of_temporary(path_);
}

}  // namespace bareattn::base
