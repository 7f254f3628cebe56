// The steering file, written and read. Reading refuses what it does not know rather than skipping it: a file that was
// meant to change something and does not is worse than an error. See steering.h.
#include "base/json.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "bareattn/error.h"
#include "bareattn/steering.h"
#include "base/float_environment.h"

namespace bareattn {
namespace {

using Json = nlohmann::json;
using Written = nlohmann::ordered_json;  // keys as they were put in
constexpr const char* format_name = "bareattn-steering";
constexpr int format_version = 1;

Written spans_json(const std::vector<TokenSpan>& spans) {
  Written all = Written::array();
  for (const TokenSpan& span : spans) all.push_back({span.begin, span.end});
  return all;
}

[[noreturn]] void fail(const std::string& where, const std::string& sentence) {
  throw InputError("steering file: " + where + sentence);
}

std::vector<TokenSpan> read_spans(const Json& json, const std::string& where) {
  std::vector<TokenSpan> spans;
  if (!json.is_array()) fail(where, "needs a list of [begin, end]");
  for (const Json& span : json) {
    if (!span.is_array() || span.size() != 2 || !span[0].is_number_integer() || !span[1].is_number_integer())
      fail(where, "needs [begin, end], two whole numbers");
    for (const Json& end : span)
      if (end.is_number_unsigned() && end.get<uint64_t>() > std::numeric_limits<int64_t>::max())
        fail(where, "holds " + end.dump() + "; a position is at most 2^63 - 1, and -1 is the end of the text");
    spans.push_back({span[0].get<int64_t>(), span[1].get<int64_t>()});
  }
  return spans;
}

/// A number that is one in 32 bits as well, which is what a run computes with.
double number_of(const Json& value, const std::string& where) {
  if (!value.is_number()) fail(where, "needs a number");
  const auto number = value.get<double>();
  if (!std::isfinite(static_cast<float>(number)))
    fail(where, "holds " + value.dump() + "; a number of at most 3.4e38 is needed, to either side of 0");
  return number;
}

Intervention read_one(const Json& json, const std::string& where) {
  if (!json.is_object()) fail(where, "an object is needed");
  Intervention one;
  bool has_kind = false;
  for (const auto& [key, value] : json.items()) {
    const std::string here = where + "'" + key + "' ";
    if (key == "kind") {
      for (int k = 0; k < intervention_kinds; ++k)
        if (value == intervention_name(static_cast<Intervention::Kind>(k)))
          one.kind = static_cast<Intervention::Kind>(k), has_kind = true;
      if (!has_kind) fail(here, "is " + value.dump(-1, ' ', true).substr(0, 80) + ", which is no intervention");
    } else if (key == "heads") {
      if (!value.is_array() || value.empty()) fail(here, "needs a list of heads, as [\"5.3\", \"6.*\"]");
      one.heads.clear();
      for (const Json& head : value) {
        if (!head.is_string()) fail(here, "needs text, as \"5.3\"");
        one.heads.push_back(head.get<std::string>());
      }
    } else if (key == "keys") {
      one.keys = read_spans(value, here);
    } else if (key == "rows") {
      one.rows = read_spans(value, here);
    } else if (key == "value") {
      one.value = number_of(value, here);
    } else if (key == "mean") {
      if (!value.is_array()) fail(here, "needs a list of numbers");
      for (const Json& number : value) one.mean.push_back(static_cast<float>(number_of(number, here)));
    } else {
      fail(here, "is not known");
    }
  }
  if (!has_kind) fail(where, "'kind' is missing");
  return one;
}

}  // namespace

std::string steering_to_json(const std::vector<Intervention>& interventions) {
  Written list = Written::array();
  for (const Intervention& one : interventions) {
    Written json = {{"kind", intervention_name(one.kind)}, {"heads", one.heads}};
    if (!one.keys.empty()) json["keys"] = spans_json(one.keys);
    if (!one.rows.empty()) json["rows"] = spans_json(one.rows);
    if (one.kind != Intervention::Kind::mean && one.kind != Intervention::Kind::knockout) json["value"] = one.value;
    if (!one.mean.empty()) json["mean"] = one.mean;
    list.push_back(std::move(json));
  }
  const Written document = {{"format", format_name}, {"version", format_version}, {"interventions", std::move(list)}};
  return document.dump(1, ' ', false, Written::error_handler_t::replace) + "\n";
}

std::vector<Intervention> steering_from_json(const std::string& text) {
  const base::DefaultFloatEnvironment environment;
  std::string problem;
  const Json json = base::read_json(text, problem);
  if (json.is_discarded()) fail("", problem);
  if (!json.is_object() || json.value("format", Json()) != format_name)
    fail("", std::string("'format' must be \"") + format_name + "\"");
  if (json.value("version", Json()) != format_version) fail("", "only version 1 can be read");
  if (!json.contains("interventions") || !json["interventions"].is_array()) fail("", "'interventions' must be a list");
  for (const auto& [key, value] : json.items())
    if (key != "format" && key != "version" && key != "interventions") fail("'" + key + "' ", "is not known");
  std::vector<Intervention> all;
  for (size_t i = 0; i < json["interventions"].size(); ++i)
    all.push_back(read_one(json["interventions"][i], "intervention " + std::to_string(i) + ": "));
  return all;
}

}  // namespace bareattn
