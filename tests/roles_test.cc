// The recipes of head roles against published code and eager weights (tests/golden/make_roles_golden.py), against a
// dense f64 computation from the run's own Q and K, and the statistics and names made of them. The cache:
// roles_cache_test.cc.
//
// Bound of a weight against the golden file: the residual stream of f32 is within 1.8e-5 of f64's
// (model_oracle_test.cc), so Q and K are and a score moves by 2 * 1.8e-5 |s|; no score of this model is beyond 40, and
// dp = p (1 - p) ds <= ds / 4.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>

#include "bareattn/head_roles.h"
#include "golden_json.h"
#include "model_under_test.h"
#include "observe_dense.h"
#include "roles/name_roles.h"
#include "roles/recipes.h"
#include "roles/role_statistics.h"

namespace bareattn {
namespace {

using namespace observing;

constexpr double weight_bound = 2 * 1.8e-5 * 40 / 4;
constexpr double entropy_bound = 4 * weight_bound;  // normalised entropy: ln p moves by 2 * 1.8e-5 * 40, over ln N >= 1

const nlohmann::json& golden() {
  static const nlohmann::json json = test::golden_json("roles_golden.json");
  return json;
}

RecipeRun recipe_run(uint64_t seed = 0) {
  RecipeRun run;
  run.model = test::real_model();
  run.seed = seed;
  run.advance = [](int64_t) {};
  for (const std::string& sentence : corpus_sentences()) {
    run.sentence_starts.push_back(static_cast<int64_t>(run.corpus.size()));
    const auto tokens = run.model->tokenizer().encode(sentence);
    run.corpus.insert(run.corpus.end(), tokens.begin(), tokens.end());
  }
  return run;
}

double largest_difference(const std::vector<double>& ours, const nlohmann::json& theirs, double factor = 1) {
  EXPECT_EQ(ours.size(), theirs.size());
  double most = 0;
  for (size_t i = 0; i < ours.size(); ++i) most = std::max(most, std::abs(ours[i] - factor * theirs[i].get<double>()));
  return most;
}

TEST(RolesGolden, RepeatScoresAreTransformerLensScores) {
  const auto& entry = golden()["repeat"];
  const auto tokens = entry["tokens"].get<std::vector<int32_t>>();
  const RepeatScores scores = score_repeat(recipe_run(), tokens);
  // "mul" is the share of all weight, N rows of 1, that lies on the pattern; ours is the mean over the pattern's rows.
  const auto n = static_cast<double>(tokens.size()), half = (n - 1) / 2;
  const auto& theirs = entry["transformer_lens_mul"];
  EXPECT_LE(largest_difference(scores.induction, theirs["induction"], n / half), weight_bound);
  EXPECT_LE(largest_difference(scores.duplicate, theirs["duplicate_token"], n / half), weight_bound);
  EXPECT_LE(largest_difference(scores.previous, theirs["previous_token"], n / (n - 1)), weight_bound);
  EXPECT_GT(*std::max_element(scores.induction.begin(), scores.induction.end()), 0.5);  // there is something to compare
}

TEST(RolesGolden, PassageScoresAreThoseOfEagerWeights) {
  const auto& entry = golden()["passage"];
  const auto tokens = entry["tokens"].get<std::vector<int32_t>>();
  ASSERT_EQ(static_cast<int>(tokens.size()), passage_length);
  const PassageScores scores = score_passage(recipe_run(), tokens);
  EXPECT_LE(largest_difference(scores.self, entry["self"]), weight_bound);
  EXPECT_LE(largest_difference(scores.local, entry["local"]), weight_bound);
  EXPECT_LE(largest_difference(scores.sink, entry["sink"]), weight_bound);
  EXPECT_LE(largest_difference(scores.broad, entry["broad"]), entropy_bound);

  int64_t close = 0;
  for (size_t head = 0; head < scores.distance.size(); ++head) {
    std::vector<int64_t> theirs(passage_length);
    const auto keys = entry["strongest"][head].get<std::vector<int>>();
    for (int i = 1; i < passage_length; ++i) ++theirs[static_cast<size_t>(i - keys[static_cast<size_t>(i)])];
    int64_t apart = 0;
    for (size_t d = 0; d < theirs.size(); ++d) apart += std::abs(theirs[d] - scores.distance[head][d]);
    const auto near = static_cast<int64_t>(entry["close_rows"][head].size());
    EXPECT_LE(apart, 2 * near) << "head " << head;
    close += near;
  }
  EXPECT_LT(close, 270 * 255 / 50);  // else the comparison says little
}

TEST(RolesGolden, RetrievalIsThatOfEagerWeights) {
  const auto& entry = golden()["needle"];
  Needle needle;
  needle.tokens = entry["tokens"].get<std::vector<int32_t>>();
  needle.begin = entry["begin"], needle.end = entry["end"], needle.answer = entry["answer"];
  const NeedleScores scores = score_needle(recipe_run(), needle);
  const auto said = entry["said"].get<std::vector<int>>();
  const auto steps = static_cast<double>(said.size());
  double right = 0;
  for (size_t s = 0; s < said.size(); ++s)
    right += said[s] == needle.tokens[static_cast<size_t>(needle.begin) + s] ? 1 : 0;
  EXPECT_DOUBLE_EQ(scores.said, right / steps);
  EXPECT_GT(right, 0);
  double most = 0;
  for (size_t head = 0; head < scores.retrieval.size(); ++head) {
    const auto keys = entry["strongest"][head].get<std::vector<int64_t>>();
    double hits = 0;
    for (size_t s = 0; s < said.size(); ++s) {
      const int32_t expected = needle.tokens[static_cast<size_t>(needle.begin) + s];
      const bool inside = keys[s] >= needle.begin && keys[s] < needle.end;
      hits += said[s] == expected && inside && needle.tokens[static_cast<size_t>(keys[s])] == expected ? 1 : 0;
    }
    EXPECT_LE(std::abs(scores.retrieval[head] - hits / steps), entry["close"][head].get<double>() / steps + 1e-12)
        << "head " << head;
    most = std::max(most, hits / steps);
  }
  EXPECT_GE(most, 0.5);
}

TEST(RolesGolden, CopyingIsThatOfTheWeightsInDouble) {
  const auto& entry = golden()["copying"];
  const auto tokens = entry["tokens"].get<std::vector<int32_t>>();
  const auto positions = entry["positions"].get<std::vector<int64_t>>();
  const auto scores = score_copying(recipe_run(), tokens, positions);
  ASSERT_EQ(scores.size(), entry["rank"].size());
  int copied = 0;
  for (size_t head = 0; head < scores.size(); ++head) {
    int among = 0, close = 0;
    for (size_t w = 0; w < positions.size(); ++w) {
      among += entry["rank"][head][w].get<int>() < copied_top ? 1 : 0;
      close += entry["close"][head][w].get<int>();
    }
    EXPECT_NEAR(scores[head] * static_cast<double>(positions.size()), among, close + 1e-9) << "head " << head;
    copied += among;
  }
  EXPECT_GT(copied, 10);
}

/// Q [Hq, N, D] and K [Hkv, N, D] of one layer, dense.
class OneLayer final : public Observer {
 public:
  explicit OneLayer(int layer) : layer_(layer) {}
  bool wants(Point point, int layer) override {
    return layer == layer_ && (point == Point::rot_q || point == Point::rot_k);
  }
  void see(const Event& event) override {
    auto& to = event.point == Point::rot_q ? q : k;
    for (int64_t h = 0; h < event.values.shape[1]; ++h)
      for (int64_t i = 0; i < event.values.shape[0]; ++i)
        for (int64_t d = 0; d < event.values.shape[2]; ++d) to.push_back(event.values.at(i, h, d));
  }
  std::vector<float> q, k;

