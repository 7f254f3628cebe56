// A diagnosis for people, as JSON (docs/schema/diagnosis.schema.json), and as SARIF 2.1.0 for code review tools.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bareattn/diagnosis.h"
#include "console/terminal.h"

namespace bareattn::cli {

/// `wanted`: the checks that were asked for; none: all.
void print_findings(const Terminal& terminal, const Diagnosis& diagnosis, const std::vector<std::string>& wanted);
nlohmann::ordered_json findings_json(const Diagnosis& diagnosis);
nlohmann::ordered_json evidence_json(const Evidence& evidence);
nlohmann::ordered_json interventions_json(const std::vector<Intervention>& interventions);
/// One rule per check, one result per finding; `subject` is the model or trace file that was looked at.
std::string sarif(const Diagnosis& diagnosis, const std::string& subject);
/// The document as text; bytes that are no UTF-8 become U+FFFD.
std::string text_of(const nlohmann::ordered_json& document);

}  // namespace bareattn::cli
