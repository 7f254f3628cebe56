// See diagnosis_report.h.
#include "reports/diagnosis_report.h"

#include <fmt/format.h>

#include <cmath>

#include "bareattn/files.h"
#include "reports/json_text.h"

namespace bareattn::cli {
namespace {

using Json = nlohmann::ordered_json;

// A file's name as a relative URI reference (RFC 3986): what is not unreserved is percent-encoded.
std::string uri_of(const std::string& path) {
  std::string uri;
  for (const char c : path.substr(path.rfind('/') + 1)) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    uri += plain ? std::string(1, c) : fmt::format("%{:02X}", byte);
  }
  return uri;
}

// "Peripheral made central" as an identifier: "PeripheralMadeCentral".
std::string identifier(const std::string& title) {
  std::string name;
  bool begins = true;
  for (const char c : title) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (letter) name += begins && c >= 'a' ? static_cast<char>(c - 'a' + 'A') : c;
    begins = !letter;
  }
  return name;
}

// JSON has no infinity: such a value is null.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json finding_json(const Finding& f) {
  Json heads = Json::array();
  for (const HeadId head : f.heads) heads.push_back(head_name(head));
  Json remedy = nullptr;
  if (!f.remedy.what.empty())
    remedy = {{"what", f.remedy.what},
              {"place", remedy_place_name(f.remedy.place)},
              {"mend", f.remedy.mend.empty() ? Json(nullptr) : Json(f.remedy.mend)},
              {"interventions", interventions_json(f.remedy.interventions)}};
  return {{"check", f.check},
          {"severity", severity_name(f.severity)},
          {"head", f.head.layer < 0 ? Json(nullptr) : Json(head_name(f.head))},
          {"heads", heads},
          {"token", f.token < 0 ? Json(nullptr) : Json(f.token)},
          {"last", f.last < 0 ? Json(nullptr) : Json(f.last)},
          {"value", number(f.value)},
          {"limit", f.limit},
          {"sentence", f.sentence},
          {"advice", f.advice},
          {"remedy", remedy}};
}

// How a remedy is carried out.
std::string done_where(const Remedy& remedy) {
  std::string where;
  if (remedy.place == RemedyPlace::steering) where = "--save writes that for bareattn steer --table";
  if (remedy.place == RemedyPlace::program) where = "in the program that made this run";
  if (remedy.place == RemedyPlace::text) where = "where the text becomes tokens; here --bos and --no-bos say it";
  if (!remedy.mend.empty())
    where += (where.empty() ? "" : "; or ") + std::string("mend the model file: ") + remedy.mend;
  return where.empty() ? "" : " (" + where + ")";
}

Json rules() {
  Json all = Json::array();
  for (const CheckInfo& check : checks())
    all.push_back({{"id", check.id},
                   {"name", identifier(check.title)},
                   {"shortDescription", {{"text", std::string(check.title) + "."}}},
                   {"fullDescription", {{"text", check.description}}},
                   {"defaultConfiguration", {{"level", severity_name(check.severity)}}}});
  return all;
}

}  // namespace

Json interventions_json(const std::vector<Intervention>& interventions) {
  return Json::parse(steering_to_json(interventions))["interventions"];
}

Json findings_json(const Diagnosis& diagnosis) {
  Json findings = Json::array();
  for (const Finding& f : diagnosis.findings) findings.push_back(finding_json(f));
  return findings;
}

