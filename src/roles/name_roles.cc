// See name_roles.h.
#include "roles/name_roles.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "observe/roles.h"

namespace bareattn {

const RecipeInfo& recipe_info(Recipe recipe) {
  constexpr const observing::RoleThresholds& limits = observing::role_thresholds;
  static constexpr std::array<RecipeInfo, recipe_count> infos{{
      {"induction", "find what followed last time",
       "Mean weight on the token after the earlier copy, in the second half of 50 random tokens repeated.",
       limits.induction},
      {"duplicate-token", "find the same token earlier",
       "Mean weight on the earlier copy, in the second half of 50 random tokens repeated.", limits.duplicate},
      {"previous-token", "look at the token just before",
       "Mean weight on the token before, over 50 random tokens repeated.", limits.previous_weight},
      {"retrieval", "fetch an answer from the text",
       "Share of an answer's steps at which the strongest key is the needle's token that the model then says.",
       limits.retrieval},
      {"positional", "look at one fixed distance",
       "Share of a passage's rows whose strongest key stands at the head's commonest distance.", limits.positional},
      {"self", "look at the token itself", "Mean weight of a passage's tokens on themselves.", limits.self_weight},
      {"copying", "say again the word they look at",
       "Share of words that are among the 5 tokens which the head's output for them promotes most.", limits.copying},
      {"local", "stay within the last few words", "Mean weight on the last 64 tokens, in rows 128 to 255 of a passage.",
       limits.recent_mass},
      {"sink", "rest on the first token", "Mean weight on the first token, in rows 0 to 63 of a passage.", limits.sink},
      {"broad", "spread over the whole text", "Mean normalised entropy of a passage's rows.",
       limits.normalized_entropy},
  }};
  const int index = static_cast<int>(recipe);
  if (index < 0 || index >= recipe_count) {
    throw std::invalid_argument("recipe " + std::to_string(index) + ": there are " + std::to_string(recipe_count));
  }
  return infos[static_cast<size_t>(index)];
}

namespace observing {
namespace {

std::string evidence(const HeadRole& role) {
  const auto share = [&](Recipe recipe) {
    const RoleScore& s = role.scores[static_cast<size_t>(recipe)];
    return fmt::format("{:.2f} ({:.2f} to {:.2f})", s.mean, s.low, s.high);
  };
  if (role.all.empty()) {
    return fmt::format("reaches no threshold: induction {}, on the token before {}, on the first token {}",
                       share(Recipe::induction), share(Recipe::previous_token), share(Recipe::sink));
  }
  const Recipe recipe = role.all.front();
  switch (recipe) {
    case Recipe::induction:
      return share(recipe) + " of its weight goes to the token after the earlier copy of the same token";
    case Recipe::duplicate_token:
      return share(recipe) + " of its weight goes to the earlier copy of the same token";
    case Recipe::previous_token:
      return share(recipe) + " of its weight goes to the token just before";
    case Recipe::retrieval:
      return "looks at the word to be said in " + share(recipe) + " of an answer's steps";
    case Recipe::positional:
      return fmt::format("looks {} token{} back in {} of the rows", role.distance, role.distance == 1 ? "" : "s",
                         share(recipe));
    case Recipe::self:
      return share(recipe) + " of its weight stays on the token itself";
    case Recipe::copying:
      return "would say the word that it looks at in " + share(recipe) + " of the cases";
    case Recipe::local:
      return share(recipe) + " of its weight stays within the last 64 tokens";
    case Recipe::sink:
      return share(recipe) + " of its weight rests on the first token";
    case Recipe::broad:
      return "spreads its weight: normalised entropy " + share(recipe);
  }
  return {};
}

}  // namespace

std::string role_name(const std::array<double, recipe_count>& means) {
  for (int r = 0; r < recipe_count; ++r) {
    const RecipeInfo& info = recipe_info(static_cast<Recipe>(r));
    if (means[static_cast<size_t>(r)] >= info.threshold) return info.id;
  }
  return "mixed";
}

void name_role(HeadRole& role) {
  role.all.clear();
  role.sure = true;
  for (int r = 0; r < recipe_count; ++r) {
    const RoleScore& score = role.scores[static_cast<size_t>(r)];
    const double threshold = recipe_info(static_cast<Recipe>(r)).threshold;
    if (score.mean >= threshold) role.all.push_back(static_cast<Recipe>(r));
    // Up to and with the recipe that names it, every interval must lie on its mean's side.
    const bool before = role.all.empty(), names = role.all.size() == 1 && score.mean >= threshold;
    if (before && score.high >= threshold) role.sure = false;
    if (names && score.low < threshold) role.sure = false;
  }
  role.name = role.all.empty() ? "mixed" : recipe_info(role.all.front()).id;
  role.evidence = evidence(role);
}

}  // namespace observing
}  // namespace bareattn
