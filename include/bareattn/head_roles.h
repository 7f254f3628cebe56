// What each head of a model is for, by the field's recipes: repeated random tokens (induction, previous-token and
// duplicate-token heads), needles in texts (retrieval), the words that its output promotes (copying), and plain
// passages (positional, self, local, sink, broad). Every score is a mean over samples with a confidence interval; the
// same seed gives the same bits. docs/roles.md defines each. Refuses models too small for it. Next: observation.h,
// whose Role is another thing: what a head did on one text.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bareattn/observation.h"

namespace bareattn {

/// In the order in which a head is named after them: the most specific first.
enum class Recipe : int {
  induction,        // weight on the token after the earlier copy, second half of [BOS] X X
  duplicate_token,  // weight on the earlier copy, second half of [BOS] X X
  previous_token,   // weight on the token before, [BOS] X X
  retrieval,        // share of the steps of an answer that look at, and say, the needle's token
  positional,       // share of rows whose strongest key stands at the head's one distance
  self,             // weight on the token itself
  copying,          // share of words that are among the 5 which the head's output for them promotes most
  local,            // weight on the last 64 tokens, rows 128 to 255
  sink,             // weight on the first token, rows 0 to 63
  broad,            // normalised entropy
};
inline constexpr int recipe_count = static_cast<int>(Recipe::broad) + 1;

struct RecipeInfo {
  const char* id;           // "previous-token": the role's name
  const char* meaning;      // "look at the token just before": what heads of the role do
  const char* description;  // how it is scored, one sentence
  double threshold;         // a head whose mean score reaches it has the role
};
const RecipeInfo& recipe_info(Recipe recipe);

struct RoleOptions {
  int samples = 30;  // of every recipe; at least 4
  uint64_t seed = 0;
  int ablation_draws = 10;  // random sets of heads that the induction heads are compared with; 0: no such check
  std::string corpus = {};  // where passages and haystacks are cut from; empty: sentences of the library's own
};

/// Mean over the samples, each in 0..1, and its 95 % interval (bootstrap percentiles, 1,000 draws of the samples).
/// NaN where the recipe could not be scored (the model answered no needle).
struct RoleScore {
  double mean = 0, low = 0, high = 0;
};

struct HeadRole {
  std::string name = "mixed";  // the first recipe of the list that applies
  bool sure = false;           // its interval lies on the threshold's side as a whole; mixed: all intervals do
  std::vector<Recipe> all;     // every recipe that applies, in that order
  std::array<RoleScore, recipe_count> scores{};  // by Recipe
  int distance = 0;                              // positional: the distance that most rows look back
  std::string evidence;                          // "0.93 (0.91 to 0.95) of its weight goes to the token just before"
};

/// What zeroing the top induction heads does to the loss on [BOS] X X, beside random heads of the same layers. Nats per
/// token; `repeat` is the second X without its first token, which nothing foretells.
struct AblationCheck {
  std::vector<HeadId> heads;     // zeroed: those with the role, best first, at most 8
  double first = 0, repeat = 0;  // the model as it is
  double first_ablated = 0, repeat_ablated = 0;
  std::vector<double> repeat_random;  // [draws]: as many heads of each of those layers, drawn from the others
};

struct HeadRoles {
  std::string model_sha256, precision, corpus_sha256;  // corpus: empty for the library's own sentences
  int samples = 0;
  uint64_t seed = 0;
  int layers = 0, heads = 0;
  std::vector<HeadRole> of_head;  // [L Hq]
  /// Spearman's correlation of the heads' scores between two random halves of the samples, mean of 20 splits; NaN where
  /// a half cannot rank them (all alike).
  std::array<double, recipe_count> stability{};
  double same_name = 0;                   // share of heads that both halves name alike, mean of the same splits
  int needles_answered = 0;               // samples of retrieval in which the model itself said most of the answer
  int ablation_draws = 0;                 // asked for
  std::optional<AblationCheck> ablation;  // none: not asked for, or there is no induction head
  double seconds = 0;
  int threads = 1;

  const HeadRole& of(HeadId head) const { return of_head[static_cast<size_t>(head.layer) * heads + head.head]; }
};

/// Runs all recipes; a false from `progress` (tokens done, tokens in all) throws Cancelled. InputError for a corpus of
/// fewer than 600 tokens or a context of fewer than 1,024.
HeadRoles find_roles(const std::shared_ptr<const Model>& model, const RoleOptions& options = {}, int threads = 0,
                     const Progress& progress = {});

/// Whether find_roles(model, options) would give these roles.
bool same_request(const HeadRoles& roles, const Model& model, const RoleOptions& options);

/// docs/schema/roles.schema.json. What is read back is checked: InputError that says what does not fit.
std::string roles_to_json(const HeadRoles& roles);
HeadRoles roles_from_json(const std::string& json);

/// One file per model: $XDG_CACHE_HOME/bareattn/roles/HASH (else ~/.cache/...), with a checksum of its own. Empty where
/// the environment names no place.
std::string roles_cache_path(const std::string& model_sha256);
/// What the cache holds for the model; nothing where it holds nothing. A file that is damaged, of another version or of
/// another model counts as nothing, and `problem` (if given) says so. Never throws for what is in the cache.
std::optional<HeadRoles> cached_roles(const Model& model, std::string* problem = nullptr);
/// Writes the file whole or not at all. OutputError where it cannot be written or there is no place.
void cache_roles(const HeadRoles& roles);

}  // namespace bareattn
