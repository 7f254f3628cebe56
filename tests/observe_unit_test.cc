// Observation without a model file: a Recorder driven by hand with known weightings, roles at their thresholds, texts
// of split characters, and everything that must be refused.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "bareattn/error.h"
#include "bareattn/highlights.h"
#include "kernels/convert.h"
#include "observe/recorder.h"
#include "observe/run_observation.h"
#include "observe/token_texts.h"
#include "observe_dense.h"

namespace bareattn {
namespace {

class FakeModel final : public Model {
 public:
  explicit FakeModel(const ModelConfig& config) : architecture_(config), tokenizer_(spec()) {}
  const Architecture& architecture() const override { return architecture_; }
  const Tokenizer& tokenizer() const override { return tokenizer_; }
  Precision precision() const override { return Precision::f32; }
  const std::string& path() const override { return path_; }
  int64_t parameters() const override { return 0; }
  const std::vector<std::string>& warnings() const override { return warnings_; }
  std::string sha256() const override { return ""; }

 private:
  static TokenizerSpec spec() {
    TokenizerSpec spec;
    spec.model = "gpt2";
    spec.pre = "smollm";
    spec.tokens = {"a", "b", "c"};
    return spec;
  }
  Architecture architecture_;
  Tokenizer tokenizer_;
  std::string path_;
  std::vector<std::string> warnings_;
};

ModelConfig small_config() {
  ModelConfig c;
  c.layers = 2;
  c.heads = 4;
  c.kv_heads = 2;
  c.head_dim = 4;
  c.vocab_size = 3;
  c.context_length = 4096;
  return c;
}

constexpr int64_t length = 200;

// Q and K by which every head has a weighting that one can tell in advance, one-hot by a large factor: head 0 of each
// layer is left even (Q = 0); the others take random vectors.
struct Drive {
  ModelConfig config = small_config();
  std::vector<float> q, k;  // [N, Hq, D], [N, Hkv, D]
  Drive() : q(length * 4 * 4), k(length * 2 * 4) {
    uint32_t state = 7;
    const auto next = [&] {
      state = state * 1664525 + 1013904223;
      return static_cast<float>(state >> 8) / 8388608.0F - 1.0F;
    };
    for (float& x : q) x = 3 * next();
    for (float& x : k) x = 3 * next();
    for (int64_t i = 0; i < length; ++i) std::memset(&q[i * 16], 0, 16);
  }
  test::DenseHead dense(int head) const {
    std::vector<float> hq, hk;
    for (int64_t i = 0; i < length; ++i) {
      for (int d = 0; d < 4; ++d) {
        hq.push_back(q[(i * 4 + head) * 4 + d]);
        hk.push_back(k[(i * 2 + head / 2) * 4 + d]);
      }
    }
    return test::dense_head(hq.data(), hk.data(), length, 4);
  }
};

// What the attention pass would write, from the definition.
void fill(const AttentionStatistics& s, const test::DenseHead& dense, int head, int64_t first, int64_t rows) {
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t i = first + r, at = head * s.row_stride + r;
    const auto& p = dense.weights[i];
    s.lse[at] = static_cast<float>(dense.lse[i]);
    s.entropy[at] = static_cast<float>(dense.entropy[i]);
    const auto top = std::max_element(p.begin(), p.end());
    s.max_key[at] = static_cast<int32_t>(top - p.begin());
    s.max_logit[at] = static_cast<float>(dense.logits[i][s.max_key[at]]);
    double squares = 0, distance = 0, recent = 0;
    for (int64_t j = 0; j <= i; ++j) {
      squares += p[j] * p[j];
      distance += p[j] * static_cast<double>(i - j);
      if (i - j < 64) recent += p[j];
      const auto fixed = static_cast<uint64_t>(std::llround(p[j] * 0x1p27));
      const int64_t cell = head * s.pool_stride + (i / s.pool_block) * (i / s.pool_block + 1) / 2 + j / s.pool_block;
      s.received[head * s.key_stride + j] += fixed;
      s.pool_sum[cell] += fixed;
      s.pool_max[cell] = std::max(s.pool_max[cell], static_cast<float>(p[j]));
    }
    s.sum_squares[at] = static_cast<float>(squares);
    s.mean_distance[at] = static_cast<float>(distance);
    s.first_mass[at] = static_cast<float>(p[0]);
    s.self_weight[at] = static_cast<float>(p[i]);
    s.previous_weight[at] = i == 0 ? 0 : static_cast<float>(p[i - 1]);
    s.recent_mass[at] = static_cast<float>(recent);
  }
}

std::unique_ptr<Observation> driven(const Drive& drive, const ObservationOptions& options = {}) {
  auto recorder = std::make_unique<observing::Recorder>(Architecture(drive.config), length, options);
  for (int64_t first = 0; first < length; first += 64) {  // chunks of 64, the last of 8
    const int64_t rows = std::min<int64_t>(64, length - first);
    for (int layer = 0; layer < 2; ++layer) {
      const TensorView<const float> q(drive.q.data() + first * 16, {rows, 4, 4});
      const TensorView<const float> k(drive.k.data() + first * 8, {rows, 2, 4});
      if (recorder->wants(Point::rot_q, layer)) recorder->see({Point::rot_q, layer, first, q});
      if (recorder->wants(Point::rot_k, layer)) recorder->see({Point::rot_k, layer, first, k});
      const AttentionStatistics* s = recorder->attention_statistics(layer, first, rows);
      for (int head = 0; head < 4; ++head) fill(*s, drive.dense(head), head, first, rows);
    }
  }
  recorder->finish();
  observing::RunFacts facts;
  facts.tokens.assign(length, 0);
  facts.texts.assign(length, "a");
  facts.seconds = 1;
  return observing::make_observation(std::make_shared<FakeModel>(drive.config), std::move(facts), std::move(recorder));
}

TEST(Observation, AnEvenHeadHasTheMeasuresOfAnEvenHead) {
  const Drive drive;
  const auto o = driven(drive);
  const HeadId even{1, 0};
  EXPECT_NEAR(o->mean(Measure::normalized_entropy, even), 1, 1e-6);
  EXPECT_NEAR(o->mean(Measure::mean_distance, even), 50, 1e-3);  // the mean of i / 2 over [1, 200)
  EXPECT_EQ(o->role(even).name, "broad");
  EXPECT_NEAR(o->rows(Measure::effective_context, even)[99], 100, 1e-3);
  EXPECT_NEAR(o->rows(Measure::max_weight, even)[99], 0.01, 1e-7);
  EXPECT_NEAR(o->received(even)[199], 1.0 / 200, 1e-7);
  EXPECT_EQ(o->pool_block(), 8);
  EXPECT_EQ(o->pool_blocks(), 25);
  double cell = 0;  // block (1, 0): 8 keys of the rows of 9 to 16 keys
  for (int keys = 9; keys <= 16; ++keys) cell += 8.0 / keys;
  EXPECT_NEAR(o->pool_sum(even)[1], cell, 1e-6);
  EXPECT_NEAR(o->row_weights(even, 3)[2], 0.25, 1e-6);
}

TEST(Observation, ChunksLandInTheirPlaces) {
  const Drive drive;
  const auto o = driven(drive);
  for (int head = 0; head < 4; ++head) {
    const auto dense = drive.dense(head);
    for (int layer = 0; layer < 2; ++layer) {
      const auto entropy = o->rows(Measure::entropy, {layer, head});
      const auto q = o->q_f16({layer, head}), k = o->k_f16(layer, head / 2);
      ASSERT_EQ(q.size(), size_t{length * 4});
      for (int64_t i = 0; i < length; ++i) {
        ASSERT_FLOAT_EQ(entropy[i], static_cast<float>(dense.entropy[i]));
        for (int d = 0; d < 4; ++d) {
          ASSERT_EQ(q[i * 4 + d], kernels::f16_from_f32(drive.q[(i * 4 + head) * 4 + d]));
          ASSERT_EQ(k[i * 4 + d], kernels::f16_from_f32(drive.k[(i * 2 + head / 2) * 4 + d]));
        }
      }
      const auto last = o->row_weights({layer, head}, length - 1);
      for (int64_t j = 0; j < length; ++j) ASSERT_NEAR(last[j], dense.weights[length - 1][j], 1e-5);
    }
  }
}

TEST(Observation, StridedViewsAreRead) {
  const Drive drive;
  std::vector<float> transposed(length * 16);  // [Hq, D, N] seen as [N, Hq, D]
  for (int64_t i = 0; i < length; ++i) {
    for (int64_t c = 0; c < 16; ++c) transposed[c * length + i] = drive.q[i * 16 + c];
  }
  observing::Recorder recorder(Architecture(drive.config), length, {});
  recorder.see(
      {Point::rot_q, 0, 0, TensorView<const float>(transposed.data(), {length, 4, 4}, {1, 4 * length, length})});
  for (int64_t i = 0; i < length; ++i) {
    ASSERT_EQ(recorder.q({0, 2})[i * 4 + 3], kernels::f16_from_f32(drive.q[i * 16 + 11]));
  }
}

TEST(Observation, NothingKeptMeansNothingClaimed) {
  const auto o = driven(Drive(), {.pool_block = 32, .keep_qk = false});
  EXPECT_EQ(o->pool_blocks(), 7);
  EXPECT_TRUE(o->q_f16({0, 0}).empty());
  EXPECT_TRUE(o->k_f16(0, 0).empty());
  EXPECT_THROW(o->row_weights({0, 0}, 5), std::invalid_argument);
  EXPECT_NEAR(o->mean(Measure::normalized_entropy, {0, 0}), 1, 1e-6);
}

TEST(Observation, WrongArgumentsAreNamed) {
  const auto o = driven(Drive());
  const auto sentence = [](const auto& call) -> std::string {
    try {
      call();
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(sentence([&] { o->rows(Measure::entropy, {2, 0}); }).find("2.0"), std::string::npos);
  EXPECT_NE(sentence([&] { o->received({0, 4}); }).find("4 heads"), std::string::npos);
  EXPECT_NE(sentence([&] { o->row_weights({0, 0}, 200); }).find("200 tokens"), std::string::npos);
  EXPECT_NE(sentence([&] { o->row_weights({0, 0}, -1); }).find("-1"), std::string::npos);
  EXPECT_NE(sentence([&] { o->k_f16(0, 2); }).find("0.2"), std::string::npos);
  EXPECT_NE(sentence([&] { o->mean(static_cast<Measure>(measure_count), {0, 0}); }).find("13"), std::string::npos);
  EXPECT_NE(sentence([&] { o->top_keys({0, 0}, 0, -1); }).find("-1"), std::string::npos);
  EXPECT_NE(sentence([] { observing::Recorder(Architecture(small_config()), 10, {.pool_block = 24}); }).find("24"),
            std::string::npos);
  EXPECT_NE(sentence([] { observing::Recorder(Architecture(small_config()), 0, {}); }).find("0"), std::string::npos);
  observing::Recorder recorder(Architecture(small_config()), 10, {});
  EXPECT_THROW(recorder.attention_statistics(0, 5, 6), std::invalid_argument);
  EXPECT_THROW(recorder.attention_statistics(2, 0, 1), std::invalid_argument);
  const std::vector<float> some(64);
  EXPECT_THROW(recorder.see({Point::rot_q, 0, 9, TensorView<const float>(some.data(), {2, 4, 4})}),
               std::invalid_argument);
  EXPECT_THROW(recorder.see({Point::rot_k, 0, 0, TensorView<const float>(some.data(), {2, 4, 4})}),
               std::invalid_argument);
}

TEST(Observation, OneTokenHasNoMeans) {
  observing::RunFacts facts;
  facts.tokens = {0};
  facts.texts = {"a"};
  auto recorder = std::make_unique<observing::Recorder>(Architecture(small_config()), 1, ObservationOptions{});
  recorder->finish();
  const auto o =
      observing::make_observation(std::make_shared<FakeModel>(small_config()), std::move(facts), std::move(recorder));
  EXPECT_TRUE(std::isnan(o->mean(Measure::entropy, {0, 0})));
  EXPECT_EQ(o->role({0, 0}).name, "mixed");
  EXPECT_TRUE(highlights(*o).empty());
  EXPECT_EQ(telling_heads(*o).size(), 8u);
}

TEST(PoolBlock, IsTheSmallestWithAtMost40BlocksOrFrom16OnWith256) {
  EXPECT_EQ(observing::choose_pool_block(1), 1);
  EXPECT_EQ(observing::choose_pool_block(40), 1);
  EXPECT_EQ(observing::choose_pool_block(41), 2);
  EXPECT_EQ(observing::choose_pool_block(320), 8);
  EXPECT_EQ(observing::choose_pool_block(321), 16);
  EXPECT_EQ(observing::choose_pool_block(4096), 16);
  EXPECT_EQ(observing::choose_pool_block(4097), 32);
  EXPECT_EQ(observing::choose_pool_block(8192), 32);
  EXPECT_EQ(observing::choose_pool_block(100000), 512);
}

TEST(Roles, FollowTheirThresholds) {
  const auto with = [](std::initializer_list<std::pair<Measure, double>> values) {
    observing::Means means{};
    means[static_cast<int>(Measure::mean_distance)] = 250;
    for (const auto& [measure, value] : values) means[static_cast<int>(measure)] = value;
    return observing::role_of(means, 1000).name;
  };
  const double less = 1e-9;
  EXPECT_EQ(with({{Measure::previous_weight, 0.4}}), "previous-token");
  EXPECT_EQ(with({{Measure::previous_weight, 0.4 - less}}), "mixed");
  EXPECT_EQ(with({{Measure::self_weight, 0.4}}), "self");
  EXPECT_EQ(with({{Measure::self_weight, 0.4 - less}}), "mixed");
  EXPECT_EQ(with({{Measure::first_mass, 0.5}}), "first-token");
  EXPECT_EQ(with({{Measure::first_mass, 0.5 - less}}), "mixed");
  EXPECT_EQ(with({{Measure::recent_mass, 0.6}, {Measure::mean_distance, 125}}), "local");
  EXPECT_EQ(with({{Measure::recent_mass, 0.6}, {Measure::mean_distance, 125.1}}), "mixed");
  EXPECT_EQ(with({{Measure::recent_mass, 0.6 - less}, {Measure::mean_distance, 1}}), "mixed");
  EXPECT_EQ(with({{Measure::normalized_entropy, 0.6}}), "broad");
  EXPECT_EQ(with({{Measure::first_mass, 0.5}, {Measure::self_weight, 0.5}}), "self");
  EXPECT_EQ(with({{Measure::first_mass, NAN}, {Measure::self_weight, NAN}}), "mixed");
}

TEST(MeasureInfo, EveryMeasureHasADifferentNameAndASentence) {
  std::vector<std::string> ids;
  for (int m = 0; m < measure_count; ++m) {
    const MeasureInfo& info = measure_info(static_cast<Measure>(m));
    ids.emplace_back(info.id);
    EXPECT_GT(std::strlen(info.description), 20u);
    EXPECT_EQ(info.description[std::strlen(info.description) - 1], '.');
  }
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(std::adjacent_find(ids.begin(), ids.end()), ids.end());
}

TEST(TokenTexts, SplitCharactersStandAtTheirFirstToken) {
  using Texts = std::vector<std::string>;
  const auto texts = [](std::vector<std::string_view> pieces) { return observing::token_texts(pieces); };
  EXPECT_EQ(texts({"ab", "c"}), (Texts{"ab", "c"}));
  EXPECT_EQ(texts({"\xF0\x9F", "\x98", "\x80!"}), (Texts{"😀", "", "!"}));
  EXPECT_EQ(texts({"a\xC3",
                   "\xA9"
                   "b"}),
            (Texts{"aé", "b"}));
  EXPECT_EQ(texts({"\xFF", "x"}), (Texts{"\xEF\xBF\xBD", "x"}));
  EXPECT_EQ(texts({"\xF0\x9F", "x"}), (Texts{"\xEF\xBF\xBD", "x"}));  // never completed
  EXPECT_EQ(texts({"\xE2\x82"}), (Texts{"\xEF\xBF\xBD"}));
  EXPECT_EQ(texts({"", "", "a"}), (Texts{"", "", "a"}));
  EXPECT_EQ(texts({}), Texts{});
}

}  // namespace
}  // namespace bareattn
