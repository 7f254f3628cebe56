// Roles as JSON and back: what `bareattn roles --json` prints and what the cache holds (docs/schema/roles.schema.json).
// Reading refuses, with the reason, whatever a program could not have written; names and evidence are made anew from
// the scores, so that a file cannot put words in.
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "bareattn/error.h"
#include "bareattn/head_roles.h"
#include "base/float_environment.h"
#include "base/json.h"
#include "roles/name_roles.h"

namespace bareattn {
namespace {

using Json = nlohmann::json;
using Written = nlohmann::ordered_json;  // keys as they were put in
constexpr int version = 1;
constexpr int most_heads = 1 << 20;

Written number(double value) { return std::isfinite(value) ? Written(value) : Written(nullptr); }

[[noreturn]] void refuse(const std::string& what) { throw InputError("roles: " + what); }

const Json& member(const Json& object, const char* key) {
  const auto at = object.is_object() ? object.find(key) : object.end();
  if (!object.is_object() || at == object.end()) refuse(std::string("'") + key + "' is missing");
  return *at;
}
double real(const Json& value, const char* key) {
  if (value.is_null()) return std::numeric_limits<double>::quiet_NaN();
  if (!value.is_number()) refuse(std::string("'") + key + "' is no number");
  return value.get<double>();
}
double share(const Json& value, const char* key) {
  const double x = real(value, key);
  if (x < -1e-6 || x > 1 + 1e-6) refuse(std::string("'") + key + "' is not within 0 and 1");
  return x;
}
int whole(const Json& object, const char* key, int least, int most) {
  const Json& value = member(object, key);
  if (!value.is_number_integer() || value.get<double>() < least || value.get<double>() > most) {
    refuse(std::string("'") + key + "' is no whole number from " + std::to_string(least) + " to " +
           std::to_string(most));
  }
  return value.get<int>();
}
std::string text(const Json& object, const char* key) {
  const Json& value = member(object, key);
  if (!value.is_string()) refuse(std::string("'") + key + "' is no text");
  return value.get<std::string>();
}
const Json& list(const Json& object, const char* key, size_t size) {
  const Json& value = member(object, key);
  if (!value.is_array() || (size != SIZE_MAX && value.size() != size)) {
    refuse(std::string("'") + key + "' is no list of " + (size == SIZE_MAX ? "values" : std::to_string(size)));
  }
  return value;
}

const char* id(int recipe) { return recipe_info(static_cast<Recipe>(recipe)).id; }

Written ablation_json(const AblationCheck& check) {
  Written heads = Written::array();
  for (const HeadId head : check.heads) heads.push_back({head.layer, head.head});
  return {{"heads", std::move(heads)},
          {"loss_first", number(check.first)},
          {"loss_repeat", number(check.repeat)},
          {"loss_first_ablated", number(check.first_ablated)},
          {"loss_repeat_ablated", number(check.repeat_ablated)},
          {"loss_repeat_random", check.repeat_random}};
}

AblationCheck ablation_from(const Json& json, const HeadRoles& roles) {
  AblationCheck check;
  for (const Json& pair : list(json, "heads", SIZE_MAX)) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number_integer() || !pair[1].is_number_integer()) {
      refuse("a head is not [layer, head]");
    }
    const auto below = [](const Json& index, int count) {
      return index.get<double>() >= 0 && index.get<double>() < count;
    };
    if (!below(pair[0], roles.layers) || !below(pair[1], roles.heads)) {
      refuse("there is no head " + pair[0].dump() + "." + pair[1].dump());
    }
    check.heads.push_back({pair[0].get<int>(), pair[1].get<int>()});
  }
  check.first = real(member(json, "loss_first"), "loss_first");
  check.repeat = real(member(json, "loss_repeat"), "loss_repeat");
  check.first_ablated = real(member(json, "loss_first_ablated"), "loss_first_ablated");
  check.repeat_ablated = real(member(json, "loss_repeat_ablated"), "loss_repeat_ablated");
  for (const Json& loss : list(json, "loss_repeat_random", SIZE_MAX)) {
    check.repeat_random.push_back(real(loss, "loss_repeat_random"));
  }
  return check;
}

}  // namespace

