// Past the trained context and in windows: what is refused, how positions are scaled (linear and YaRN as files say it),
// and that a window with sinks is exactly attention with that mask, in outputs, weights and measures.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>

#include "bareattn/attention.h"
#include "bareattn/error.h"
#include "bareattn/trace.h"
#include "gguf_builder.h"
#include "model/rope.h"

namespace bareattn {
namespace {

std::shared_ptr<const Model> model_of(const test::GgufBuilder& builder) {
  const test::TemporaryFile file(builder.build());
  return Model::load(file.path(), {.precision = Precision::f32, .threads = 2});
}

std::shared_ptr<const Model> tiny() {
  static const auto model = model_of(test::tiny_llama());
  return model;
}

std::shared_ptr<const Model> short_context() {  // of 100 tokens
  static const auto model = model_of(test::tiny_llama().u32("llama.context_length", 100));
  return model;
}

TEST(Length, RefusalNamesTheChoices) {
  const auto tokens = test::byte_tokens(101);
  try {
    (void)observe(short_context(), tokens);
    ADD_FAILURE() << "accepted";
  } catch (const InputError& error) {
    const std::string text = error.what();
    for (const char* part : {"101 tokens", "context holds 100", "'extrapolate'", "'scale'"})
      EXPECT_NE(text.find(part), std::string::npos) << text;
  }
  EXPECT_NO_THROW((void)observe(short_context(), test::byte_tokens(100)));
  EXPECT_EQ(position_scale(short_context()->config(), 100, Beyond::scale), 1);
  EXPECT_EQ(position_scale(short_context()->config(), 250, Beyond::scale), 2.5);
  EXPECT_EQ(position_scale(short_context()->config(), 250, Beyond::extrapolate), 1);
}

std::vector<float> logits_of(const std::shared_ptr<const Model>& model, const std::vector<int32_t>& tokens,
                             const Reach& reach) {
  SessionOptions options;
  options.max_tokens = static_cast<int64_t>(tokens.size());
  options.reach = reach;
  Session session(model, options);
  const auto logits = session.run(tokens, Logits::last);
  return {logits.data, logits.data + logits.size()};
}

// Extrapolation is the run of a model whose context is long enough; scaling that of one whose file says linear.
TEST(Length, ExtrapolateAndScale) {
  const auto tokens = test::byte_tokens(250);
  EXPECT_EQ(logits_of(short_context(), tokens, {.beyond = Beyond::extrapolate}), logits_of(tiny(), tokens, {}));
  const auto linear =
      model_of(test::tiny_llama().string("llama.rope.scaling.type", "linear").f32("llama.rope.scaling.factor", 2.5F));
  EXPECT_EQ(logits_of(short_context(), tokens, {.beyond = Beyond::scale}), logits_of(linear, tokens, {}));
  EXPECT_NE(logits_of(linear, tokens, {}), logits_of(tiny(), tokens, {}));
  const auto text = observe(short_context(), tokens, {.beyond = Beyond::extrapolate});
  EXPECT_EQ(text->tokens().size(), 250U);
}

TEST(Length, LinearDividesPositions) {
  ModelConfig config;
  config.rope_dim = 32;
  config.rope_base = 10000;
  model::RopeTable plain(config, {}), scaled(config, {}, 4);
  plain.grow(50);
  scaled.grow(200);
  for (int64_t p = 0; p < 50; ++p)
    for (int64_t i = 0; i < 32; ++i) {
      EXPECT_NEAR(scaled.cosine(4 * p)[i], plain.cosine(p)[i], 1e-6);
      EXPECT_NEAR(scaled.sine(4 * p)[i], plain.sine(p)[i], 1e-6);
    }
}

// YaRN by the formulas of the paper (Peng et al. 2023, section 3.2 and 3.4), written apart from rope.cc.
TEST(Length, YarnAsPublished) {
  ModelConfig config;
  config.rope_dim = 64;
  config.rope_base = 10000;
  config.rope_scaling = {RopeScaling::Type::yarn, 4, 2048, 1, 32, 1};
  model::RopeTable table(config, {});
  table.grow(2);
  const double size = 1 + 0.1 * std::log(4.0);
  for (int64_t pair = 0; pair < 32; ++pair) {
    // The paper's own words: a pair that turns more than beta_fast times within the original context is left alone, one
    // that turns less than beta_slow times is divided by the factor, those between are mixed; the edges are whole
    // pairs.
    const auto edge = [](double turns) { return 64 * std::log(2048 / (turns * 2 * M_PI)) / (2 * std::log(10000.0)); };
    const double low = std::floor(edge(32)), high = std::ceil(edge(1));
    const double slow = std::clamp((static_cast<double>(pair) - low) / (high - low), 0.0, 1.0);
    const double own = std::pow(10000.0, -static_cast<double>(pair) / 32);
    const double angle = own * (1 - slow) + own / 4 * slow;
    EXPECT_NEAR(table.cosine(1)[2 * pair], size * std::cos(angle), 2e-7) << pair;
    EXPECT_NEAR(table.sine(1)[2 * pair + 1], size * std::sin(angle), 2e-7) << pair;
  }
  EXPECT_NEAR(std::atan2(table.sine(1)[1], table.cosine(1)[0]), 1.0, 1e-6);  // the fastest pair is left alone
  EXPECT_NEAR(std::atan2(table.sine(1)[63], table.cosine(1)[62]), std::pow(10000.0, -31.0 / 32) / 4, 1e-7);
}

// What a layer saw and gave: Q, K, V, its blend, and what the pass said.
class Recorder final : public Observer {
 public:
  explicit Recorder(int64_t n) : n_(n) {}
  bool wants(Point point, int layer) override {
    return layer == 1 && (point == Point::rot_q || point == Point::rot_k || point == Point::v || point == Point::z);
  }
  void see(const Event& event) override {
    auto& to = values[event.point];
    const auto& v = event.values;
    for (int64_t i = 0; i < v.shape[0]; ++i)
      for (int64_t h = 0; h < v.shape[1]; ++h)
        for (int64_t d = 0; d < v.shape[2]; ++d) to.push_back(v.at(i, h, d));
  }
  const AttentionStatistics* attention_statistics(int layer, int64_t first_row, int64_t) override {
    if (layer != 1) return nullptr;
    float* f = rows.data() + first_row;
    const int64_t array = 4 * n_;
    statistics = {};
    statistics.row_stride = n_;
    statistics.lse = f;
    statistics.entropy = f + array;
    statistics.mean_distance = f + 2 * array;
    statistics.first_mass = f + 3 * array;
    statistics.self_weight = f + 4 * array;
    statistics.previous_weight = f + 5 * array;
    statistics.recent_mass = f + 6 * array;
    statistics.row_sum = f + 7 * array;
    statistics.max_logit = f + 8 * array;
    statistics.key_stride = n_;
    statistics.received = received.data();
    return &statistics;
  }
  std::map<Point, std::vector<float>> values;  // [N, H, D]
  int64_t n_;
  std::vector<float> rows = std::vector<float>(static_cast<size_t>(9 * 4 * n_));
  std::vector<uint64_t> received = std::vector<uint64_t>(static_cast<size_t>(4 * n_));
  AttentionStatistics statistics;
};

TEST(Length, WindowWithSinksIsAttentionWithThatMask) {
  constexpr int64_t n = 1400;
  const auto tokens = test::byte_tokens(n);
  for (const auto& [window, sinks] : std::vector<std::pair<int64_t, int64_t>>{
           {0, 0}, {0, 4}, {1, 1}, {63, 4}, {100, 0}, {200, 4}, {511, 4}, {512, 600}, {5000, 4}}) {
    Recorder run(n);
    SessionOptions options;
    options.threads = 2;
    options.reach = {.window = window, .sinks = sinks};
    Session session(tiny(), options);
    session.run(tokens, Logits::none, &run);

    std::vector<uint8_t> mask(static_cast<size_t>(n * n));
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j <= i; ++j) mask[static_cast<size_t>(i * n + j)] = j < sinks || j >= i - window ? 1 : 0;
    Recorder expected(n);
    std::vector<float> o(run.values[Point::z].size());
    const AttentionStatistics statistics = *expected.attention_statistics(1, 0, n);
    AttentionParams params;
    params.is_causal = true;
    params.attn_mask = ConstTensor(TensorView<const uint8_t>(mask.data(), {n, n}));
    params.returns.statistics = {&statistics, 1};
    attention(bshd(static_cast<const float*>(run.values[Point::rot_q].data()), 1, n, 4, 16),
              bshd(static_cast<const float*>(run.values[Point::rot_k].data()), 1, n, 2, 16),
              bshd(static_cast<const float*>(run.values[Point::v].data()), 1, n, 2, 16), bshd(o.data(), 1, n, 4, 16),
              params);
    const auto same = [](const auto& a, const auto& b) {
      return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(a[0])) == 0;
    };
    EXPECT_TRUE(same(o, run.values[Point::z])) << "outputs, window " << window << " sinks " << sinks;
    for (size_t i = 0, shown = 0; i < run.rows.size() && shown < 5; ++i)
      if (std::memcmp(&run.rows[i], &expected.rows[i], 4) != 0 && ++shown)
        ADD_FAILURE() << "array " << i / (4 * n) << " head " << i / n % 4 << " row " << i % n << ": " << run.rows[i]
                      << " for " << expected.rows[i];
    EXPECT_TRUE(same(expected.rows, run.rows)) << "measures, window " << window << " sinks " << sinks;
    EXPECT_TRUE(same(expected.received, run.received)) << "received, window " << window << " sinks " << sinks;

