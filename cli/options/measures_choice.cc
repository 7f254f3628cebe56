// See measures_choice.h.
#include "options/measures_choice.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "bareattn/error.h"
#include "bareattn/tokenizer.h"

namespace bareattn::cli {

namespace {

using Names = std::vector<std::string>;

const Names of_the_pass{"rows",   "distance",  "spans", "columns", "map", "spread",
                        "values", "agreement", "roles", "all",     "none"};
const Names of_a_second_look{"coverage", "scores", "repeats", "offsets"};

bool has(const Names& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool any_of(const Names& groups, const Names& names) {
  return std::any_of(groups.begin(), groups.end(), [&](const std::string& group) { return has(names, group); });
}

// Why `group` is none that the command takes; empty where it is.
std::string problem_of(const std::string& group, bool second_look) {
  if (has(of_the_pass, group) || (second_look && has(of_a_second_look, group))) return {};
  if (has(of_a_second_look, group))
    return "'" + group +
           "' is made by a second look, which needs no trace of its own: bareattn measures RUN --measures " + group +
           ", or look --json --measures " + group;
  Names known = of_the_pass;
  if (second_look) known.insert(known.end(), of_a_second_look.begin(), of_a_second_look.end());
  const std::string all = fmt::format("{}", fmt::join(known, ", "));
  if (group.empty()) return "a name is empty; groups are " + all;
  if (group.find(' ') != std::string::npos)
    return "'" + group + "' has a space in it; groups are named with commas alone, as in rows,columns";
  return "there is no group '" + group + "'; groups are " + all;
}

}  // namespace

void MeasuresChoice::declare(CLI::App& command, const std::string& help, bool second_look) {
  named = command.add_option("--measures", groups, help)
              ->type_name("GROUPS")
              ->delimiter(',')
              ->check([second_look](const std::string& group) { return problem_of(group, second_look); })
              ->allow_extra_args(false)
              ->default_str(fmt::format("{}", fmt::join(groups, ",")));
  command
      .add_option("--span", spans,
                  "names tokens, by range or by a regular expression over the text; every head's weight on them is "
                  "measured; may be repeated")
      ->type_name("NAME=BEGIN:END|REGEX")
      ->allow_extra_args(false);
}

bool MeasuresChoice::of_pass() const { return any_of(groups, of_the_pass); }
bool MeasuresChoice::gives(const char* group) const { return any_of(groups, {group}); }

MeasureGroups MeasuresChoice::measures() const {
  const auto wanted = [&](const Names& names) { return any_of(groups, names); };
  if (gives("none") && groups.size() > 1) throw InputError("--measures: 'none' stands alone, not beside other groups");
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
  std::vector<std::string_view> pieces;
  for (const int32_t id : tokens) pieces.push_back(tokenizer.piece(id));
  std::vector<NamedSpan> given, found;
  for (const std::string& span : spans)
    for (NamedSpan& one : find_spans(span, pieces)) given.push_back(std::move(one));
  if (!question.empty()) found = known_spans(tokenizer, tokens, question);
  const auto taken = [&](const std::string& name) {
    return std::any_of(given.begin(), given.end(), [&](const NamedSpan& one) { return one.name == name; });
  };
  for (NamedSpan& one : found)  // a name that was given keeps what it was given for
    while (taken(one.name)) one.name = "chat " + one.name;
  found.insert(found.end(), given.begin(), given.end());
  return found;
}

}  // namespace bareattn::cli
