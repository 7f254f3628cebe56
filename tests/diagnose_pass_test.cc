// Hypotheses about a pass, on evidence whose LSE is remade as another engine would have made it: what is hidden from a
// row on, capped, scaled by half a percent, or off in a way that nobody knows. And how findings say it: how many heads
// they fit, the unexplained first where it is most, one fault once.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "bareattn/diagnosis.h"
#include "model_under_test.h"

namespace bareattn {
namespace {

constexpr const char* text =
    "The clockmaker kept three keys on a ring and never told his apprentice what the third one opened. On the morning "
    "of the fair the boy found the ring on the bench, and the shop door standing open to the street. He counted the "
    "clocks on the wall, as he did every morning, and for the first time there was one too many. It was small, made of "
    "brass, and it was running backwards.";

const Diagnosis& healthy() {
  static const Diagnosis one =
      diagnose(test::real_model(), test::real_model()->tokenizer().encode(text), {.expectations = {}, .probes = false});
  return one;
}

using Score = std::function<double(int64_t row, int64_t key, double logit)>;  // -inf: not seen
bool everywhere(HeadId) { return true; }

/// The evidence of a healthy run with the LSE of some heads as a pass with these scores leaves it.
Evidence remade(const Score& score, const std::function<bool(HeadId)>& in, Evidence e = healthy().evidence) {
  for (HeadEvidence& head : e.heads) {
    if (!in(head.head)) continue;
    head.mismatch = head.excess = 0;
    for (RowEvidence& row : head.rows) {
      // As the pass rounds: what is off already stays so.
      double before = 0, after = 0;
      for (int64_t j = 0; j <= row.row; ++j) {
        const auto logit = static_cast<double>(row.logits[static_cast<size_t>(j)]);
        before += std::exp(logit - static_cast<double>(row.lse));
        after += std::exp(score(row.row, j, logit) - static_cast<double>(row.lse));
      }
      row.lse += static_cast<float>(std::log(after) - std::log(before));
      double sum = 0;
      for (int64_t j = 0; j <= row.row; ++j)
        if (e.expectations.window < 0 || j >= row.row - e.expectations.window)
          sum += std::exp(static_cast<double>(row.logits[static_cast<size_t>(j)] - row.lse));
      const double off = std::abs(std::log(sum));
      head.mismatch = std::max(head.mismatch, off);
      head.excess = std::max(head.excess, off / row.tolerance);
    }
  }
  return e;
}

std::string said(const std::vector<Finding>& findings) {
  std::string all;
  for (const Finding& f : findings) all += f.check + ": " + f.sentence + "\n";
  return all;
}

TEST(DiagnosePass, AHealthyPassHasNoScaleOfItsOwn) {
  EXPECT_TRUE(check_weights(healthy().evidence).empty()) << said(check_weights(healthy().evidence));
}

TEST(DiagnosePass, KeysHiddenFromARowOnAreEvicted) {
  const int64_t from = healthy().evidence.heads[0].rows[4].row;
  const auto found = check_weights(remade(
      [&](int64_t row, int64_t key, double logit) { return row >= from && key >= 6 && key < 24 ? -INFINITY : logit; },
      everywhere));
  ASSERT_FALSE(found.empty());
  EXPECT_EQ(found[0].check, "keys-evicted") << said(found);
  EXPECT_NEAR(static_cast<double>(found[0].token), 6, 1);
  EXPECT_NEAR(static_cast<double>(found[0].last), 23, 1);
  EXPECT_EQ(found[0].value, static_cast<double>(from));
}

TEST(DiagnosePass, ACapIsFoundWithItsSize) {
  const auto found =
      check_weights(remade([](int64_t, int64_t, double logit) { return 20 * std::tanh(logit / 20); }, everywhere));
  ASSERT_FALSE(found.empty());
  EXPECT_EQ(found[0].check, "wrong-softcap") << said(found);
  EXPECT_NEAR(found[0].value, 20, 1);
}

TEST(DiagnosePass, AScaleOfHalfAPercentIsFound) {
  for (const double scale : {1.005, 0.995, 1.02}) {
    const auto times = [&](int64_t, int64_t, double logit) { return scale * logit; };
    const auto all = check_weights(remade(times, everywhere));
    ASSERT_EQ(all.size(), 1U) << said(all);
    EXPECT_EQ(all[0].check, "wrong-scale");
    EXPECT_NEAR(all[0].value, scale, 0.001);
    const auto layer = check_weights(remade(times, [](HeadId head) { return head.layer == 7; }));
    ASSERT_EQ(layer.size(), 1U) << said(layer);
    EXPECT_EQ(layer[0].check, "wrong-scale");
    for (const HeadId head : layer[0].heads) EXPECT_EQ(head.layer, 7);
  }
}

TEST(DiagnosePass, TheUnexplainedStandsFirstWhereItIsMost) {
  Evidence e =
      remade([](int64_t, int64_t, double logit) { return 1.5 * logit; }, [](HeadId head) { return head.layer == 3; });
  // Every row off by another factor: no rule.
  e = remade(
      [](int64_t row, int64_t, double logit) { return logit + 0.3 * std::sin(static_cast<double>(row) * 1.7) + 0.5; },
      [](HeadId head) { return head.layer > 20; }, e);
  int turn = 0;
  for (HeadEvidence& head : e.heads)
    if (head.head.layer > 20)
      for (RowEvidence& row : head.rows) row.lse += 0.4F * static_cast<float>((turn += 7) % 11) / 11;
  const auto found = check_weights(e);
  ASSERT_GE(found.size(), 2U) << said(found);
  const auto unexplained =
      std::find_if(found.begin(), found.end(), [](const Finding& f) { return f.check == "row-sum"; });
  const auto scale =
      std::find_if(found.begin(), found.end(), [](const Finding& f) { return f.check == "wrong-scale"; });
  ASSERT_NE(unexplained, found.end()) << said(found);
  ASSERT_NE(scale, found.end()) << said(found);
  EXPECT_TRUE(unexplained->leads);
  EXPECT_NE(scale->sentence.find(" This fits 9 of the "), std::string::npos) << scale->sentence;
}

TEST(DiagnosePass, OneFaultIsToldOnceAndOneHeadIsOne) {
  const auto two = check_weights(
      remade([](int64_t row, int64_t, double logit) { return (1.5 + 1e-5 * static_cast<double>(row)) * logit; },
             [](HeadId head) { return head.layer > 3; }));
  ASSERT_EQ(two.size(), 1U) << said(two);
  EXPECT_EQ(two[0].check, "wrong-scale");
  const auto one = check_weights(remade([](int64_t, int64_t, double logit) { return 2 * logit; },
                                        [](HeadId head) {
                                          return head == HeadId{4, 2};
                                        }));
  ASSERT_EQ(one.size(), 1U);
  EXPECT_NE(one[0].sentence.find("1 head "), std::string::npos) << one[0].sentence;
  EXPECT_EQ(one[0].sentence.find("heads"), std::string::npos) << one[0].sentence;
}

TEST(DiagnosePass, AWindowThatIsTheWholeTextIsSaidSo) {
  Evidence e = healthy().evidence;
  e.expectations.window = 24;
  const auto found = check_weights(remade([](int64_t, int64_t, double logit) { return logit; }, everywhere, e));
  ASSERT_FALSE(found.empty());
  EXPECT_EQ(found[0].check, "wrong-window") << said(found);
  EXPECT_NE(found[0].sentence.find("whole text"), std::string::npos) << found[0].sentence;
}

TEST(DiagnosePass, WhatATraceCannotAnswerIsNotCounted) {
  const Diagnosis of_run = diagnose_observation(healthy().observation, nullptr);
  const auto asked = checks_asked(of_run.evidence), all = checks_asked(healthy().evidence);
  const auto asks = [&](const char* check) { return std::find(asked.begin(), asked.end(), check) != asked.end(); };
  for (const char* check : {"cache-inconsistent", "rope-shift", "wrong-rope-base", "position-offset", "no-prediction",
                            "dead-head", "padding-leak", "bos-missing", "first-difference"})
    EXPECT_FALSE(asks(check)) << check;
  EXPECT_TRUE(asks("wrong-scale") && asks("future-leak") && asks("not-finite"));
  EXPECT_GT(all.size(), asked.size());
  EXPECT_LT(all.size(), checks().size());
}

// What is no number is said once, by name, and not fitted by any hypothesis.
TEST(DiagnosePass, PredictionsThatAreNoNumbersAreFound) {
  Evidence e = healthy().evidence;
  EXPECT_TRUE(check_finite(e).empty());
  e.odd_predictions = 5;
  e.first_odd = 3;
  ASSERT_EQ(check_finite(e).size(), 1U);
  EXPECT_NE(check_finite(e)[0].sentence.find("5 rows"), std::string::npos);
  for (RowEvidence& row : e.heads[20].rows) row.lse = NAN;
  e.heads[20].mismatch = e.heads[20].excess = INFINITY;
  EXPECT_TRUE(check_weights(e).empty());
}

TEST(DiagnosePass, ARemedyThatCuresNothingIsNoName) {
  Evidence e = healthy().evidence;
  e.nll = 8;
  e.plain_nll = 9;
  e.probes = {{"wrong-scale", "scores times 2", 7.0, 0.1}, {"wrong-rope-base", "rope base 10000", 7.5, 0.1}};
  ASSERT_EQ(check_probes(e).size(), 1U);
  EXPECT_EQ(check_probes(e)[0].check, "no-prediction");
  EXPECT_NE(check_probes(e)[0].sentence.find("scores times 2"), std::string::npos);
  e.probes[1].nll = 3.5;  // this one does cure
  EXPECT_EQ(check_probes(e)[0].check, "wrong-rope-base");
  e.probes[1].plain_nll = 9.5;  // ... but not what any model predicts
  EXPECT_EQ(check_probes(e)[0].check, "no-prediction");
  e.nll = e.plain_nll = 3;  // a gain on the text that is a loss on the plain one is chance
  e.probes = {{"position-offset", "queries +1 positions", 2.9, 0.01}};
  e.probes[0].plain_nll = 3.1;
  EXPECT_TRUE(check_probes(e).empty());
  e.probes[0].plain_nll = 2.9;
  EXPECT_EQ(check_probes(e).size(), 1U);
}

}  // namespace
}  // namespace bareattn
