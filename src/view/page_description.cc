// See page_description.h.
#include "view/page_description.h"

#include <cmath>
#include <stdexcept>

#include "bareattn/error.h"
#include "bareattn/highlights.h"
#include "bareattn/score_table.h"
#include "bareattn/trace.h"

namespace bareattn::view {
namespace {

using nlohmann::json;

json number(double value) { return std::isfinite(value) ? json(value) : json(nullptr); }

json flat(const ModelConfig& config, const std::vector<HeadId>& heads) {
  json out = json::array();
  for (const HeadId id : heads) out.push_back(id.layer * config.heads + id.head);
  return out;
}

/// How the page makes scores of a layer: by the engine's own rule, in every field that changes a weight.
json rule_json(const ScoreRule& rule) {
  json out = {{"scale", rule.scale}};
  if (rule.softcap != 0.0F) out["softcap"] = rule.softcap;
  if (rule.left_window >= 0) out["left_window"] = rule.left_window;
  if (rule.left_window >= 0) out["leading_keys"] = rule.leading_keys;
  if (!rule.alibi_slopes.empty()) out["alibi_slopes"] = rule.alibi_slopes;
  return out;
}

/// What one run says of itself, and the measures and roles of its heads.
void add_run(json& data, const Observation& observation) {
  const Model& model = observation.model();
  const ModelConfig& config = model.config();
  const double n = static_cast<double>(observation.tokens().size());
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
                 {"precision", precision_text(model)}};
  if (const auto* trace = dynamic_cast<const Trace*>(&observation);
      trace != nullptr && trace->run().reach.window >= 0) {
    data["run"]["window"] = trace->run().reach.window;
    data["run"]["sinks"] = trace->run().reach.sinks;
  }
  data["scores"] = json::array();
  for (int layer = 0; layer < config.layers; ++layer)
    data["scores"].push_back(rule_json(observation.score_rule(layer)));
  const MeasureGroups measured = observation.measured();
  data["means"] = json::array();
  data["roles"] = json::array();
  for (int layer = 0; layer < config.layers; ++layer) {
    for (int head = 0; head < config.heads; ++head) {
      json means = json::array();
      for (int m = 0; m < measure_count; ++m) {
        if (!measured.has(static_cast<Measure>(m))) continue;
        means.push_back(number(observation.mean(static_cast<Measure>(m), {layer, head})));
      }
      data["means"].push_back(std::move(means));
      const Role role = observation.role({layer, head});
      data["roles"].push_back({{"name", role.name}, {"score", number(role.score)}, {"evidence", role.evidence}});
    }
  }
  data["highlights"] = json::array();
  if (!measured.for_roles() || !measured.columns) return;
  for (const Highlight& h : highlights(observation))
    data["highlights"].push_back({{"head", h.head.layer * config.heads + h.head.head},
                                  {"id", h.id},
                                  {"title", h.title},
                                  {"evidence", h.evidence}});
}

}  // namespace

nlohmann::json page_description(const Observation& observation, const std::string& title,
                                const HeadRoles* recipe_roles) {
  const ModelConfig& config = observation.model().config();
  json data;
  data["schema_version"] = page_schema_version;
  data["title"] = title;
  add_run(data, observation);
  data["tokens"] = observation.token_texts();
  data["token_ids"] = observation.tokens();
  data["measures"] = json::array();
  for (int m = 0; m < measure_count; ++m) {
    if (!observation.measured().has(static_cast<Measure>(m))) continue;
    const MeasureInfo& info = measure_info(static_cast<Measure>(m));
    data["measures"].push_back(
        {{"id", info.id}, {"title", info.title}, {"unit", info.unit}, {"description", info.description}});
  }
  if (recipe_roles != nullptr) {
    if (recipe_roles->layers != config.layers || recipe_roles->heads != config.heads) {
      throw std::invalid_argument("recipe_roles: they are of " + std::to_string(recipe_roles->layers) + " layers of " +
                                  std::to_string(recipe_roles->heads) + " heads, the observation is not");
    }
    data["recipes"] = json::array();
    for (int r = 0; r < recipe_count; ++r) {
      const RecipeInfo& info = recipe_info(static_cast<Recipe>(r));
      data["recipes"].push_back({{"id", info.id}, {"description", info.description}, {"threshold", info.threshold}});
    }
    data["recipe_roles"] = json::array();
    for (const HeadRole& role : recipe_roles->of_head) {
      json scores = json::array();
      for (const RoleScore& score : role.scores) scores.push_back(number(std::round(score.mean * 1e4) * 1e-4));
      data["recipe_roles"].push_back(
          {{"name", role.name}, {"sure", role.sure}, {"evidence", role.evidence}, {"scores", std::move(scores)}});
    }
  }
  return data;
}

