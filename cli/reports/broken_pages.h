// The pages of a run that was broken on purpose and of the same run restored: see broken_pages.cc.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "bareattn/faults.h"

namespace bareattn::cli {

struct BrokenPages {
  std::string folder, name;   // folder/name-broken.html, folder/name-restored.html
  std::vector<HeadId> heads;  // what the pages open with
  int threads = 0;
};

/// folder/name-broken.html, or with another state.
std::string page_path(const std::string& folder, const std::string& name, const std::string& state);

/// InputError where the fault is no bias: a page recomputes weights from Q and K, and would not show it.
void check_pages(const std::string& fault, const BrokenRun& broken);
void write_broken_pages(const BrokenPages& pages, const std::shared_ptr<const Model>& model, const BrokenRun& broken,
                        const BrokenRun* restored);

}  // namespace bareattn::cli
