// render_page: one HTML file from an observation. Model text enters only through JSON in a data block (pure ASCII,
// < > & escaped) and through html_text() in <title>; the script puts it on screen by textContent. The content security
// policy names the script and the style sheet by their hashes and allows nothing else, no network, no inline code.
// Numbers: page_sections.h. What is chosen: page_select.h. The format: docs/page-format.md. The script: viewer/.
#include "bareattn/page.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "view/encode.h"
#include "view/page_assets.h"
#include "view/page_select.h"

namespace bareattn {
namespace {

using nlohmann::json;
using view::PageContent;

constexpr int schema_version = 1;

json number(double value) { return std::isfinite(value) ? json(value) : json(nullptr); }

json flat(const ModelConfig& config, const std::vector<HeadId>& heads) {
  json out = json::array();
  for (const HeadId id : heads) out.push_back(id.layer * config.heads + id.head);
  return out;
}

/// Everything that does not depend on what the budget allows.
json description(const Observation& observation, const std::string& title) {
  const Model& model = observation.model();
  const ModelConfig& config = model.config();
  const double n = static_cast<double>(observation.tokens().size());
  json data;
  data["schema_version"] = schema_version;
  data["title"] = title;
  data["model"] = {{"name", config.name},
                   {"architecture", config.architecture},
                   {"file_type", config.file_type},
                   {"parameters", model.parameters()},
                   {"layers", config.layers},
                   {"heads", config.heads},
                   {"kv_heads", config.kv_heads},
                   {"head_dim", config.head_dim},
                   {"context_length", config.context_length},
                   {"warnings", model.warnings()}};
  data["run"] = {{"tokens", observation.tokens().size()},
                 {"seconds", number(observation.seconds())},
                 {"tokens_per_second", number(observation.seconds() > 0 ? n / observation.seconds() : NAN)},
                 {"precision", precision_name(model.precision())}};
  data["tokens"] = observation.token_texts();
  data["token_ids"] = observation.tokens();
  data["measures"] = json::array();
  for (int m = 0; m < measure_count; ++m) {
    const MeasureInfo& info = measure_info(static_cast<Measure>(m));
    data["measures"].push_back(
        {{"id", info.id}, {"title", info.title}, {"unit", info.unit}, {"description", info.description}});
  }
  data["means"] = json::array();
  data["roles"] = json::array();
  for (int layer = 0; layer < config.layers; ++layer) {
    for (int head = 0; head < config.heads; ++head) {
      json means = json::array();
      for (int m = 0; m < measure_count; ++m) {
        means.push_back(number(observation.mean(static_cast<Measure>(m), {layer, head})));
      }
      data["means"].push_back(std::move(means));
      const Role role = observation.role({layer, head});
      data["roles"].push_back({{"name", role.name}, {"score", number(role.score)}, {"evidence", role.evidence}});
    }
  }
  return data;
}

void add_content(json& data, const ModelConfig& config, const PageContent& content) {
  data["pool"] = {{"block", content.layout.block}, {"blocks", content.layout.blocks}};
  data["thumbs"] = {{"size", content.thumb_size}};
  data["has_rows"] = content.has_rows;
  data["exact"] = flat(config, content.exact);
  data["telling"] = flat(config, content.telling);
}

std::string to_script_json(const json& data) {
  return view::json_for_script(data.dump(-1, ' ', true, json::error_handler_t::replace));
}

}  // namespace

std::string render_page(const Observation& observation, const PageOptions& options) {
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
  json data = description(observation, options.title);

  const std::string title = view::html_text(options.title.empty() ? config.name : options.title);
  std::string head =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'sha256-" +
      view::sha256_base64(assets.script) + "'; style-src 'sha256-" + view::sha256_base64(assets.style) +
      "'; img-src data: blob:; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; "
      "trusted-types 'none'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<meta name=\"generator\" content=\"Bare Attention\">\n<title>" +
      title + " \xC2\xB7 Bare Attention</title>\n<style>" + std::string(assets.style) +
      "</style>\n</head>\n<body>\n<div id=\"app\"></div>\n"
      "<noscript><p>This page draws its data with the script it carries. It asks nothing of any network; allow the "
      "script to see the attention.</p></noscript>\n"
      "<script type=\"application/json\" id=\"page-data\">";
  // Worst case of what add_content() adds: every head twice, with separators.
  const int64_t chosen_json = 512 + 2 * 12 * static_cast<int64_t>(config.layers) * config.heads;
  const int64_t fixed =
      static_cast<int64_t>(head.size() + assets.script.size() + to_script_json(data).size()) + chosen_json + 256;
  PageContent content = view::choose_content(observation, options, fixed);
  add_content(data, config, content);

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
  page += "<script>";
  page += assets.script;
  page += "</script>\n";
  for (size_t i = 1; i < content.sections.size(); ++i) add_section(content.sections[i]);
  page += "</body>\n</html>\n";
  return page;
}

}  // namespace bareattn
