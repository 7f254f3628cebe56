// The forward pass against independent oracles on real texts (tests/golden/make_model_golden.py says how they ran).
//
// Bounds, for a logit, relative to the largest logit of the compared row (|l| below). The residual stream is the sum of
// 2 L = 60 branches; a branch's rounding error relative to the stream is that of one projection. Errors of different
// branches are independent, so they add as the square root of their number:
//   f32    a dot product of k terms in one chain errs by about sqrt(k) 2^-24 of |x| |w|; the longest is k = F = 1,536:
//          sqrt(60 * 1536) * 2^-24 = 1.8e-5 of |l|, 6e-4 at |l| = 33. Transformers in f32 errs as much once more, and
//          its rotation angles are f32 (at position 1,500 off by up to 1e-4 rad), for which the bound is doubled again.
//   bf16   inputs and weights are rounded to 8 bits: 2^-9 each, sqrt(2) 2^-9 of |x| |w| whatever k is:
//          sqrt(60) * sqrt(2) * 2^-9 = 2.1e-2 of |l|.
//   llama.cpp multiplies 4- and 8-bit weights with activations rounded to 8 bits against the largest of 32: up to 1/254
//          of it, and the largest is about 4 times the mean: 60 branches give sqrt(60) * 4 / 254 / sqrt(3) = 7e-2 of
//          |l|.
// Greedy continuation: 64 tokens, equal to the f64 and the f32 run of transformers; equal to llama.cpp up to the first
// place where the two largest logits are closer than twice that oracle's bound.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "bareattn/model.h"
#include "golden_json.h"
#include "model_under_test.h"

