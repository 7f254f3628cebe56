// render_page: one HTML file from an observation. Model text enters only through JSON in a data block (pure ASCII,
// < > & escaped) and through html_text() in <title>; the script puts it on screen by textContent. The content security
// policy names the script and the style sheet by their hashes and allows nothing else, no network, no inline code.
// Numbers: page_sections.h. What is chosen: page_select.h. The format: docs/page-format.md. The script: viewer/.
#include "bareattn/page.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "base/float_environment.h"
#include "view/encode.h"
#include "view/page_assets.h"
#include "view/page_description.h"
#include "view/page_lesson.h"
#include "view/page_select.h"

namespace bareattn {
namespace {

using nlohmann::json;
using view::PageContent;

std::string to_script_json(const json& data) {
  return view::json_for_script(data.dump(-1, ' ', true, json::error_handler_t::replace));
}

std::vector<view::Section> agreement_sections(const Observation& observation, const PageOptions& options) {
  const ModelConfig& config = observation.model().config();
  std::vector<view::Section> sections;
  if (!options.agreement) return sections;
  const int64_t pairs = int64_t{config.layers} * config.heads * (config.heads - 1) / 2;
  if (static_cast<int64_t>(options.agreement->pairs.size()) != pairs)
    throw std::invalid_argument("PageOptions.agreement is not of every pair of heads of a layer");
  for (int layer = 0; layer < config.layers; ++layer) {
    const view::Bytes bytes =
        view::agreement_bytes(*options.agreement, layer, config.heads, observation.measured().agreement);
    sections.push_back({"agreement/" + std::to_string(layer), view::deflate_base64(bytes, view::Pack::half_floats)});
  }
  return sections;
}

}  // namespace

std::string render_page(const Observation& observation, const PageOptions& options) {
  const base::DefaultFloatEnvironment environment;
  const view::PageAssets assets = view::page_assets();
  if (assets.script.empty() || assets.style.empty()) {
    throw std::runtime_error(
        "this build of bareattn has no page (it was configured with -DBAREATTN_PAGE=OFF); install Node.js 20 or later "
        "and npm, and build again with -DBAREATTN_PAGE=ON. JSON output works without it");
  }
  if (observation.tokens().empty()) throw std::invalid_argument("render_page: the observation has no tokens");
  if (observation.token_texts().size() != observation.tokens().size()) {
    throw std::logic_error("render_page: the observation has " + std::to_string(observation.tokens().size()) +
                           " tokens but " + std::to_string(observation.token_texts().size()) + " token texts");
  }
  const ModelConfig& config = observation.model().config();
  json data = view::page_description(observation, options.title, options.recipe_roles.get());

  if (options.value_weighted) data["value_weighted"] = true;
  if (options.lesson) data["lesson"] = view::page_lesson(*options.lesson);
  std::vector<view::Section> agreement = agreement_sections(observation, options);
  if (options.agreement) data["agreement"] = {{"outputs", observation.measured().agreement}};

  std::string head = view::page_shell(assets, options.title.empty() ? config.name : options.title).head;
  head += "<script type=\"application/json\" id=\"page-data\">";
  // Worst case of what add_content() adds: every head twice, with separators.
  const int64_t chosen_json = 512 + 2 * 12 * static_cast<int64_t>(config.layers) * config.heads;
  int64_t fixed =
      static_cast<int64_t>(head.size() + assets.script.size() + to_script_json(data).size()) + chosen_json + 256;
  for (const view::Section& section : agreement) fixed += section.size();
  PageOptions of_first = options;
  json against;
  if (options.against) {
    against = view::against_description(observation, *options.against, options.against_title, options.changes.get());
    of_first.size_budget -= (of_first.size_budget - fixed) / 2;  // the second run's heads take as much again
  }
  PageContent content = view::choose_content(observation, of_first, fixed);
  view::add_content(data, config, content);
  view::add_steering(data, observation, content.exact);
  PageContent second;
  if (options.against) {
    second = view::same_content(*options.against, content);
    view::add_content(against, config, second);
    view::add_steering(against, *options.against, second.exact);
    data["against"] = std::move(against);
  }

  std::string page = std::move(head);
  page.reserve(static_cast<size_t>(std::max<int64_t>(options.size_budget, fixed)));
  page += to_script_json(data);
  page += "</script>\n";
  const auto add_section = [&page](view::Section& section) {
    page += "<script type=\"text/plain\" data-section=\"" + section.name + "\">" + section.base64 + "</script>\n";
    section.base64 = {};
  };
  // The thumbnails stand before the script and the rest behind it: the grid is on screen while the rest is still read.
  add_section(content.sections.front());
  if (options.against) add_section(second.sections.front());
  page += "<script>";
  page += assets.script;
  page += "</script>\n";
  for (size_t i = 1; i < content.sections.size(); ++i) add_section(content.sections[i]);
  for (size_t i = 1; i < second.sections.size(); ++i) add_section(second.sections[i]);
  for (view::Section& section : agreement) add_section(section);
  page += "</body>\n</html>\n";
  return page;
}

}  // namespace bareattn
