// Diagnosis on the real model: nothing is found on a healthy run, faults are found by name, checks are pure functions
// of their evidence, and what cannot be diagnosed is refused. The whole matrix is bench/diagnose.py.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "bareattn/diagnosis.h"
#include "bareattn/error.h"
#include "bareattn/faults.h"
#include "bareattn/steering.h"
#include "model_under_test.h"

namespace bareattn {
namespace {

constexpr const char* text =
    "In the winter of that year the river froze from bank to bank, and the children walked across it to school, "
    "carrying their books under their coats. The old ferryman watched them from his window. He had rowed people over "
    "for forty years, and now the ice did his work for nothing. When the thaw came he went down to the landing and "
    "painted his boat green, as he did each spring, and waited for the first of them to call his name.";

std::vector<int32_t> tokens() { return test::real_model()->tokenizer().encode(text); }

std::string names(const Diagnosis& d) {
  std::string all;
  for (const Finding& f : d.findings) all += f.check + ": " + f.sentence + "\n";
  return all;
}

TEST(Diagnose, NothingIsFoundOnAHealthyRun) {
  const Diagnosis d = diagnose(test::real_model(), tokens());
  EXPECT_TRUE(d.findings.empty()) << names(d);
  EXPECT_EQ(d.evidence.cache_difference, 0.0);
  EXPECT_GT(d.evidence.probes.size(), 10U);
}

TEST(Diagnose, SteeringThatIsDeclaredIsNoFault) {
  Intervention boost;
  boost.keys = {{3, 9}};
  boost.value = 20;
  DiagnoseOptions options;
  options.probes = false;
  const auto all = tokens();
  options.table = std::make_shared<const ScoreTable>(
      make_table({boost}, test::real_model()->config(), static_cast<int64_t>(all.size())));
  const Diagnosis d = diagnose(test::real_model(), all, options);
  EXPECT_TRUE(d.findings.empty()) << names(d);
}

TEST(Diagnose, AWindowThatIsDeclaredIsNoFault) {
  DiagnoseOptions options;
  options.probes = false;
  options.expectations.window = 24;
  const Diagnosis d = diagnose(test::real_model(), tokens(), options);
  EXPECT_TRUE(d.findings.empty()) << names(d);
}

// Those that need no probes; the probes' are measured by bench/diagnose.py and one of them below.
TEST(Diagnose, FaultsOfThePassAreNamed) {
  for (const FaultInfo& fault : faults()) {
    const std::string name = fault.name, check = fault.check;
    if (name == "scale-weights" || name == "rope-base" || name == "rope-pairing") continue;
    BrokenRun broken = break_run(name, 7, *test::real_model(), tokens());
    if (broken.needs_control) add_control(broken, test::real_model());
    broken.options.probes = false;
    const Diagnosis d = diagnose(test::real_model(), broken.tokens, broken.options);
    ASSERT_FALSE(d.findings.empty()) << name << ": " << broken.what;
    EXPECT_EQ(d.findings[0].check, check) << name << ": " << broken.what << "\n" << names(d);
    EXPECT_FALSE(d.findings[0].sentence.empty());
    EXPECT_FALSE(d.findings[0].advice.empty());
  }
}

// Queries of no length at all point nowhere: they are no copies of each other.
TEST(Diagnose, ZeroQueriesAreNoDuplicates) {
  BrokenRun broken = break_run("blow-up:0", 7, *test::real_model(), tokens());
  broken.options.probes = false;
  const Diagnosis d = diagnose(test::real_model(), broken.tokens, broken.options);
  ASSERT_EQ(d.findings.size(), 1U) << names(d);
  EXPECT_EQ(d.findings[0].check, "entropy-blow-up");
}

TEST(Diagnose, AProbeNamesThePairing) {
  BrokenRun broken = break_run("rope-pairing", 1, *test::real_model(), tokens());
  const Diagnosis d = diagnose(test::real_model(), broken.tokens, broken.options);
  ASSERT_FALSE(d.findings.empty());
  EXPECT_EQ(d.findings[0].check, "wrong-rope-pairing") << names(d);
}

TEST(Diagnose, TheSizeOfAFaultIsFound) {
  const auto size = [](const std::string& fault) {
    BrokenRun broken = break_run(fault, 3, *test::real_model(), tokens());
    broken.options.probes = false;
    const Diagnosis d = diagnose(test::real_model(), broken.tokens, broken.options);
    return d.findings.empty() ? -1 : d.findings[0].value;
  };
  EXPECT_EQ(size("future:2"), 2);
  EXPECT_EQ(size("window:31"), 31);
  EXPECT_NEAR(size("scale:1.5"), 1.5, 0.02);
  EXPECT_NEAR(size("drift:1.5"), 1.5, 0.05);
  EXPECT_NEAR(size("peripheral:100"), 100, 10);
  EXPECT_NEAR(size("sink-logit:3"), 3, 0.2);
}

TEST(Diagnose, ChecksArePure) {
  const Diagnosis d = diagnose(test::real_model(), tokens(), {.expectations = {}, .probes = false});
  Evidence e = d.evidence;
  e.nll = 3;
  e.probes = {{"wrong-scale", "scores times 2", 2.0, 0.1}, {"wrong-rope-base", "rope base 10000", 2.5, 0.1}};
  ASSERT_EQ(check_probes(e).size(), 1U);
  EXPECT_EQ(check_probes(e)[0].check, "wrong-scale");
  EXPECT_NEAR(check_probes(e)[0].value, 1.0, 1e-12);
  e.cache_difference = 1e-7;
  EXPECT_EQ(check_cache(e).size(), 1U);
  e.shift_difference[5] = 1;
  EXPECT_EQ(check_shift(e).size(), 1U);
  e.blend_size[31] = 0;
  ASSERT_EQ(check_heads(e).size(), 1U);
  EXPECT_EQ(check_heads(e)[0].head, (HeadId{3, 4}));
  e.odd_predictions = 1;
  EXPECT_EQ(check_finite(e).size(), 1U);
}

// Each check by evidence made by hand: it stays silent just under its limit and speaks just over it.
TEST(Diagnose, LimitsAreWhereTheyAreSaidToBe) {
  const Diagnosis d = diagnose(test::real_model(), tokens(), {.expectations = {}, .probes = false});
  const auto copy = [&] { return d.evidence; };
  Evidence e = copy();
  e.nll = 3;
  e.probes = {{"wrong-scale", "scores times 2", 2.975, 0.001}};
  EXPECT_TRUE(check_probes(e).empty());
  e.probes[0].nll = 2.96;
  EXPECT_EQ(check_probes(e).size(), 1U);
  e.probes[0].error = 0.03;  // not more than two standard errors
  EXPECT_TRUE(check_probes(e).empty());
  e = copy();
  e.shift_difference[0] = 0.049;
  EXPECT_TRUE(check_shift(e).empty());
  e.shift_difference[0] = 0.051;
  EXPECT_EQ(check_shift(e).size(), 1U);
  e.shift_difference = {1e-4, 1e-3, 1e-2, 0.1, 1.0};  // rounding that grows
  EXPECT_TRUE(check_shift(e).empty());
  e = copy();
  e.cache_difference = 0;
  EXPECT_TRUE(check_cache(e).empty());
  e = copy();
  const double was = e.blend_size[10];
  e.blend_size[10] = 0.01 * was;
  EXPECT_TRUE(check_heads(e).empty());
  e.blend_size[10] = 1e-7 * was;
  EXPECT_EQ(check_heads(e).size(), 1U);
  e = copy();
  e.expectations.begins_with_bos = false;
  EXPECT_TRUE(check_bos(e).empty());
  e.expectations.begins_with_bos = true;
  ASSERT_EQ(check_bos(e).size(), 1U);
  EXPECT_EQ(check_bos(e)[0].check, "bos-missing");
  e.bos = -1;  // a tokenizer that has none, or is not known
  EXPECT_TRUE(check_bos(e).empty());
  // Every LSE too large by 0.5: a row's weights sum to e^-0.5. One extra key cannot explain that for all rows alike.
  e = copy();
  for (HeadEvidence& head : e.heads) {
    if (head.head.layer != 4) continue;
    head.excess = 0;
    for (RowEvidence& row : head.rows) {
      row.lse += 0.5F;
      head.excess = std::max(head.excess, 0.5 / row.tolerance);
    }
  }
  EXPECT_FALSE(check_weights(e).empty());
}

TEST(Diagnose, OnlyTheChecksThatAreAskedFor) {
  BrokenRun broken = break_run("future:2", 1, *test::real_model(), tokens());
  broken.options.probes = false;
  broken.options.checks = {"cache-inconsistent"};
  const Diagnosis d = diagnose(test::real_model(), broken.tokens, broken.options);
  for (const Finding& f : d.findings) EXPECT_EQ(f.check, "cache-inconsistent");
  broken.options.checks = {"gremlins"};
  EXPECT_THROW(diagnose(test::real_model(), broken.tokens, broken.options), InputError);
}

// The remedy of the finding brings back the run that was meant: perplexity, weights, and nothing is found any more.
TEST(Diagnose, RemediesRestore) {
  for (const char* fault : {"scale:2", "peripheral:50", "contradiction:100", "padding:8", "documents", "window:16",
                            "cache:1", "bos-double", "sink-logit:3", "unavailable", "keys-quantised:2"}) {
    BrokenRun broken = break_run(fault, 11, *test::real_model(), tokens());
    if (broken.needs_control) add_control(broken, test::real_model());
    broken.options.probes = false;
    const Diagnosis d = diagnose(test::real_model(), broken.tokens, broken.options);
    ASSERT_FALSE(d.findings.empty()) << fault;
    ASSERT_FALSE(d.findings[0].remedy.what.empty()) << fault;
    const BrokenRun restored = restore(broken, d.findings[0].remedy, test::real_model()->config());
    const Restoration figures = measure_restoration(test::real_model(), broken, restored);
    EXPECT_NEAR(figures.restored.perplexity / figures.meant.perplexity, 1, 0.01) << fault;
    EXPECT_NE(figures.broken.perplexity, figures.meant.perplexity) << fault;
    EXPECT_LT(figures.restored.moved, 0.01) << fault;
    EXPECT_GE(figures.broken.moved, figures.restored.moved) << fault;
    const Diagnosis after = diagnose(test::real_model(), restored.tokens, restored.options);
    EXPECT_TRUE(after.findings.empty()) << fault << "\n" << names(after);
  }
}

TEST(Diagnose, EveryFaultHasACheckAndEveryCheckAName) {
  for (const FaultInfo& fault : faults()) {
    const auto found = std::find_if(checks().begin(), checks().end(),
                                    [&](const CheckInfo& check) { return std::string(check.id) == fault.check; });
    EXPECT_NE(found, checks().end()) << fault.name << " expects " << fault.check;
  }
}

TEST(Diagnose, RefusesWhatItCannotDo) {
  EXPECT_THROW(diagnose(test::real_model(), {1, 2, 3}), InputError);
  EXPECT_THROW(diagnose(test::real_model(), std::vector<int32_t>(1025, 5)), InputError);
  EXPECT_THROW(break_run("nonsense", 1, *test::real_model(), tokens()), InputError);
  EXPECT_THROW(break_run("scale:x", 1, *test::real_model(), tokens()), InputError);
  EXPECT_THROW(break_run("scale", 1, *test::real_model(), {1, 2}), InputError);
}

}  // namespace
}  // namespace bareattn