std::string roles_to_json(const HeadRoles& roles) {
  Written recipes = Written::array(), heads = Written::array();
  for (int r = 0; r < recipe_count; ++r) {
    const RecipeInfo& info = recipe_info(static_cast<Recipe>(r));
    recipes.push_back({{"id", info.id},
                       {"threshold", info.threshold},
                       {"description", info.description},
                       {"stability", number(roles.stability[static_cast<size_t>(r)])}});
  }
  for (size_t i = 0; i < roles.of_head.size(); ++i) {
    const HeadRole& role = roles.of_head[i];
    Written all = Written::array(), scores = Written::object();
    for (const Recipe recipe : role.all) all.push_back(recipe_info(recipe).id);
    for (int r = 0; r < recipe_count; ++r) {
      const RoleScore& s = role.scores[static_cast<size_t>(r)];
      scores[id(r)] = {number(s.mean), number(s.low), number(s.high)};
    }
    heads.push_back({{"layer", i / static_cast<size_t>(roles.heads)},
                     {"head", i % static_cast<size_t>(roles.heads)},
                     {"role", role.name},
                     {"sure", role.sure},
                     {"roles", std::move(all)},
                     {"evidence", role.evidence},
                     {"distance", role.distance},
                     {"scores", std::move(scores)}});
  }
  const Written document{
      {"format", "bareattn-roles"},
      {"version", version},
      {"model_sha256", roles.model_sha256},
      {"precision", roles.precision},
      {"samples", roles.samples},
      {"seed", roles.seed},
      {"corpus_sha256", roles.corpus_sha256.empty() ? Written(nullptr) : Written(roles.corpus_sha256)},
      {"layers", roles.layers},
      {"heads_per_layer", roles.heads},
      {"seconds", number(roles.seconds)},
      {"threads", roles.threads},
      {"recipes", std::move(recipes)},
      {"same_name", number(roles.same_name)},
      {"needles_answered", roles.needles_answered},
      {"ablation_draws", roles.ablation_draws},
      {"ablation", roles.ablation ? ablation_json(*roles.ablation) : Written(nullptr)},
      {"heads", std::move(heads)}};
  return document.dump(1, ' ', false, Written::error_handler_t::replace) + "\n";
}

HeadRoles roles_from_json(const std::string& json) {
  const base::DefaultFloatEnvironment environment;
  std::string problem;
  const Json document = base::read_json(json, problem);
  if (document.is_discarded()) refuse("this " + problem);
  if (!document.is_object() || document.value("format", Json()) != "bareattn-roles") refuse("'format' is another one");
  if (const int found = whole(document, "version", 0, 1 << 30); found != version) {
    refuse("version " + std::to_string(found) + "; this program reads " + std::to_string(version));
  }
  HeadRoles roles;
  roles.model_sha256 = text(document, "model_sha256");
  roles.precision = text(document, "precision");
  if (!member(document, "corpus_sha256").is_null()) roles.corpus_sha256 = text(document, "corpus_sha256");
  roles.samples = whole(document, "samples", 4, 1 << 20);
  if (!member(document, "seed").is_number_unsigned()) refuse("'seed' is no whole number");
  roles.seed = document["seed"].get<uint64_t>();
  roles.layers = whole(document, "layers", 1, most_heads);
  roles.heads = whole(document, "heads_per_layer", 1, most_heads);
  roles.seconds = real(member(document, "seconds"), "seconds");
  roles.threads = whole(document, "threads", 1, 1 << 20);
  roles.same_name = share(member(document, "same_name"), "same_name");
  roles.needles_answered = whole(document, "needles_answered", 0, roles.samples);
  const Json& recipes = list(document, "recipes", recipe_count);
  for (size_t r = 0; r < recipe_count; ++r) {
    if (text(recipes[r], "id") != id(static_cast<int>(r)))
      refuse("recipe '" + text(recipes[r], "id") + "' is not known");
    if (real(member(recipes[r], "threshold"), "threshold") != recipe_info(static_cast<Recipe>(r)).threshold) {
      refuse(std::string("the threshold of '") + id(static_cast<int>(r)) + "' is another one than this program's");
    }
    roles.stability[r] = real(member(recipes[r], "stability"), "stability");
  }
  const Json& heads = list(document, "heads", SIZE_MAX);
  if (static_cast<int64_t>(heads.size()) != int64_t{roles.layers} * roles.heads) {
    refuse(std::to_string(heads.size()) + " heads; " + std::to_string(roles.layers) + " layers of " +
           std::to_string(roles.heads) + " are announced");
  }
  for (const Json& head : heads) {
    HeadRole role;
    role.distance = whole(head, "distance", 0, 1 << 20);
    for (size_t r = 0; r < recipe_count; ++r) {
      const char* key = id(static_cast<int>(r));
      const Json& three = list(member(head, "scores"), key, 3);
      role.scores[r] = {share(three[0], key), share(three[1], key), share(three[2], key)};
    }
    observing::name_role(role);
    roles.of_head.push_back(std::move(role));
  }
  roles.ablation_draws = whole(document, "ablation_draws", 0, 1 << 20);
  if (!member(document, "ablation").is_null()) roles.ablation = ablation_from(document["ablation"], roles);
  return roles;
}

}  // namespace bareattn