 private:
  int layer_;
};

TEST(RolesDense, RepeatScoresByTheirDefinition) {
  const RecipeRun run = recipe_run(3);
  const auto tokens = repeat_tokens(run, 1, 0);
  const auto n = static_cast<int64_t>(tokens.size());
  const RepeatScores scores = score_repeat(run, tokens);
  const ModelConfig& config = run.model->config();
  for (const int layer : {0, 8, 18}) {
    OneLayer seen(layer);
    Session session(run.model);
    session.run(tokens, Logits::none, &seen);
    for (int head = 0; head < config.heads; ++head) {
      const int64_t size = n * config.head_dim, group = config.heads / config.kv_heads;
      const auto dense =
          test::dense_head(seen.q.data() + head * size, seen.k.data() + head / group * size, n, config.head_dim);
      double induction = 0, duplicate = 0, previous = 0, error = 0;
      int64_t rows = 0;
      for (int64_t i = 1; i < n; ++i) {
        bool repeats = false;
        for (int64_t j = 0; j <= i; ++j) {
          const double p = dense.weights[static_cast<size_t>(i)][static_cast<size_t>(j)];
          const bool same = j < i && tokens[static_cast<size_t>(j)] == tokens[static_cast<size_t>(i)];
          const bool after = j > 0 && j - 1 < i && tokens[static_cast<size_t>(j - 1)] == tokens[static_cast<size_t>(i)];
          if (same) duplicate += p, repeats = true;
          if (after) induction += p;
          if (j == i - 1) previous += p;
        }
        rows += repeats ? 1 : 0;
        error = std::max(error, dense.logit_error[static_cast<size_t>(i)]);
      }
      ASSERT_EQ(rows, repeat_length);
      const auto at = static_cast<size_t>(layer * config.heads + head);
      const double bound = 2 * error + 0x1p-20;  // score and LSE in f32
      EXPECT_NEAR(scores.induction[at], induction / static_cast<double>(rows), bound);
      EXPECT_NEAR(scores.duplicate[at], duplicate / static_cast<double>(rows), bound);
      EXPECT_NEAR(scores.previous[at], previous / static_cast<double>(n - 1), bound);
    }
  }
}

TEST(RolesSamples, AreDrawnFromTheSeedAlone) {
  const RecipeRun a = recipe_run(1), b = recipe_run(1), c = recipe_run(2);
  const Tokenizer& tokenizer = a.model->tokenizer();
  for (int k = 0; k < 6; ++k) {
    const auto tokens = repeat_tokens(a, 1, k);
    EXPECT_EQ(tokens, repeat_tokens(b, 1, k));
    EXPECT_NE(tokens, repeat_tokens(c, 1, k));
    EXPECT_NE(tokens, repeat_tokens(a, 1, k + 1));
    EXPECT_NE(tokens, repeat_tokens(a, 101, k));  // the ablation check sees other texts
    std::vector<int32_t> x(tokens.begin() + 1, tokens.begin() + 1 + repeat_length);
    EXPECT_TRUE(std::equal(x.begin(), x.end(), tokens.begin() + 1 + repeat_length));
    std::sort(x.begin(), x.end());
    EXPECT_EQ(std::unique(x.begin(), x.end()), x.end());
    EXPECT_TRUE(std::none_of(x.begin(), x.end(), [&](int32_t id) { return tokenizer.is_special(id); }));
    EXPECT_EQ(passage_tokens(a, k), passage_tokens(b, k));
    EXPECT_NE(passage_tokens(a, k), passage_tokens(c, k));
  }
}

TEST(RolesSamples, NeedlesStandAtEveryDepthAndAskForWhatIsThere) {
  const RecipeRun run = recipe_run();
  std::vector<double> depths;
  for (int k = 0; k < 15; ++k) {
    const Needle needle = needle_tokens(run, k);
    const int64_t steps = needle.end - needle.begin;
    ASSERT_GE(steps, 4);
    EXPECT_EQ(static_cast<int64_t>(needle.tokens.size()), needle.answer + steps);
    for (int64_t s = 0; s + 1 < steps; ++s) {
      EXPECT_EQ(needle.tokens[static_cast<size_t>(needle.answer + 1 + s)],
                needle.tokens[static_cast<size_t>(needle.begin + s)]);
    }
    depths.push_back(static_cast<double>(needle.begin) / static_cast<double>(needle.answer));
  }
  for (int length = 0; length < 3; ++length)  // deeper and deeper for each length
    for (int depth = 1; depth < 5; ++depth) {
      EXPECT_GT(depths[static_cast<size_t>(3 * depth + length)], depths[static_cast<size_t>(3 * (depth - 1) + length)]);
    }
}

TEST(RolesSamples, SentencesOfAUsersText) {
  EXPECT_EQ(split_sentences("One. Two!  Three?\n\n four\r\n3.14 is pi.  "),
            (std::vector<std::string>{" One.", " Two!", " Three?", " four", " 3.14 is pi."}));
  EXPECT_TRUE(split_sentences(" \n\t ").empty());
}

RC_GTEST_PROP(RolesStatistics, RankCorrelationIsPearsonsOfTheRanks, ()) {
  const auto count = *rc::gen::inRange<size_t>(2, 30);
  const auto values = rc::gen::container<std::vector<int>>(count, rc::gen::inRange(0, 8));
  const auto to_double = [](const std::vector<int>& v) { return std::vector<double>(v.begin(), v.end()); };
  const auto a = to_double(*values), b = to_double(*values);
  const auto rank = [&](const std::vector<double>& v, size_t i) {  // smaller ones, and half of the equal ones
    double r = 0;
    for (const double x : v) r += x < v[i] ? 1 : x == v[i] ? 0.5 : 0;
    return r;
  };
  double ma = 0, mb = 0, ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < count; ++i) ma += rank(a, i) / double(count), mb += rank(b, i) / double(count);
  for (size_t i = 0; i < count; ++i) {
    const double x = rank(a, i) - ma, y = rank(b, i) - mb;
    ab += x * y, aa += x * x, bb += y * y;
  }
  const double ours = rank_correlation(a, b);
  if (aa < 1e-9 || bb < 1e-9) {
    RC_ASSERT(std::isnan(ours));
  } else {
    RC_ASSERT(std::abs(ours - ab / std::sqrt(aa * bb)) < 1e-9);
  }
}

TEST(RolesStatistics, IntervalsCoverTheMeanThatTheyEstimate) {
  base::SplitMix64 random(11);
  int covered = 0;
  const int trials = 400, samples = 30;
  for (int t = 0; t < trials; ++t) {
    std::vector<double> values;
    for (int i = 0; i < samples; ++i) values.push_back(random.uniform());
    const auto s = bootstrap_score(values, bootstrap_indices(samples, base::SplitMix64(random.next())));
    EXPECT_TRUE(s.low <= s.mean && s.mean <= s.high);
    covered += s.low <= 0.5 && 0.5 <= s.high ? 1 : 0;
  }
  // 95 % but for the bootstrap's own narrowness at 30 samples (about 1.5 points); 4 standard deviations of 400 trials.
  EXPECT_NEAR(covered / double(trials), 0.94, 4 * std::sqrt(0.95 * 0.05 / trials));
  EXPECT_TRUE(std::isnan(bootstrap_score({}, {}).mean));
}

TEST(RolesNames, TheMostSpecificRecipeNamesTheHead) {
  HeadRole role;
  name_role(role);
  EXPECT_EQ(role.name, "mixed");
  EXPECT_TRUE(role.sure);
  const auto set = [&](Recipe recipe, double mean, double low, double high) {
    role.scores[static_cast<size_t>(recipe)] = {mean, low, high};
    name_role(role);
  };
  for (int r = recipe_count - 1; r >= 0; --r) {  // from the least specific on, each takes the name over
    const RecipeInfo& info = recipe_info(static_cast<Recipe>(r));
    set(static_cast<Recipe>(r), info.threshold, info.threshold, 1);
    EXPECT_EQ(role.name, info.id);
    EXPECT_TRUE(role.sure);
    EXPECT_EQ(static_cast<int>(role.all.size()), recipe_count - r);
    EXPECT_FALSE(role.evidence.empty());
  }
  set(Recipe::induction, 0.41, 0.39, 0.43);
  EXPECT_EQ(role.name, "induction");
  EXPECT_FALSE(role.sure);
  set(Recipe::induction, 0.39, 0.37, 0.41);
  EXPECT_EQ(role.name, "duplicate-token");
  EXPECT_FALSE(role.sure);
  set(Recipe::induction, NAN, NAN, NAN);
  EXPECT_EQ(role.name, "duplicate-token");
  EXPECT_TRUE(role.sure);
}

}  // namespace
}  // namespace bareattn
