// A folder for what a test writes, and what stands in it.
#pragma once
#include <filesystem>
#include <iterator>
#include <string>

#include "base/temporary_folder.h"

namespace bareattn::test {

class Folder {
 public:
  std::string operator/(const std::string& name) const { return folder_.file(name); }
  int64_t entries() const { return std::distance(std::filesystem::directory_iterator(folder_.path()), {}); }

 private:
  base::TemporaryFolder folder_;
};

}  // namespace bareattn::test
