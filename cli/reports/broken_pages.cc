// `bareattn break --pages FOLDER`: the ordinary page of the broken run and of the restored one, so that both can be
// seen side by side. The bias is declared to the observation here (and only here: the diagnosis has to find it), so
// that every weight the page shows is one of the broken pass. See tools/broken_weighting.py for what is made of them.
#include "reports/broken_pages.h"

#include "bareattn/error.h"
#include "bareattn/files.h"
#include "bareattn/page.h"
#include "console/interrupt.h"

namespace bareattn::cli {
namespace {

void write_page(const BrokenPages& pages, const std::shared_ptr<const Model>& model, const BrokenRun& run,
                const std::string& state) {
  ObservationOptions options;
  options.table = std::make_shared<const ScoreTable>(run.options.variant->table);
  const auto observation = observe(model, run.tokens, options, pages.threads, unless_interrupted);
  PageOptions page;
  page.title = pages.name + ", " + state + ": " + run.what;
  page.telling = pages.heads;
  page.size_budget = 4'000'000;
  const std::string html = render_page(*observation, page);
  stop_if_interrupted();
  write_file(page_path(pages.folder, pages.name, state), html);
  say_written();
}

}  // namespace

std::string page_path(const std::string& folder, const std::string& name, const std::string& state) {
  return folder + "/" + name + "-" + state + ".html";
}

void check_pages(const std::string& fault, const BrokenRun& broken) {
  if (!broken.bias.empty()) return;
  throw InputError("--pages: the fault '" + fault +
                   "' is no bias of weights, and a page would not show it; peripheral, " +
                   "noise, contradiction, unavailable, sink-masked, sink-logit and head-dead are");
}

void write_broken_pages(const BrokenPages& pages, const std::shared_ptr<const Model>& model, const BrokenRun& broken,
                        const BrokenRun* restored) {
  write_page(pages, model, broken, "broken");
  if (restored != nullptr) write_page(pages, model, *restored, "restored");
}

}  // namespace bareattn::cli
