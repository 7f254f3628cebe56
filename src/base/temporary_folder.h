// A new folder that only this user may enter, removed with all in it when this object goes, whatever happened.
#pragma once
#include <string>

namespace bareattn::base {

class TemporaryFolder {
 public:
  /// Where the system keeps temporary files; OutputError where none can be made.
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace bareattn::base