    // Token by token from the cache, and from a trace, the same.
    std::vector<float> last = logits_of(tiny(), tokens, options.reach);
    Session steps(tiny(), options);
    steps.run(std::span(tokens).first(n - 3));
    for (int64_t i = n - 3; i < n - 1; ++i) steps.run(std::span(tokens).subspan(static_cast<size_t>(i), 1));
    const auto logits = steps.run(std::span(tokens).last(1));
    EXPECT_EQ(std::memcmp(logits.data, last.data(), last.size() * sizeof(float)), 0) << window << " " << sinks;
  }
}

TEST(Length, TraceOfAWindow) {
  constexpr int64_t n = 1400, window = 300, sinks = 4;
  const auto path = (std::filesystem::temp_directory_path() / ("bareattn-length-" + std::to_string(getpid()))).string();
  write_trace(path, tiny(), test::byte_tokens(n), {.store = Store::f32}, {.window = window, .sinks = sinks}, 2);
  const auto trace = Trace::open(path);
  std::filesystem::remove(path);
  EXPECT_EQ(trace->run().reach.window, window);
  const auto tile = trace->tile({1, 2}, {0, n}, {0, n});
  for (int64_t i = 0; i < n; i += 7) {
    double sum = 0;
    for (int64_t j = 0; j < n; ++j) {
      const float w = tile[static_cast<size_t>(i * n + j)];
      sum += w;
      const bool seen = j <= i && (j < sinks || j >= i - window);
      ASSERT_TRUE(seen || w == 0.0F) << i << " " << j;
    }
    EXPECT_NEAR(sum, 1, 1e-5) << i;
  }
  const auto distance = trace->rows(Measure::mean_distance, {1, 2});
  double by_hand = 0;
  for (int64_t j = 0; j < n; ++j) by_hand += tile[static_cast<size_t>(1000 * n + j)] * static_cast<double>(1000 - j);
  EXPECT_NEAR(distance[1000], by_hand, 1e-3);
  EXPECT_EQ(trace->rows(Measure::first_mass, {1, 2})[1000], tile[1000 * n]);
}

TEST(Length, ReachIsChecked) {
  EXPECT_THROW(Session(tiny(), {.reach = {.window = -2}}), std::invalid_argument);
  EXPECT_THROW(Session(tiny(), {.reach = {.sinks = -1}}), std::invalid_argument);
}

}  // namespace
}  // namespace bareattn
