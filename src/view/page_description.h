// What the one-file page and the served page have in common: the description (docs/page-format.md) and the HTML before
// the data, with its content security policy. Next: page.cc (one file), serve/ (over HTTP).
#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "bareattn/head_roles.h"
#include "bareattn/observation.h"
#include "view/page_assets.h"
#include "view/page_select.h"

namespace bareattn::view {

inline constexpr int page_schema_version = 2;

/// Everything that does not depend on what the budget allows. `recipe_roles` (of this model, or null) stand beside
/// those of the text. std::invalid_argument where they are of a model with other heads.
nlohmann::json page_description(const Observation& observation, const std::string& title,
                                const HeadRoles* recipe_roles = nullptr);
/// What does: layout of the pooled maps, exact heads, the order of telling.
/// InputError where two runs are not over the same tokens and heads, or were not measured alike.
void check_comparable(const Observation& first, const Observation& second);

/// What tells a second run from the first, as `against`: title, model, run, means, roles, and its exact heads' content;
/// with `changes` how much each head changed.
nlohmann::json against_description(const Observation& first, const Observation& second, const std::string& title,
                                   const RunDiff* changes);

/// How much each head changed from the first run to this one.
void add_changes(nlohmann::json& data, const RunDiff& changes);

/// How the scores of the exact heads were steered, so that the page recomputes what was; nothing where they were not.
void add_steering(nlohmann::json& data, const Observation& observation, const std::vector<HeadId>& exact);

void add_content(nlohmann::json& data, const ModelConfig& config, const PageContent& content);

/// The page up to its data, and the policy that it carries: the script and the style sheet by hash, nothing inline.
/// `connect` is empty, or the directives that let it ask the server it came from.
struct PageShell {
  std::string head, policy;
};
PageShell page_shell(const PageAssets& assets, const std::string& title, const std::string& connect = {});

}  // namespace bareattn::view
