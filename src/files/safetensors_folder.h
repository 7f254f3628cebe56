// The weights of a Hugging Face folder: model.safetensors, or the parts that model.safetensors.index.json names. Every
// part is checked as a file of its own (safetensors.h), and index and parts must say the same: a tensor stands in the
// part that the index names, in no other, and no part has one that the index does not name. A part's name is the name
// of a file in the folder, so an index cannot point elsewhere; links are followed, for the local cache is made of them.
// Refused besides: pickles (by name), keys that stand twice, names that differ only in upper and lower case.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "files/safetensors.h"

namespace bareattn::observing {

class SafetensorsFolder {
 public:
  explicit SafetensorsFolder(const std::string& folder);

  struct Place {
    const SafetensorsFile* file = nullptr;
    const StoredTensor* tensor = nullptr;
  };
  /// All tensors by name.
  const std::map<std::string, Place, std::less<>>& tensors() const { return tensors_; }
  const std::vector<std::unique_ptr<const SafetensorsFile>>& parts() const { return parts_; }

 private:
  void read_index(const std::string& path);
  void open(const std::string& path);

  std::string folder_;
  std::vector<std::unique_ptr<const SafetensorsFile>> parts_;
  std::map<std::string, Place, std::less<>> tensors_;
};

}  // namespace bareattn::observing