namespace bareattn {
namespace {

constexpr double branches = 60;
const double f32_bound = std::sqrt(branches * 1536) * 0x1p-24;
const double bf16_bound = std::sqrt(branches) * std::sqrt(2.0) * 0x1p-9;
const double q8_bound = std::sqrt(branches) * 4 / 254 / std::sqrt(3.0);

const nlohmann::json& golden() {
  static const nlohmann::json json = test::golden_json("model_golden.json");
  return json;
}

std::vector<int32_t> tokens_of(const std::string& text) {
  return golden()["texts"][text]["tokens"].get<std::vector<int32_t>>();
}

/// Logits at the golden file's rows and ids, [rows][ids].
std::vector<std::vector<float>> run_rows(const std::string& text, Precision precision) {
  const auto& entry = golden()["texts"][text];
  const auto tokens = tokens_of(text);
  Session session(test::real_model(precision));
  std::vector<std::vector<float>> result;
  size_t next = 0;
  const size_t piece = 256;
  for (size_t first = 0; first < tokens.size(); first += piece) {
    const size_t count = std::min(piece, tokens.size() - first);
    const auto logits = session.run(std::span(tokens).subspan(first, count), Logits::all);
    for (; next < entry["rows"].size() && entry["rows"][next].get<size_t>() < first + count; ++next) {
      const auto row = entry["rows"][next].get<int64_t>() - static_cast<int64_t>(first);
      std::vector<float> values;
      for (const auto& id : entry["ids"][next]) values.push_back(logits.at(row, id.get<int64_t>()));
      result.push_back(std::move(values));
    }
  }
  EXPECT_EQ(next, entry["rows"].size());
  return result;
}

/// The largest difference to an oracle in units of the row's largest logit; checked against `bound`.
void compare(const std::string& text, const std::string& oracle, Precision precision, double bound) {
  static std::map<std::pair<std::string, Precision>, std::vector<std::vector<float>>> runs;
  auto& ours = runs[{text, precision}];
  if (ours.empty()) ours = run_rows(text, precision);
  const auto theirs = golden()["texts"][text]["oracles"][oracle]["logits"].get<std::vector<std::vector<double>>>();
  ASSERT_EQ(ours.size(), theirs.size());
  double worst = 0;
  double worst_absolute = 0;
  size_t compared = 0;
  for (size_t r = 0; r < ours.size(); ++r) {
    ASSERT_EQ(ours[r].size(), theirs[r].size());
    double largest = 0;
    double difference = 0;
    for (size_t i = 0; i < ours[r].size(); ++i, ++compared) {
      ASSERT_TRUE(std::isfinite(ours[r][i]));
      largest = std::max(largest, std::abs(theirs[r][i]));
      difference = std::max(difference, std::abs(static_cast<double>(ours[r][i]) - theirs[r][i]));
    }
    worst = std::max(worst, difference / largest);
    worst_absolute = std::max(worst_absolute, difference);
  }
  EXPECT_LT(worst, bound) << text << " against " << oracle;
  EXPECT_GT(compared, 1500U);
  std::printf("%s, %s against %s: %zu logits, max |difference| %.2g = %.2g of the largest; bound %.2g\n", text.c_str(),
              precision_name(precision), oracle.c_str(), compared, worst_absolute, worst, bound);
}

class OnText : public testing::TestWithParam<const char*> {};

TEST_P(OnText, F32LogitsMatchF64) { compare(GetParam(), "f64", Precision::f32, f32_bound); }
TEST_P(OnText, F32LogitsMatchTransformers) { compare(GetParam(), "transformers", Precision::f32, 4 * f32_bound); }
TEST_P(OnText, F32LogitsAreNearLlamaCpp) { compare(GetParam(), "llama.cpp", Precision::f32, q8_bound); }

// What is rounded is in the projections, which know no positions: the long text would say the same for a minute of a
// machine that has no instruction for it.
TEST(Bf16, LogitsAreNearF64) {
  for (const char* text : {"short", "middle"}) compare(text, "f64", Precision::bf16, bf16_bound);
}

const std::vector<int32_t>& greedy(const std::string& text) {
  static std::map<std::string, std::vector<int32_t>> runs;
  auto& tokens = runs[text];
  if (!tokens.empty()) return tokens;
  Session session(test::real_model());
  return tokens = generate(session, session.run(tokens_of(text)), 64);
}

// generate() stops after the end token, the oracles go on: equal up to there.
std::vector<int32_t> until_end(std::vector<int32_t> tokens) {
  const int32_t end = test::real_model()->tokenizer().spec().eos_id;
  const auto found = std::find(tokens.begin(), tokens.end(), end);
  if (found != tokens.end()) tokens.erase(found + 1, tokens.end());
  return tokens;
}

TEST_P(OnText, GreedyContinuationEqualsTransformers) {
  const auto& oracles = golden()["texts"][GetParam()]["oracles"];
  const auto& ours = greedy(GetParam());
  for (const char* oracle : {"f64", "transformers"}) {
    const auto theirs = oracles[oracle]["greedy"].get<std::vector<int32_t>>();
    ASSERT_EQ(theirs.size(), 64U);
    EXPECT_EQ(ours, until_end(theirs)) << oracle;
  }
}

TEST_P(OnText, GreedyContinuationEqualsLlamaCppWhereItIsSure) {
  const auto& oracle = golden()["texts"][GetParam()]["oracles"]["llama.cpp"];
  const auto theirs = until_end(oracle["greedy"].get<std::vector<int32_t>>());
  const auto gaps = oracle["gaps"].get<std::vector<double>>();
  const auto& ours = greedy(GetParam());
  const auto common =
      static_cast<size_t>(std::mismatch(ours.begin(), ours.end(), theirs.begin(), theirs.end()).first - ours.begin());
  if (common < std::min(ours.size(), theirs.size())) {
    EXPECT_LT(gaps[common], 2 * q8_bound * 33) << "diverges at token " << common << " though the choice was clear";
  }
  EXPECT_GE(common, 16U);
  std::printf("%s: %zu of 64 tokens equal to llama.cpp\n", GetParam(), common);
}

INSTANTIATE_TEST_SUITE_P(Texts, OnText, testing::Values("short", "middle", "long"),
                         [](const auto& text) { return text.param; });

TEST(Perplexity, EqualsTheOraclesToFourDigits) {
  const auto tokens = tokens_of("perplexity");
  ASSERT_EQ(tokens.size(), 2000U);
  const auto& oracles = golden()["texts"]["perplexity"]["oracles"];
  const double ours = perplexity(test::real_model(), tokens);
  const double f64 = oracles["f64"]["perplexity"];
  const double transformers = oracles["transformers"]["perplexity"];
  const double llama = oracles["llama.cpp"]["perplexity"];
  std::printf("perplexity %.5f; f64 %.5f, transformers %.5f, llama.cpp %.5f\n", ours, f64, transformers, llama);
  EXPECT_NEAR(ours, f64, f64 * 1e-5);
  EXPECT_NEAR(ours, transformers, transformers * 1e-5);
  EXPECT_NEAR(ours, llama, llama * 5e-3);  // 8-bit activations
  // Rounded, against ours that were just compared; a quarter of the text is enough for that.
  const auto some = std::span(tokens).first(500);
  const double exact = perplexity(test::real_model(), some);
  const double bf16 = perplexity(test::real_model(Precision::bf16), some);
  const double attention = perplexity(test::real_model(Precision::f32, Precision::bf16), some);
  std::printf("of 500 tokens %.5f; with bf16 projections %.5f, with attention in bf16 %.5f\n", exact, bf16, attention);
  EXPECT_NEAR(bf16, exact, exact * 5e-3);
  EXPECT_NEAR(attention, exact, exact * 2e-3);
  EXPECT_NE(attention, exact);
}

}  // namespace
}  // namespace bareattn
