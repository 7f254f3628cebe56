// Two runs compared by diagnosis: a run against itself shows nothing, a sink that is gone, a key or a span that gets
// more than in the control is named, and runs that cannot be compared are refused. The runs are steered in ways that
// are declared, so that nothing is to be found in one of them alone.
#include <gtest/gtest.h>

#include "bareattn/diagnosis.h"
#include "bareattn/error.h"
#include "bareattn/faults.h"
#include "bareattn/steering.h"
#include "model_under_test.h"

namespace bareattn {
namespace {

using Kind = Intervention::Kind;
constexpr const char* text =
    "The lighthouse keeper wrote one line a day, no more. On some days it was the weather, on others a ship that had "
    "passed too close to the rocks, and once, in the spring of his ninth year, only the word alone. His successor read "
    "all of it in a single night, by the light that he was supposed to be watching, and did not sleep until noon.";

std::vector<int32_t> tokens() { return test::real_model()->tokenizer().encode(text); }

Intervention make(Kind kind, double value, TokenSpan keys, std::vector<std::string> heads) {
  Intervention one;
  one.kind = kind;
  one.value = value;
  one.keys = {keys};
  one.heads = std::move(heads);
  return one;
}

struct Runs {
  std::shared_ptr<const Observation> control, run;
  DiagnoseOptions options;
};

Runs runs_of(const std::vector<Intervention>& steering) {
  Runs runs;
  runs.control = observe(test::real_model(), tokens());
  ObservationOptions options;
  options.table = std::make_shared<const ScoreTable>(
      make_table(steering, test::real_model()->config(), static_cast<int64_t>(tokens().size())));
  runs.run = observe(test::real_model(), tokens(), options);
  runs.options.table = options.table;
  runs.options.control = runs.control;
  return runs;
}

Diagnosis compared(const Runs& runs) { return diagnose_observation(runs.run, nullptr, runs.options); }

std::string names(const std::vector<Finding>& findings) {
  std::string all;
  for (const Finding& f : findings) all += f.check + ": " + f.sentence + "\n";
  return all;
}

TEST(DiagnoseAgainst, ARunIsNoFaultOfItself) {
  const Runs runs = runs_of({});
  EXPECT_TRUE(compared(runs).findings.empty()) << names(compared(runs).findings);
}

TEST(DiagnoseAgainst, ALostSinkIsNamed) {
  // Not cut, which the run alone would show, but made so weak that heads rest elsewhere.
  Runs runs = runs_of({make(Kind::bias, -12, {0, 1}, {"*"})});
  const auto findings = compared(runs).findings;
  ASSERT_FALSE(findings.empty());
  EXPECT_EQ(findings[0].check, "sink-lost") << names(findings);
  EXPECT_EQ(findings[0].severity, Severity::error);
  EXPECT_GT(findings[0].value, findings[0].limit);
  EXPECT_GT(findings[0].heads.size(), 50U);
  const HeadId head = findings[0].head;
  EXPECT_GE(runs.control->mean(Measure::first_mass, head), 0.3);
  EXPECT_LT(runs.run->mean(Measure::first_mass, head), 0.15);
  // The other way round nothing is lost.
  EXPECT_TRUE(check_sink_against(*runs.run, *runs.control).empty());
  // The same run without a control shows nothing.
  runs.options.control = nullptr;
  EXPECT_TRUE(compared(runs).findings.empty()) << names(compared(runs).findings);
}

TEST(DiagnoseAgainst, AKeyThatGetsMoreIsNamed) {
  const auto findings = compared(runs_of({make(Kind::boost, 200, {20, 21}, {"12.*", "15.*", "19.*"})})).findings;
  ASSERT_FALSE(findings.empty());
  EXPECT_EQ(findings[0].check, "peripheral-made-central") << names(findings);
  EXPECT_EQ(findings[0].token, 20);
  EXPECT_EQ(findings[0].last, 20);
  EXPECT_GT(findings[0].heads.size(), 3U);
}

TEST(DiagnoseAgainst, ASpanThatGetsMoreIsNamed) {
  Runs runs = runs_of({make(Kind::boost, 60, {14, 20}, {"12.*", "15.*", "19.*"})});
  const auto findings = compared(runs).findings;
  ASSERT_FALSE(findings.empty());
  EXPECT_EQ(findings[0].check, "noise-as-signal") << names(findings);
  EXPECT_GE(findings[0].token, 14);
  EXPECT_LE(findings[0].last, 19);
  // Said to be irrelevant, it is one finding with exactly its tokens.
  runs.options.expectations.irrelevant = {{14, 20}};
  const auto declared = compared(runs).findings;
  ASSERT_EQ(declared.size(), 2U) << names(declared);
  EXPECT_EQ(declared[1].check, "first-difference");  // of the layers that are steered
  EXPECT_EQ(declared[1].head.layer, 12);
  EXPECT_EQ(declared[1].severity, Severity::warning);
  EXPECT_EQ(declared[0].check, "noise-as-signal");
  EXPECT_EQ(declared[0].token, 14);
  EXPECT_EQ(declared[0].last, 19);
  runs.options.checks = {"sink-lost"};
  EXPECT_TRUE(compared(runs).findings.empty());
}

// Where everything moves it is one finding, not one a token.
TEST(DiagnoseAgainst, AScatteredWeightingIsOneFinding) {
  BrokenRun broken = break_run("keys-quantised:2", 1, *test::real_model(), tokens());
  ASSERT_TRUE(broken.needs_control);
  add_control(broken, test::real_model());
  broken.options.probes = false;
  broken.options.checks = {"peripheral-made-central", "noise-as-signal"};
  const auto findings = diagnose(test::real_model(), broken.tokens, broken.options).findings;
  ASSERT_EQ(findings.size(), 1U) << names(findings);
  EXPECT_EQ(findings[0].check, "noise-as-signal");
  EXPECT_NE(findings[0].sentence.find("scattered"), std::string::npos) << names(findings);
}

TEST(DiagnoseAgainst, WhatTheRunShowsAloneIsNotSaidTwice) {
  Runs runs = runs_of({});
  Variant fault;  // not declared: found from Q, K and LSE, with its factor
  fault.table = make_table({make(Kind::boost, 200, {20, 21}, {"12.*", "15.*", "19.*"})}, test::real_model()->config(),
                           static_cast<int64_t>(tokens().size()));
  ObservationOptions options;
  options.variant = std::make_shared<const Variant>(fault);
  runs.run = observe(test::real_model(), tokens(), options);
  runs.options.table = nullptr;
  int named = 0;
  for (const Finding& f : compared(runs).findings)
    if (f.check == "peripheral-made-central" && f.token == 20) {
      ++named;
      EXPECT_NEAR(f.value, 200, 20);
    }
  EXPECT_EQ(named, 1);
}

// A run that says how it was steered is diagnosed as one that is meant to be.
TEST(DiagnoseAgainst, WhatTheRunSaysOfItselfIsMeant) {
  Runs runs = runs_of({make(Kind::boost, 200, {20, 21}, {"12.*", "15.*", "19.*"})});
  runs.options.table = nullptr;
  runs.options.control = nullptr;
  EXPECT_TRUE(compared(runs).findings.empty()) << names(compared(runs).findings);
}

TEST(DiagnoseAgainst, RefusesWhatCannotBeCompared) {
  Runs runs = runs_of({});
  auto other = tokens();
  other[7] += 1;
  runs.options.control = observe(test::real_model(), other);
  EXPECT_THROW(compared(runs), InputError);
  EXPECT_THROW(diagnose(test::real_model(), tokens(), runs.options), InputError);
  ObservationOptions bare;
  bare.measures.columns = false;
  runs.options.control = observe(test::real_model(), tokens(), bare);
  EXPECT_THROW(compared(runs), InputError);
  runs.options.control = runs.control;
  runs.options.expectations.irrelevant = {{10, 5000}};
  EXPECT_THROW(compared(runs), InputError);
}

}  // namespace
}  // namespace bareattn
