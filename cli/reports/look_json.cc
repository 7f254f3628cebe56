// The JSON of `look`. A field is added freely; one that changes meaning or goes raises look_schema_version.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "bareattn/highlights.h"
#include "reports/agreement_report.h"
#include "reports/json_text.h"
#include "reports/look_report.h"
#include "reports/sweep_json.h"

namespace bareattn::cli {
namespace {

using Json = nlohmann::ordered_json;

Json model_json(const Model& model) {
  const ModelConfig& c = model.config();
  return {{"name", c.name},
          {"architecture", c.architecture},
          {"file_type", c.file_type},
          {"sha256", model.sha256()},
          {"parameters", model.parameters()},
          {"layers", c.layers},
          {"heads", c.heads},
          {"kv_heads", c.kv_heads},
          {"head_dim", c.head_dim},
          {"context_length", c.context_length},
          {"warnings", model.warnings()}};
}

Json measures_json(const MeasureGroups& measured, const SweepGroups& swept) {
  Json all = Json::array();
  for (int m = 0; m < measure_count; ++m) {
    if (!measured.has(static_cast<Measure>(m))) continue;
    const MeasureInfo& info = measure_info(static_cast<Measure>(m));
    all.push_back({{"id", info.id}, {"title", info.title}, {"unit", info.unit}, {"description", info.description}});
  }
  append_swept_infos(all, swept);
  return all;
}

Json recipe_role_json(const HeadRoles* roles, HeadId head) {
  if (roles == nullptr) return nullptr;
  const HeadRole& role = roles->of(head);
  Json all = Json::array();
  for (const Recipe recipe : role.all) all.push_back(recipe_info(recipe).id);
  return {{"source", "recipes"}, {"name", role.name}, {"sure", role.sure}, {"roles", all}, {"evidence", role.evidence}};
}

Json heads_json(const LookReport& report) {
  const Observation& o = *report.observation;
  const HeadRoles* roles = report.roles;
  const ModelConfig& c = o.model().config();
  const MeasureGroups measured = o.measured();
  const auto sets = o.span_sets();
  Json all = Json::array();
  for (int layer = 0; layer < c.layers; ++layer) {
    for (int head = 0; head < c.heads; ++head) {
      const HeadId id{layer, head};
      Json means = Json::object();
      for (int m = 0; m < measure_count; ++m) {
        const Measure measure = static_cast<Measure>(m);
        if (!measured.has(measure)) continue;
        means[measure_info(measure).id] = json_number(o.mean(measure, id));
      }
      Json one{{"layer", layer}, {"head", head}, {"role", nullptr}};
      if (measured.for_roles()) {
        const Role role = o.role(id);
        one["role"] = {
            {"source", "text"}, {"name", role.name}, {"score", json_number(role.score)}, {"evidence", role.evidence}};
      }
      one["recipe_role"] = recipe_role_json(roles, id);
      one["means"] = std::move(means);
      one["gathered"] = measured.columns ? gathered_json(o, id) : Json(nullptr);
      Json spans = Json::object();
      for (size_t s = 0; s < sets.size(); ++s)
        spans[sets[s].name] = json_number(mean_span_mass(o, static_cast<int>(s), id));
      one["spans"] = std::move(spans);
      if (report.sweep) add_sweep(one, report.sweep->heads[all.size()], report.swept);
      all.push_back(std::move(one));
    }
  }
  return all;
}

Json spans_json(const Observation& o) {
  Json all = Json::array();
  for (const SpanLook& look : span_looks(o)) {
    Json ranges = Json::array();
    for (const NamedSpan& one : look.set.ranges) ranges.push_back({one.begin, one.end});
    all.push_back({{"name", look.set.name},
                   {"tokens", look.set.tokens},
                   {"ranges", std::move(ranges)},
                   {"mean", json_number(look.mean)},
                   {"last_token", json_number(look.last)},
                   {"strongest", look.strongest.layer < 0 ? Json(nullptr) : Json(head_name(look.strongest))}});
  }
  return all;
}

Json last_json(const LookReport& report) {
  const Observation& o = *report.observation;
  const int64_t last = static_cast<int64_t>(o.tokens().size()) - 1;
  Json keys = Json::array(), heads = Json::array();
  for (const KeyWeight& k : report.last.keys) {
    keys.push_back({{"key", k.key}, {"text", o.token_texts()[k.key]}, {"weight", json_number(k.weight)}});
  }
  for (const HeadLook& h : report.last.heads) {
    heads.push_back({{"head", head_name(h.head)},
                     {"key", h.key},
                     {"text", o.token_texts()[h.key]},
                     {"weight", json_number(h.weight)}});
  }
  return {{"position", last},
          {"text", o.token_texts()[last]},
          {"value_weighted", report.value_weighted},
          {"keys", std::move(keys)},
          {"rest",
           {{"tokens", last + 1 - static_cast<int64_t>(report.last.keys.size())},
            {"weight", json_number(report.last.rest)}}},
          {"heads", std::move(heads)}};
}

}  // namespace

std::string look_json(const LookReport& report) {
  const Observation& o = *report.observation;
  const int64_t length = static_cast<int64_t>(o.tokens().size());
  Json shown = Json::array();
  for (const Highlight& h :
       o.measured().for_roles() && o.measured().columns ? highlights(o) : std::vector<Highlight>()) {
    shown.push_back({{"id", h.id},
                     {"title", h.title},
                     {"head", head_name(h.head)},
                     {"value", json_number(h.value)},
                     {"evidence", h.evidence}});
  }
  const Json document{
      {"schema_version", look_schema_version},
      {"kind", "bareattn.look"},
      {"version", BAREATTN_VERSION},
      {"model", model_json(o.model())},
      {"run",
       {{"precision", precision_name(o.model().precision())},
        {"attention", precision_name(o.model().attention())},
        {"threads", o.threads()},
        {"seconds", json_number(o.seconds())},
        {"tokens_per_second", json_number(static_cast<double>(length) / o.seconds())}}},
      {"text",
       {{"origin", report.origin.empty() ? Json(nullptr) : Json(report.origin)},
        {"length", length},
        {"ids", o.tokens()},
        {"tokens", o.token_texts()}}},
      {"rows", report.sweep ? Json(report.sweep->rows) : Json(nullptr)},
      {"store", store_of(o)},
      {"measures", measures_json(o.measured(), report.swept)},
      {"heads", heads_json(report)},
      {"spans", spans_json(o)},
      {"agreement", report.agreement ? agreement_json(*report.agreement) : Json(nullptr)},
      {"highlights", std::move(shown)},
      {"last_token", last_json(report)},
      {"page", report.page.empty() ? Json(nullptr) : Json(report.page)},
  };
  return json_text(document);
}

}  // namespace bareattn::cli
