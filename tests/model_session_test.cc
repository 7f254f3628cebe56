// What a session does when something is wrong or somebody says stop, and what generation and perplexity promise. On a
// small random model.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <set>

#include "bareattn/error.h"
#include "bareattn/model.h"
#include "gguf_builder.h"

namespace bareattn {
namespace {

std::shared_ptr<const Model> tiny() {
  static const std::shared_ptr<const Model> model = [] {
    const test::TemporaryFile file(test::tiny_llama().build());
    return Model::load(file.path(), {.precision = Precision::f32, .threads = 2});
  }();
  return model;
}

std::vector<int32_t> numbers(int count) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back(i * 37 % 256);
  return tokens;
}

std::vector<float> copy(TensorView<const float> view) { return {view.data, view.data + view.size()}; }

// The session goes on as one that never saw the failed call.
void expect_as_before(Session& session, const std::vector<int32_t>& before) {
  EXPECT_EQ(session.length(), static_cast<int64_t>(before.size()));
  Session fresh(tiny());
  fresh.run(before);
  const std::vector<int32_t> next = {5, 6, 7};
  EXPECT_EQ(copy(session.run(next)), copy(fresh.run(next)));
}

template <class Error, class Body>
void expect_error(const Body& body, const std::string& part) {
  try {
    body();
    ADD_FAILURE() << "no error; expected one with '" << part << "'";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(SessionErrors, TokensOutOfRangeLeaveItAsItWas) {
  const auto before = numbers(30);
  for (const int32_t wrong : {-1, 260, INT32_MAX, INT32_MIN}) {
    Session session(tiny());
    session.run(before);
    auto tokens = numbers(20);
    tokens[11] = wrong;
    expect_error<InputError>([&] { session.run(tokens); }, "token 11 is id " + std::to_string(wrong));
    expect_as_before(session, before);
  }
}

TEST(SessionErrors, TooManyTokensLeaveItAsItWas) {
  const auto before = numbers(30);
  Session session(tiny(), {.max_tokens = 40});
  EXPECT_EQ(session.capacity(), 40);
  session.run(before);
  expect_error<InputError>([&] { session.run(numbers(11)); }, "room for 40");
  expect_as_before(session, before);
  Session whole(tiny());
  EXPECT_EQ(whole.capacity(), 2048);
  expect_error<InputError>([&] { whole.run(numbers(2049)); }, "2049 tokens");
  Session full(tiny(), {.max_tokens = 40});
  full.run(numbers(40));
  EXPECT_EQ(full.length(), 40);
}

TEST(SessionErrors, AStopLeavesItAsItWas) {
  const auto before = numbers(30);
  for (int stop_at = 1; stop_at <= 6; ++stop_at) {
    Session session(tiny(), {.chunk = 16});
    session.run(before);
    int calls = 0;
    EXPECT_THROW(session.run(numbers(60), Logits::all, nullptr, [&](int64_t, int64_t) { return ++calls < stop_at; }),
                 Cancelled);
    EXPECT_EQ(calls, stop_at);
    expect_as_before(session, before);
  }
}

TEST(SessionErrors, AnObserverThatThrowsLeavesItAsItWas) {
  struct Thrower : Observer {
    int left;
    explicit Thrower(int n) : left(n) {}
    bool wants(Point, int) override { return true; }
    void see(const Event&) override {
      if (--left == 0) throw std::runtime_error("observer");
    }
  };
  const auto before = numbers(30);
  for (const int at : {1, 9, 20, 37}) {
    Thrower thrower(at);
    Session session(tiny());
    session.run(before);
    expect_error<std::runtime_error>([&] { session.run(numbers(20), Logits::last, &thrower); }, "observer");
    expect_as_before(session, before);
  }
}

TEST(SessionErrors, WrongArgumentsAreNamed) {
  expect_error<std::invalid_argument>([] { Session(nullptr); }, "model");
  expect_error<std::invalid_argument>([] { Session(tiny(), {.threads = -1}); }, "threads is -1");
  expect_error<std::invalid_argument>([] { Session(tiny(), {.max_tokens = -5}); }, "max_tokens is -5");
  expect_error<std::invalid_argument>([] { Session(tiny(), {.chunk = -2}); }, "chunk is -2");
}

TEST(SessionProgress, CountsUpToAllTokens) {
  Session session(tiny(), {.chunk = 16});
  std::vector<int64_t> seen;
  session.run(numbers(50), Logits::none, nullptr, [&](int64_t done, int64_t total) {
    EXPECT_EQ(total, 50);
    seen.push_back(done);
    return true;
  });
  EXPECT_EQ(seen.back(), 50);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_GE(seen.size(), 8U);
}

TEST(SessionRun, ReturnsTheRowsAskedFor) {
  Session session(tiny());
  EXPECT_EQ(session.run(numbers(4), Logits::none).shape[0], 0);
  EXPECT_EQ(session.run(numbers(4), Logits::last).shape[0], 1);
  const auto all = session.run(numbers(4), Logits::all);
  EXPECT_EQ(all.shape[0], 4);
  EXPECT_EQ(all.shape[1], 260);
  EXPECT_EQ(session.run({}, Logits::last).shape[0], 0);
  EXPECT_EQ(session.length(), 12);
  Session moved = std::move(session);
  EXPECT_EQ(moved.length(), 12);
}

TEST(Generate, GreedyTakesTheLargestLogit) {
  Session session(tiny());
  const auto logits = session.run(numbers(20));
  const auto row = copy(logits);
  const auto tokens = generate(session, logits, 8);
  ASSERT_FALSE(tokens.empty());
  EXPECT_EQ(tokens[0], std::max_element(row.begin(), row.end()) - row.begin());
  EXPECT_EQ(session.length(), 20 + static_cast<int64_t>(tokens.size()) - 1);
  // token by token, by hand
  Session by_hand(tiny());
  auto next = copy(by_hand.run(numbers(20)));
  for (const int32_t token : tokens) {
    ASSERT_EQ(token, std::max_element(next.begin(), next.end()) - next.begin());
    next = copy(by_hand.run(std::span(&token, 1)));
  }
}

TEST(Generate, LowestIdWinsATie) {
  Session session(tiny());
  std::vector<float> logits(260, 1.0F);
  logits[7] = logits[9] = 2.0F;
  EXPECT_EQ(generate(session, {logits.data(), {260}}, 1), std::vector<int32_t>{7});
}

TEST(Generate, StopsAtTheEndTokenTheCallbackAndTheRoom) {
  std::vector<float> logits(260, 0.0F);
  logits[259] = 5.0F;
  Session session(tiny());
  EXPECT_EQ(generate(session, {logits.data(), {260}}, 10), std::vector<int32_t>{259});
  Session stopped(tiny());
  int emitted = 0;
  generate(stopped, stopped.run(numbers(5)), 10, {}, [&](int32_t) { return ++emitted < 3; });
  EXPECT_LE(emitted, 3);
  Session small(tiny(), {.max_tokens = 7});
  EXPECT_LE(generate(small, small.run(numbers(5)), 10).size(), 3U);  // two run, one more is known
  EXPECT_LE(small.length(), 7);
}

// The share of 20,000 draws against softmax(logits / T), within 5 standard deviations.
TEST(Generate, SamplesFollowTheDistribution) {
  Session session(tiny());
  std::vector<float> logits(260, -100.0F);
  const std::vector<int32_t> ids = {3, 50, 200, 258};
  const std::vector<float> values = {1.0F, 0.0F, 2.0F, 0.5F};
  const auto shares = [&](SamplingOptions options) {
    for (size_t i = 0; i < ids.size(); ++i) logits[static_cast<size_t>(ids[i])] = values[i];
    std::vector<double> share(ids.size());
    constexpr int draws = 20000;
    for (int i = 0; i < draws; ++i) {
      options.seed = static_cast<uint64_t>(i);
      const int32_t token = generate(session, {logits.data(), {260}}, 1, options).at(0);
      const auto at = std::find(ids.begin(), ids.end(), token);
      if (at == ids.end())
        ADD_FAILURE() << "drew " << token;
      else
        share[static_cast<size_t>(at - ids.begin())] += 1.0 / draws;
    }
    return share;
  };
  const auto expect_shares = [&](const SamplingOptions& options, const std::vector<size_t>& kept) {
    const auto share = shares(options);
    double sum = 0;
    for (const size_t i : kept) sum += std::exp(values[i] / options.temperature);
    for (size_t i = 0; i < ids.size(); ++i) {
      const bool in = std::find(kept.begin(), kept.end(), i) != kept.end();
      const double p = in ? std::exp(values[i] / options.temperature) / sum : 0;
      EXPECT_NEAR(share[i], p, 5 * std::sqrt(p * (1 - p) / 20000) + 1e-9) << "token " << ids[i];
    }
  };
  expect_shares({.temperature = 1.0F}, {0, 1, 2, 3});
  expect_shares({.temperature = 0.5F}, {0, 1, 2, 3});
  expect_shares({.temperature = 1.0F, .top_k = 2}, {0, 2});
  // softmax: 0.56, 0.21, 0.13 (id 258), 0.08: 0.7 is reached by the second
  expect_shares({.temperature = 1.0F, .top_k = 0, .top_p = 0.7F}, {0, 2});
  expect_shares({.temperature = 1.0F, .top_k = 0, .top_p = 0.1F}, {2});
}

TEST(Generate, SameSeedSameText) {
  const SamplingOptions options = {.temperature = 1.5F, .top_k = 50, .top_p = 0.95F, .seed = 42};
  const auto text = [&](const SamplingOptions& o) {
    Session session(tiny(), {.threads = 2});
    return generate(session, session.run(numbers(9)), 20, o);
  };
  EXPECT_EQ(text(options), text(options));
  std::set<std::vector<int32_t>> different;
  for (uint64_t seed = 0; seed < 5; ++seed) {
    auto other = options;
    other.seed = seed;
    different.insert(text(other));
  }
  EXPECT_GT(different.size(), 1U);
}

TEST(Generate, WrongOptionsAreNamed) {
  Session session(tiny());
  const std::vector<float> logits(260, 0.0F);
  const TensorView<const float> row(logits.data(), {260});
  const auto with = [&](const SamplingOptions& o) { return [&session, row, o] { generate(session, row, 1, o); }; };
  expect_error<std::invalid_argument>(with({.temperature = -1.0F}), "temperature");
  expect_error<std::invalid_argument>(with({.temperature = std::nanf("")}), "temperature");
  expect_error<std::invalid_argument>(with({.temperature = 1, .top_k = -1}), "top_k");
  expect_error<std::invalid_argument>(with({.temperature = 1, .top_k = 0, .top_p = 0}), "top_p");
  expect_error<std::invalid_argument>(with({.temperature = 1, .top_k = 0, .top_p = 1.5F}), "top_p");
  expect_error<std::invalid_argument>([&] { generate(session, {logits.data(), {259}}, 1); }, "260");
  const std::vector<float> nan(260, std::nanf(""));
  expect_error<std::runtime_error>([&] { generate(session, {nan.data(), {260}}, 1); }, "NaN");
}

TEST(Perplexity, IsTheMeanSurprise) {
  const auto tokens = numbers(300);
  Session session(tiny());
  const auto logits = session.run(tokens, Logits::all);
  double sum = 0;
  for (int64_t row = 0; row + 1 < 300; ++row) {
    double total = 0;
    for (int64_t id = 0; id < 260; ++id) total += std::exp(static_cast<double>(logits.at(row, id)));
    sum += std::log(total) - logits.at(row, tokens[static_cast<size_t>(row) + 1]);
  }
  const double expected = std::exp(sum / 299);
  EXPECT_NEAR(perplexity(tiny(), tokens), expected, expected * 1e-9);
  EXPECT_EQ(perplexity(tiny(), tokens, 1), perplexity(tiny(), tokens, 3));
  EXPECT_THROW(perplexity(tiny(), std::span(tokens).first(1)), InputError);
}

}  // namespace
}  // namespace bareattn
