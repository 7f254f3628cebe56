// See measures_choice.h.
#include "measures_choice.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "bareattn/error.h"
#include "bareattn/tokenizer.h"

namespace bareattn::cli {

namespace {

bool any_of(const std::vector<std::string>& groups, std::initializer_list<const char*> names) {
  return std::any_of(groups.begin(), groups.end(), [&](const std::string& group) {
    return std::any_of(names.begin(), names.end(), [&](const char* name) { return group == name; });
  });
}

}  // namespace

void MeasuresChoice::declare(CLI::App& command, bool with_swept) {
  std::vector<std::string> known{"rows",   "distance",  "spans", "columns", "map", "spread",
                                 "values", "agreement", "roles", "all",     "none"};
  std::string text =
      "what is measured, and paid for: rows, distance, spans, columns, map; values (what a weight on each key "
      "carries); spread, agreement (between the heads of a layer); roles (what they need); all, none";
  if (with_swept) {
    known.insert(known.end(), {"coverage", "scores", "repeats", "offsets"});
    text += "; in the JSON, by a second look: coverage, scores, repeats, offsets";
  }
  command.add_option("--measures", groups, text)
      ->type_name("GROUPS")
      ->delimiter(',')
      ->check(CLI::IsMember(known).description(""))
      ->allow_extra_args(false)
      ->default_str(fmt::format("{}", fmt::join(groups, ",")));
  command
      .add_option("--span", spans,
                  "names tokens, by range or by a regular expression over the text; every head's weight on them is "
                  "measured; may be repeated")
      ->type_name("NAME=BEGIN:END|REGEX")
      ->allow_extra_args(false);
}

MeasureGroups MeasuresChoice::measures() const {
  const auto wanted = [&](std::initializer_list<const char*> names) { return any_of(groups, names); };
  MeasureGroups measures;
  measures.rows = wanted({"rows", "roles", "all"});
  measures.distance = wanted({"distance", "roles", "all"});
  measures.spans = wanted({"spans", "roles", "all"});
  measures.columns = wanted({"columns", "all"});
  measures.map = wanted({"map", "all"});
  measures.spread = wanted({"spread", "all"});
  measures.values = wanted({"values", "all"});
  measures.agreement = wanted({"agreement", "all"});
  if (!spans.empty() && !measures.spans) throw InputError("--span: the weight on it needs 'spans' among --measures");
  return measures;
}

SweepGroups MeasuresChoice::swept() const {
  return {.coverage = any_of(groups, {"coverage", "all"}),
          .scores = any_of(groups, {"scores", "all"}),
          .repeats = any_of(groups, {"repeats", "all"}),
          .offsets = any_of(groups, {"offsets", "all"})};
}

std::vector<NamedSpan> MeasuresChoice::find(const Tokenizer& tokenizer, const std::vector<int32_t>& tokens,
                                            const std::string& question) const {
  std::vector<NamedSpan> found;
  if (!question.empty()) found = known_spans(tokenizer, tokens, question);
  std::vector<std::string_view> pieces;
  for (const int32_t id : tokens) pieces.push_back(tokenizer.piece(id));
  for (const std::string& span : spans)
    for (NamedSpan& one : find_spans(span, pieces)) found.push_back(std::move(one));
  return found;
}

}  // namespace bareattn::cli
