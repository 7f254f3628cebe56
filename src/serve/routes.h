// From a request that the gate has let in to its answer. Addresses are read by hand and exactly: letters, digits and
// `._=&?-/` only, no escapes, whole numbers without sign, every part known; anything else is 400 or 404. Nothing here
// opens a file. The interface: docs/serve.md.
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "serve/live.h"
#include "serve/shown.h"
#include "serve/work.h"
#include "view/page_assets.h"

namespace bareattn::serving {

class Routes {
 public:
  /// `against`: a second run over the same tokens, or null.
  Routes(std::shared_ptr<const Shown> shown, std::shared_ptr<const Shown> against, const ServeOptions& options,
         const view::PageAssets& assets = view::page_assets());

  /// May throw what a trace throws; Cancelled once `gone`.
  Answer answer(const Request& request, const Gone& gone);
  static Lane lane(const Request& request);
  /// Frees what was kept for a page that has gone.
  void forget();
  std::function<int()> connections = [] { return 0; };  // for /api/status

 private:
  std::shared_ptr<const Shown> shown() const;
  std::shared_ptr<const Shown> against() const;
  void install(std::shared_ptr<const Shown> next, Live::Place place);
  Answer change(const Request& request, const std::string& path);
  Answer status();

  mutable std::mutex mutex_;                      // of what follows
  std::shared_ptr<const Shown> shown_, against_;  // the run, and the one that it is compared with, or null
  std::shared_ptr<const Shown> given_;            // what the run was compared with from the start
  Answer shell_;
  Live live_;  // last: its thread uses the others
};

}  // namespace bareattn::serving