Json evidence_json(const Evidence& e) {
  Json probes = Json::array();
  for (const ProbeResult& p : e.probes) {
    probes.push_back({{"check", p.check}, {"label", p.label}, {"nll", number(p.nll)}, {"error", p.error}});
    if (p.plain_nll <= 0) continue;  // it is the best one's alone
    probes.back()["plain_nll"] = number(p.plain_nll);
    probes.back()["plain_error"] = p.plain_error;
  }
  double mismatch = 0, excess = 0, shift = 0;
  for (const double difference : e.shift_difference) shift = std::max(shift, difference);
  for (const HeadEvidence& head : e.heads) {
    mismatch = std::max(mismatch, head.mismatch);
    excess = std::max(excess, head.excess);
  }
  return {{"nll", e.nll > 0 ? number(e.nll) : Json(nullptr)},
          {"plain_nll", e.plain_nll > 0 ? number(e.plain_nll) : Json(nullptr)},
          {"not_probed", e.not_probed.empty() ? Json(nullptr) : Json(e.not_probed)},
          {"largest_mismatch", number(mismatch)},
          {"largest_excess", number(excess)},
          {"cache_difference", number(e.cache_difference)},
          {"shift_difference", number(shift)},
          {"checks", checks_asked(e)},
          {"probes", probes}};
}

std::string sarif(const Diagnosis& diagnosis, const std::string& subject) {
  Json results = Json::array();
  for (const Finding& f : diagnosis.findings) {
    size_t rule = 0;
    while (f.check != checks()[rule].id) ++rule;
    Json location = {{"physicalLocation", {{"artifactLocation", {{"uri", uri_of(subject)}}}}}};
    if (f.head.layer >= 0)
      location["logicalLocations"] = Json::array(
          {{{"name", head_name(f.head)}, {"fullyQualifiedName", "head " + head_name(f.head)}, {"kind", "member"}}});
    results.push_back({{"ruleId", f.check},
                       {"ruleIndex", rule},
                       {"level", severity_name(f.severity)},
                       {"message", {{"text", f.sentence + " " + f.advice}}},
                       {"locations", Json::array({location})},
                       {"properties", {{"value", number(f.value)}, {"limit", f.limit}, {"token", f.token}}}});
  }
  const Json driver = {{"name", "bareattn"}, {"version", BAREATTN_VERSION}, {"rules", rules()}};
  const Json run = {{"tool", {{"driver", driver}}},
                    {"invocations", Json::array({{{"executionSuccessful", true}}})},
                    {"artifacts", Json::array({{{"location", {{"uri", uri_of(subject)}}}}})},
                    {"results", results}};
  return text_of({{"$schema", "https://json.schemastore.org/sarif-2.1.0.json"},
                  {"version", "2.1.0"},
                  {"runs", Json::array({run})}});
}

std::string text_of(const Json& document) { return json_text(document); }

void print_findings(const Terminal& terminal, const Diagnosis& diagnosis, const std::vector<std::string>& wanted) {
  const auto& findings = diagnosis.findings;
  fmt::print("{}\n", findings.empty() ? "Nothing found." : fmt::format("{} found:", findings.size()));
  const auto paragraph = [&](const std::string& text) {
    fmt::print("  {}\n", wrapped(printable(text), terminal.width, 2, 2));
  };
  for (const Finding& f : findings) {
    fmt::print("\n{}{}{}\n", bold(terminal, fmt::format("{}: {}", severity_name(f.severity), f.check)),
               f.head.layer < 0 ? "" : "  head " + head_name(f.head),
               f.heads.size() > 1 ? fmt::format(" and {} more", f.heads.size() - 1) : "");
    paragraph(f.sentence);
    paragraph("To do: " + f.advice);
    if (!f.remedy.what.empty()) paragraph("Undone by: " + f.remedy.what + done_where(f.remedy) + ".");
  }
  const Evidence& e = diagnosis.evidence;
  if (!e.not_probed.empty()) {
    fmt::print("\n");
    paragraph(e.not_probed);
  }
  const size_t asked = checks_asked(e, wanted).size(), all = wanted.empty() ? checks().size() : wanted.size();
  fmt::print("\n{} tokens{}, {} checks, {} probes\n", diagnosis.observation->tokens().size(),
             e.nll > 0 ? fmt::format(", {:.3f} nats per token", e.nll) : "",
             asked < all ? fmt::format("{} of {}", asked, all) : std::to_string(asked), e.probes.size());
}

}  // namespace bareattn::cli
