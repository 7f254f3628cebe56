// Steering on the real model: what changes nothing changes no bit, what changes something changes it by the formula,
// rows still sum to one, and the file form loses nothing.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "bareattn/error.h"
#include "bareattn/steering.h"
#include "bareattn/variant.h"
#include "model_under_test.h"

namespace bareattn {
namespace {

using Kind = Intervention::Kind;
constexpr const char* text =
    "The ship had sailed at dawn, and by noon nobody on the quay remembered the captain's name, only that he had "
    "laughed when they told him about the storm that was coming from the north.";

std::vector<int32_t> tokens_of(const char* what = text) { return test::real_model()->tokenizer().encode(what); }

std::shared_ptr<const ScoreTable> table(const std::vector<Intervention>& all) {
  return std::make_shared<const ScoreTable>(make_table(all, test::real_model()->config(), 512));
}

Intervention make(Kind kind, double value, std::vector<TokenSpan> keys = {}, std::vector<std::string> heads = {"*"}) {
  Intervention one;
  one.kind = kind;
  one.value = value;
  one.keys = std::move(keys);
  one.heads = std::move(heads);
  return one;
}

std::vector<float> logits(const std::vector<Intervention>* all, std::shared_ptr<const Variant> variant = {}) {
  SessionOptions options;
  options.max_tokens = 256;
  if (all != nullptr) options.table = table(*all);
  options.variant = std::move(variant);
  Session session(test::real_model(), options);
  const auto view = session.run(tokens_of());
  return {view.data, view.data + view.size()};
}

std::unique_ptr<Observation> look(const std::vector<Intervention>& all) {
  ObservationOptions options;
  if (!all.empty()) options.table = table(all);
  return observe(test::real_model(), tokens_of(), options);
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(Steer, WhatChangesNothingChangesNoBit) {
  const auto plain = logits(nullptr);
  const std::vector<std::vector<Intervention>> identities = {
      {},
      {make(Kind::boost, 1, {{3, 9}})},
      {make(Kind::pasta, 1, {{3, 9}})},
      {make(Kind::bias, 0, {{3, 9}})},
      {make(Kind::temperature, 1)},
      {make(Kind::scale, 1)},
      {make(Kind::boost, 3, {{3, 9}}), make(Kind::boost, 1.0 / 3, {{3, 9}})},  // adds up to ln 3 - ln 3 = 0 in f32
      {make(Kind::boost, 1, {{3, 9}}), make(Kind::temperature, 1, {}, {"5.3"}), make(Kind::scale, 1, {}, {"7.*"})},
      {make(Kind::window, 511)},  // wider than the text
      {make(Kind::window, 2, {{0, 512}})},
  };
  for (size_t i = 0; i < identities.size(); ++i) EXPECT_TRUE(same_bits(plain, logits(&identities[i]))) << i;
  EXPECT_TRUE(same_bits(plain, logits(nullptr, std::make_shared<const Variant>())));
  const std::vector<Intervention> boosted = {make(Kind::boost, 3, {{3, 9}})};
  EXPECT_FALSE(same_bits(plain, logits(&boosted)));
}

TEST(Steer, IdentityVariantsGiveTheSameNumbers) {
  const auto plain = logits(nullptr);
  const ModelConfig& config = test::real_model()->config();
  Variant variant;
  for (int h = 0; h < config.heads; ++h) variant.kv_of_head.push_back(h / (config.heads / config.kv_heads));
  variant.rope_base = config.rope_base;
  EXPECT_TRUE(same_bits(plain, logits(nullptr, std::make_shared<const Variant>(variant))));
  variant.q_reorder = variant.k_reorder = 1;
  EXPECT_FALSE(same_bits(plain, logits(nullptr, std::make_shared<const Variant>(variant))));
}

// Layer 0 sees the same input with and without steering, so the formula holds exactly there, for every row and head.
TEST(Steer, PastaMassIsExact) {
  const double alpha = 0.01;
  const TokenSpan span{5, 11};
  const auto before = look({}), after = look({make(Kind::pasta, alpha, {span})});
  const auto n = static_cast<int64_t>(tokens_of().size());
  for (int head = 0; head < test::real_model()->config().heads; ++head) {
    for (int64_t row = 0; row < n; ++row) {
      const auto p = before->row_weights({0, head}, row), q = after->row_weights({0, head}, row);
      double m = 0, steered = 0, sum = 0;
      for (int64_t j = 0; j <= row; ++j) {
        const bool in = j >= span.begin && j < span.end;
        m += in ? static_cast<double>(p[j]) : 0;
        steered += in ? static_cast<double>(q[j]) : 0;
        sum += static_cast<double>(q[j]);
      }
      // Weights made from f16 Q and K are off by up to 1.01 2^-10 scale sum |q k| each, the last row's by far less.
      const double eps = row == n - 1 ? 2e-5 : 6e-3;
      EXPECT_NEAR(steered, m / (m + alpha * (1 - m)), eps) << "head " << head << " row " << row;
      EXPECT_NEAR(sum, 1, eps) << "head " << head << " row " << row;
    }
  }
}

TEST(Steer, RowsSumToOneUnderEverything) {
  std::vector<Intervention> all = {make(Kind::boost, 4, {{2, 5}}), make(Kind::knockout, 1, {{0, 1}}, {"3.*"}),
                                   make(Kind::temperature, 0.7, {}, {"*.2"}), make(Kind::bias, -2, {{7, -1}}, {"9.*"}),
                                   make(Kind::scale, 0, {}, {"12.4"})};
  const auto o = look(all);
  const int64_t last = static_cast<int64_t>(o->tokens().size()) - 1;
  for (int layer = 0; layer < 30; ++layer) {
    for (int head = 0; head < 9; ++head) {
      double sum = 0;
      for (const float w : o->row_weights({layer, head}, last)) sum += static_cast<double>(w);
      EXPECT_NEAR(sum, 1, 2e-4) << layer << "." << head;
    }
  }
  EXPECT_EQ(o->rows(Measure::first_mass, {3, 0})[static_cast<size_t>(last)], 0.0F);  // the knocked out sink
  EXPECT_EQ(o->rows(Measure::first_mass, {3, 0})[0], 1.0F);                          // row 0 keeps its only key
  EXPECT_GT(o->mean(Measure::first_mass, {4, 0}), 0.0);
}

TEST(Steer, SinkLogitTakesItsShare) {
  const auto plain = look({}), steered = look({make(Kind::sink_logit, 0, {}, {"0.*"})});
  for (int head = 0; head < 9; ++head) {
    const auto a = plain->rows(Measure::lse, {0, head}), b = steered->rows(Measure::lse, {0, head});
    for (size_t i = 0; i < a.size(); ++i) {
      const double expected = std::log(std::exp(static_cast<double>(a[i])) + 1);
      EXPECT_NEAR(static_cast<double>(b[i]), expected, 4e-6 * (1 + std::abs(expected)));
    }
  }
}

// The steering file's window is the run's own (Reach), and what is recomputed from Q and K knows of it.
TEST(Steer, AWindowIsThatOfTheRun) {
  SessionOptions options;
  options.max_tokens = 256;
  options.reach.window = 6;
  options.reach.sinks = 2;
  Session session(test::real_model(), options);
  const auto view = session.run(tokens_of());
  const std::vector<Intervention> all = {make(Kind::window, 6, {{0, 2}})};
  EXPECT_TRUE(same_bits({view.data, view.data + view.size()}, logits(&all)));
  const std::vector<Intervention> some = {make(Kind::window, 6, {{0, 2}}, {"3.*", "4.*"})};
  EXPECT_FALSE(same_bits({view.data, view.data + view.size()}, logits(&some)));
  const auto o = look(some);
  const auto n = static_cast<int64_t>(o->tokens().size());
  for (const int64_t row : {int64_t{0}, int64_t{5}, int64_t{20}, n - 1}) {
    const auto w = o->row_weights({3, 1}, row), wide = o->row_weights({5, 1}, row);
    double sum = 0;
    for (int64_t j = 0; j <= row; ++j) {
      const bool seen = j < 2 || j >= row - 6;
      EXPECT_EQ(w[static_cast<size_t>(j)] > 0, seen) << row << " " << j;
      EXPECT_GT(wide[static_cast<size_t>(j)], 0) << row << " " << j;
      sum += static_cast<double>(w[static_cast<size_t>(j)]);
    }
    EXPECT_NEAR(sum, 1, 6e-3) << row;
  }
  options.table = table(some);
  EXPECT_THROW(Session(test::real_model(), options), std::invalid_argument);
}

TEST(Steer, ScaleZeroAndMeanReplaceTheBlend) {
  struct Z final : Observer {
    std::vector<float> z;
    bool wants(Point point, int layer) override { return point == Point::z && layer == 4; }
    void see(const Event& e) override {
      for (int64_t r = 0; r < e.values.shape[0]; ++r)
        for (int64_t d = 0; d < 64; ++d) z.push_back(e.values.at(r, 2, d));
    }
  };
  const auto run = [](const std::vector<Intervention>& all) {
    SessionOptions options;
    options.max_tokens = 256;
    options.table = table(all);
    Z observer;
    Session(test::real_model(), options).run(tokens_of(), Logits::none, &observer);
    return observer.z;
  };
  for (const float value : run({make(Kind::scale, 0, {}, {"4.2"})})) ASSERT_EQ(value, 0.0F);
  const auto plain = run({}), half = run({make(Kind::scale, 0.5, {}, {"4.2"})});
  for (size_t i = 0; i < plain.size(); ++i) ASSERT_EQ(half[i], plain[i] * 0.5F);
  const Intervention mean = mean_ablation(test::real_model(), tokens_of(), {"4.2"});
  ASSERT_EQ(mean.mean.size(), 64U);
  const auto replaced = run({mean});
  for (size_t d = 0; d < 64; ++d) {
    double sum = 0;
    for (size_t r = 0; r < plain.size() / 64; ++r) sum += static_cast<double>(plain[r * 64 + d]);
    EXPECT_NEAR(static_cast<double>(mean.mean[d]), sum / static_cast<double>(plain.size() / 64), 1e-5);
    EXPECT_EQ(replaced[d], mean.mean[d]);
  }
}

TEST(Steer, CalibrationMakesTheControlFair) {
  const auto control = look({});
  const std::vector<TokenSpan> spans = {{1, 6}, {6, 16}, {16, 21}};
  const auto all = calibrate(*control, spans, {"0.*"});
  const auto fair = look(all);
  const int64_t last = static_cast<int64_t>(control->tokens().size()) - 1;
  for (int head = 0; head < 9; ++head) {
    const auto w = fair->row_weights({0, head}, last);
    double mass[3] = {}, total = 0;
    for (size_t s = 0; s < 3; ++s)
      for (int64_t j = spans[s].begin; j < spans[s].end; ++j)
        mass[s] += static_cast<double>(w[j]), total += static_cast<double>(w[j]);
    for (size_t s = 0; s < 3; ++s)
      EXPECT_NEAR(mass[s] / total, static_cast<double>(spans[s].end - spans[s].begin) / 20, 1e-4);
  }
}

TEST(Steer, AdaptiveTemperatureOnlySharpens) {
  for (const Intervention& one : adaptive_temperature(*look({}))) {
    EXPECT_LT(one.value, 1);
    EXPECT_GT(one.value, 0.2);
  }
}

TEST(Steer, FileFormLosesNothing) {
  std::vector<Intervention> all = {make(Kind::boost, 3.25, {{2, 5}, {9, -1}}, {"5.3", "6.*"}),
                                   make(Kind::knockout, 1, {{0, 1}}), make(Kind::sink_logit, 0)};
  all[1].rows = {{4, 8}};
  Intervention mean = make(Kind::mean, 1, {}, {"1.1"});
  for (int d = 0; d < 64; ++d) mean.mean.push_back(std::sqrt(static_cast<float>(d)) / 3);
  all.push_back(mean);
  all.push_back(make(Kind::window, 32, {{0, 4}}, {"2.*"}));
  const auto back = steering_from_json(steering_to_json(all));
  ASSERT_EQ(back.size(), all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(back[i].kind, all[i].kind);
    EXPECT_EQ(back[i].heads, all[i].heads);
    EXPECT_EQ(back[i].keys, all[i].keys);
    EXPECT_EQ(back[i].rows, all[i].rows);
    EXPECT_EQ(back[i].value, all[i].value);
    EXPECT_EQ(back[i].mean, all[i].mean);
  }
}

TEST(Steer, RefusesWhatDoesNotFit) {
  const ModelConfig& config = test::real_model()->config();
  const auto bad = [&](const Intervention& one) { EXPECT_THROW(make_table({one}, config, 16), InputError); };
  bad(make(Kind::boost, -1, {{1, 2}}));
  bad(make(Kind::boost, 2));
  bad(make(Kind::boost, 2, {{4, 4}}));
  bad(make(Kind::boost, NAN, {{1, 2}}));
  bad(make(Kind::temperature, 0));
  bad(make(Kind::mean, 1));
  bad(make(Kind::window, -1));
  bad(make(Kind::window, 2.5));
  bad(make(Kind::window, 4, {{1, 3}}));
  bad(make(Kind::window, 4, {{0, -1}}));
  bad(make(Kind::window, 4, {}, {"5.3"}));
  // Either alone leaves every row a key; together token 9 would see 7, 8 and 9, which are all cut.
  EXPECT_NO_THROW(make_table({make(Kind::window, 2), make(Kind::knockout, 1, {{4, 6}})}, config, 16));
  EXPECT_THROW(make_table({make(Kind::window, 2), make(Kind::knockout, 1, {{7, 10}})}, config, 16), InputError);
  EXPECT_NO_THROW(make_table({make(Kind::window, 2, {{0, 1}}), make(Kind::knockout, 1, {{7, 10}})}, config, 16));
  for (const char* head : {"30.0", "0.9", "5", "x.1", "1.y", "", "-1.0", "1.2.3"})
    bad(make(Kind::scale, 0, {}, {head}));
  EXPECT_EQ(select_heads({"5.3", "6.*", "5.*"}, config).size(), 18U);
  for (const char* json :
       {"", "[]", "{}", R"({"format":"bareattn-steering","version":2,"interventions":[]})",
        R"({"format":"bareattn-steering","version":1,"interventions":[{}]})",
        R"({"format":"bareattn-steering","version":1,"interventions":[{"kind":"boos"}]})",
        R"({"format":"bareattn-steering","version":1,"interventions":[{"kind":"boost","key":[]}]})",
        R"({"format":"bareattn-steering","version":1,"interventions":[{"kind":"boost","keys":[[1]]}]})",
        R"({"format":"bareattn-steering","version":1,"interventions":[],"x":1})"})
    EXPECT_THROW(steering_from_json(json), InputError) << json;
}

// What is not known is written into the sentence that refuses it, by recursion.
TEST(Steer, RefusesWhatIsNestedTooDeep) {
  const auto kind = [](const std::string& json) {
    return R"({"format":"bareattn-steering","version":1,"interventions":[{"kind":)" + json + "}]}";
  };
  const auto refusal = [&](const std::string& json) -> std::string {
    try {
      steering_from_json(json);
    } catch (const InputError& error) {
      return error.what();
    }
    return "(accepted)";
  };
  const auto lists = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_NE(refusal(kind(lists(100'000))).find("nested too deep"), std::string::npos);
  EXPECT_NE(refusal(kind(std::string(300'000, '['))).find("nested too deep"), std::string::npos);
  EXPECT_NE(refusal(kind(lists(30))).find("nested too deep"), std::string::npos);
  EXPECT_NE(refusal(kind(lists(29))).find("which is no intervention"), std::string::npos);  // 32 with what is around
  const std::string quoted = "\"" + std::string(100, '[') + "\\\"" + std::string(100, '[') + "\"";
  EXPECT_NE(refusal(kind(quoted)).find("which is no intervention"), std::string::npos)
      << "brackets in a text nest nothing";
}

}  // namespace
}  // namespace bareattn