void check_comparable(const Observation& first, const Observation& second) {
  const ModelConfig &a = first.model().config(), &b = second.model().config();
  const auto refuse = [](const std::string& what) { throw InputError("the two runs cannot be compared: " + what); };
  if (first.tokens() != second.tokens()) refuse("they are not over the same tokens");
  if (a.layers != b.layers || a.heads != b.heads || a.kv_heads != b.kv_heads || a.head_dim != b.head_dim)
    refuse("their models have not the same layers and heads");
  if (first.pool_block() != second.pool_block())
    refuse("their maps have blocks of " + std::to_string(first.pool_block()) + " and " +
           std::to_string(second.pool_block()) + " tokens");
  for (int m = 0; m < measure_count; ++m) {
    const auto measure = static_cast<Measure>(m);
    if (first.measured().has(measure) != second.measured().has(measure))
      refuse(std::string("only one was measured by ") + measure_info(measure).id);
  }
}

nlohmann::json against_description(const Observation& first, const Observation& second, const std::string& title,
                                   const RunDiff* changes) {
  check_comparable(first, second);
  json data;
  data["title"] = title;
  add_run(data, second);
  if (changes != nullptr) add_changes(data, *changes);
  return data;
}

void add_changes(json& data, const RunDiff& changes) {
  data["js"] = json::array();
  for (const HeadDiff& head : changes.heads) data["js"].push_back(number(head.js));
}

void add_steering(json& data, const Observation& observation, const std::vector<HeadId>& exact) {
  const ScoreTable* table = observation.table();
  if (table != nullptr && has_window(*table))
    throw InputError(
        "a page cannot show the cells of a run whose steering has a window; a window of the run can be shown");
  if (table == nullptr || exact.empty()) return;
  const size_t tokens = observation.tokens().size();
  const size_t cells = static_cast<size_t>(table->row_spans) * static_cast<size_t>(table->key_spans);
  const auto whole = [&](std::vector<uint8_t> spans) {
    spans.resize(tokens);
    return spans;
  };
  json& to = data["steering"];
  to = {{"key_spans", table->key_spans}, {"row_span", whole(table->row_span)}, {"key_span", whole(table->key_span)}};
  to["value"] = json::array();
  to["scale"] = json::array();
  for (const HeadId id : exact) {
    const LayerTable& layer = table->layers[static_cast<size_t>(id.layer)];
    const auto head = static_cast<size_t>(id.head);
    json values = json::array();
    for (size_t i = 0; i < cells && !layer.value.empty(); ++i)
      values.push_back(number(static_cast<double>(layer.value[head * cells + i])));  // null: minus infinity, a cut
    to["value"].push_back(values);
    to["scale"].push_back(layer.head_scale.empty() ? 1.0 : static_cast<double>(layer.head_scale[head]));
  }
}

void add_content(json& data, const ModelConfig& config, const PageContent& content) {
  data["pool"] = {{"block", content.layout.block}, {"blocks", content.layout.blocks}};
  data["thumbs"] = {{"size", content.thumb_size}};
  data["has_rows"] = content.has_rows;
  data["has_sizes"] = content.has_sizes;
  data["exact"] = flat(config, content.exact);
  data["telling"] = flat(config, content.telling);
}

PageShell page_shell(const PageAssets& assets, const std::string& title, const std::string& connect) {
  PageShell shell;
  shell.policy = "default-src 'none'; script-src 'sha256-" + sha256_base64(assets.script) + "'; style-src 'sha256-" +
                 sha256_base64(assets.style) + "'; img-src data: blob:; " + connect +
                 "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
  shell.head =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"" +
      shell.policy +
      "\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<meta name=\"generator\" content=\"Bare Attention\">\n" +
      // A served page would be asked for its icon.
      (connect.empty() ? "" : "<link rel=\"icon\" href=\"data:,\">\n") + "<title>" + html_text(title) +
      " \xC2\xB7 Bare Attention</title>\n<style>" + std::string(assets.style) +
      "</style>\n</head>\n<body>\n<div id=\"app\"></div>\n"
      "<noscript><p>This page draws its data with the script it carries. It asks nothing of any network; allow the "
      "script to see the attention.</p></noscript>\n";
  return shell;
}

}  // namespace bareattn::view
