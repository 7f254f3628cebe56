// find_roles: runs every recipe on its samples, makes means, intervals, names and their stability of the scores, and
// checks the induction heads by zeroing them. Refuses what is too short. Next: recipes.h for what is scored, roles.h
// for the thresholds, role_statistics.h for the statistics, roles_json.cc and roles_cache.cc for keeping the result.
#include "bareattn/head_roles.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "bareattn/error.h"
#include "base/float_environment.h"
#include "base/sha256.h"
#include "base/thread_pool.h"
#include "roles/name_roles.h"
#include "roles/recipes.h"
#include "roles/role_statistics.h"

namespace bareattn {
namespace observing {
namespace {

constexpr uint64_t bootstrap_stream = 201, split_stream = 202;
constexpr int splits = 20, most_ablated = 8;
constexpr int64_t least_corpus = 600, least_context = 1024;

using AllScores = std::array<SampleScores, recipe_count>;
SampleScores& scores_of(AllScores& all, Recipe recipe) { return all[static_cast<size_t>(recipe)]; }

RecipeRun prepare(const std::shared_ptr<const Model>& model, const RoleOptions& options, int threads) {
  if (options.samples < 4) {
    throw std::invalid_argument("find_roles: samples is " + std::to_string(options.samples) +
                                "; at least 4 are needed");
  }
  if (options.ablation_draws < 0) throw std::invalid_argument("find_roles: ablation_draws is negative");
  if (model->config().context_length < least_context) {
    throw InputError(fmt::format("the model's context is {} tokens; the recipes need {}",
                                 model->config().context_length, least_context));
  }
  RecipeRun run;
  run.model = model;
  run.seed = options.seed;
  run.threads = threads;
  for (const std::string& sentence : options.corpus.empty() ? corpus_sentences() : split_sentences(options.corpus)) {
    const auto tokens = model->tokenizer().encode(sentence);
    if (tokens.empty()) continue;
    run.sentence_starts.push_back(static_cast<int64_t>(run.corpus.size()));
    run.corpus.insert(run.corpus.end(), tokens.begin(), tokens.end());
  }
  if (static_cast<int64_t>(run.corpus.size()) < least_corpus) {
    throw InputError(fmt::format("the corpus is {} tokens long; passages and haystacks need at least {}",
                                 run.corpus.size(), least_corpus));
  }
  return run;
}

/// Tokens that all of it will run, about: for the progress bar alone.
int64_t work(const RecipeRun& run, const RoleOptions& options) {
  const int64_t copying = passage_length / 2 + int64_t{copied_words} * run.heads() / 2;
  constexpr int64_t repeat = 2 * repeat_length + 1;
  const int64_t sample = repeat + passage_length + 400 + copying;
  const int64_t ablation = options.ablation_draws > 0 ? (2 + options.ablation_draws) * ablation_samples * repeat : 0;
  return options.samples * sample + ablation;
}

void score_all(const RecipeRun& run, int samples, AllScores& all, HeadRoles& result, std::vector<int>& distance) {
  std::vector<PassageScores> passages;
  for (int k = 0; k < samples; ++k) {
    RepeatScores repeat = score_repeat(run, repeat_tokens(run, 1, k));
    scores_of(all, Recipe::induction).push_back(std::move(repeat.induction));
    scores_of(all, Recipe::duplicate_token).push_back(std::move(repeat.duplicate));
    scores_of(all, Recipe::previous_token).push_back(std::move(repeat.previous));

    const auto tokens = passage_tokens(run, k);
    passages.push_back(score_passage(run, tokens));
    scores_of(all, Recipe::self).push_back(passages.back().self);
    scores_of(all, Recipe::local).push_back(passages.back().local);
    scores_of(all, Recipe::sink).push_back(passages.back().sink);
    scores_of(all, Recipe::broad).push_back(passages.back().broad);
    const auto words = copy_positions(run, tokens, k);
    if (!words.empty()) scores_of(all, Recipe::copying).push_back(score_copying(run, tokens, words));

    NeedleScores needle = score_needle(run, needle_tokens(run, k));
    if (needle.said > 0.5) scores_of(all, Recipe::retrieval).push_back(std::move(needle.retrieval));
  }
  scores_of(all, Recipe::positional) = score_positional(passages, distance);
  result.needles_answered = static_cast<int>(scores_of(all, Recipe::retrieval).size());
}

std::vector<double> of_head(const SampleScores& scores, size_t head) {
  std::vector<double> values;
  for (const auto& sample : scores) values.push_back(sample[head]);
  return values;
}

/// Means of the heads over samples [begin, end) of `order`; NaN for none.
std::vector<double> means(const SampleScores& scores, const std::vector<int>& order, size_t begin, size_t end,
                          size_t heads) {
  std::vector<double> sum(heads, begin < end ? 0.0 : std::numeric_limits<double>::quiet_NaN());
  for (size_t k = begin; k < end; ++k)
    for (size_t head = 0; head < heads; ++head) {
      sum[head] += scores[static_cast<size_t>(order[k])][head] / static_cast<double>(end - begin);
    }
  return sum;
}

void split_halves(const AllScores& all, uint64_t seed, size_t heads, HeadRoles& result) {
  std::array<double, recipe_count> total{};
  for (int split = 0; split < splits; ++split) {
    std::array<std::vector<double>, recipe_count> halves[2];
    for (size_t r = 0; r < all.size(); ++r) {
      std::vector<int> order(all[r].size());
      for (size_t k = 0; k < order.size(); ++k) order[k] = static_cast<int>(k);
      base::SplitMix64 random(seed, {split_stream, static_cast<uint64_t>(split), r});
      random.shuffle(order);
      halves[0][r] = means(all[r], order, 0, order.size() / 2, heads);
      halves[1][r] = means(all[r], order, order.size() / 2, order.size(), heads);
      total[r] += rank_correlation(halves[0][r], halves[1][r]);
    }
    size_t alike = 0;
    for (size_t head = 0; head < heads; ++head) {
      std::array<double, recipe_count> a{}, b{};
      for (size_t r = 0; r < all.size(); ++r) a[r] = halves[0][r][head], b[r] = halves[1][r][head];
      alike += role_name(a) == role_name(b) ? 1 : 0;
    }
    result.same_name += static_cast<double>(alike) / static_cast<double>(heads) / splits;
  }
  for (size_t r = 0; r < all.size(); ++r) result.stability[r] = total[r] / splits;
}

std::vector<HeadId> top_induction(const HeadRoles& roles) {
  std::vector<HeadId> heads;
  const auto score = [&](HeadId id) { return roles.of(id).scores[static_cast<size_t>(Recipe::induction)].mean; };
  for (int layer = 0; layer < roles.layers; ++layer)
    for (int head = 0; head < roles.heads; ++head) {
      if (score({layer, head}) >= recipe_info(Recipe::induction).threshold) heads.push_back({layer, head});
    }
  std::stable_sort(heads.begin(), heads.end(), [&](HeadId a, HeadId b) { return score(a) > score(b); });
  heads.resize(std::min<size_t>(heads.size(), most_ablated));
  return heads;
}

}  // namespace
}  // namespace observing

bool same_request(const HeadRoles& roles, const Model& model, const RoleOptions& options) {
  const std::string corpus = options.corpus.empty() ? std::string() : base::sha256(options.corpus);
  return roles.samples == options.samples && roles.seed == options.seed && roles.corpus_sha256 == corpus &&
         roles.ablation_draws == options.ablation_draws && roles.precision == precision_text(model) &&
         roles.model_sha256 == model.sha256();
}

HeadRoles find_roles(const std::shared_ptr<const Model>& model, const RoleOptions& options, int threads,
                     const Progress& progress) {
  const base::DefaultFloatEnvironment environment;
  using namespace observing;
  const auto start = std::chrono::steady_clock::now();
  RecipeRun run = prepare(model, options, threads);
  int64_t done = 0, total = work(run, options);
  run.advance = [&](int64_t tokens) {
    done += tokens;
    total = std::max(total, done);
    if (progress && !progress(done, total)) throw Cancelled();
  };

  HeadRoles result;
  result.model_sha256 = model->sha256();
  result.precision = precision_text(*model);
  if (!options.corpus.empty()) result.corpus_sha256 = base::sha256(options.corpus);
  result.samples = options.samples;
  result.seed = options.seed;
  result.ablation_draws = options.ablation_draws;
  result.layers = model->config().layers;
  result.heads = model->config().heads;
  result.threads = threads > 0 ? threads : base::available_cores();

  AllScores all;
  std::vector<int> distance;
  score_all(run, options.samples, all, result, distance);
  const auto heads = static_cast<size_t>(run.heads());
  result.of_head.resize(heads);
  for (size_t r = 0; r < all.size(); ++r) {
    const auto indices =
        bootstrap_indices(static_cast<int>(all[r].size()), base::SplitMix64(options.seed, {bootstrap_stream, r}));
    for (size_t head = 0; head < heads; ++head) {
      result.of_head[head].scores[r] = bootstrap_score(observing::of_head(all[r], head), indices);
    }
  }
  for (size_t head = 0; head < heads; ++head) {
    result.of_head[head].distance = distance[head];
    name_role(result.of_head[head]);
  }
  split_halves(all, options.seed, heads, result);
  if (options.ablation_draws > 0) {
    auto top = top_induction(result);
    if (!top.empty()) result.ablation = check_ablation(run, std::move(top), options.ablation_draws);
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace bareattn
