// Traces of steered runs: what is recomputed from the file follows the table that steered the run, bit for bit in f32;
// the rest is that of an observed steered run; and spans that the table has not are refused.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "bareattn/attention.h"
#include "bareattn/diff.h"
#include "bareattn/error.h"
#include "bareattn/score_table.h"
#include "bareattn/trace.h"
#include "folder.h"
#include "gguf_builder.h"
#include "model_under_test.h"

namespace bareattn {
namespace {

std::shared_ptr<const Model> tiny() {
  static const test::TemporaryFile file(test::tiny_llama().build());
  static const std::shared_ptr<const Model> model =
      Model::load(file.path(), {.precision = Precision::f32, .threads = 2});
  return model;
}

/// Layer 0: the keys of span 1 get less or more, or are cut, head by head, and scores are scaled; layer 1: nothing.
std::shared_ptr<const ScoreTable> table(int64_t n) {
  auto made = std::make_shared<ScoreTable>();
  const ModelConfig& config = tiny()->config();
  made->heads = config.heads;
  made->head_dim = config.head_dim;
  made->row_spans = made->key_spans = 2;
  for (int64_t i = 0; i < n - 100; ++i) {  // shorter than the text: what is past it belongs to span 0
    made->row_span.push_back(i >= 300 ? 1 : 0);
    made->key_span.push_back(i % 7 == 3 ? 1 : 0);
  }
  made->layers.resize(static_cast<size_t>(config.layers));
  for (int h = 0; h < config.heads; ++h) {
    const float cut = -std::numeric_limits<float>::infinity();
    for (const float value : {0.0F, 0.0F, 0.25F, h == 2 ? cut : 1.5F - static_cast<float>(h)})
      made->layers[0].value.push_back(value);
    made->layers[0].head_scale.push_back(h == 1 ? 1.0F : 0.5F + static_cast<float>(h));
  }
  return made;
}

// Q and K of layer 0, where they are those of a run that is not steered.
class Layer0 final : public Observer {
 public:
  bool wants(Point point, int layer) override { return layer == 0 && (point == Point::rot_q || point == Point::rot_k); }
  void see(const Event& event) override {
    auto& to = event.point == Point::rot_q ? q : k;
    to.resize(static_cast<size_t>(event.values.shape[1]));
    for (int64_t head = 0; head < event.values.shape[1]; ++head)
      for (int64_t i = 0; i < event.values.shape[0]; ++i)
        for (int64_t d = 0; d < event.values.shape[2]; ++d)
          to[static_cast<size_t>(head)].push_back(event.values.at(i, head, d));
  }
  std::vector<std::vector<float>> q, k;  // [heads][N, D]
};

// All weights [N, N] of a head of layer 0, from the attention pass with the table.
std::vector<float> pass(const Layer0& qk, const ScoreTable& steering, int head, int64_t n) {
  const ModelConfig& config = tiny()->config();
  const int64_t dim = config.head_dim;
  const auto& q = qk.q[static_cast<size_t>(head)];
  const auto& k = qk.k[static_cast<size_t>(head / (config.heads / config.kv_heads))];
  std::vector<float> v(static_cast<size_t>(n * dim), 1.0F), o(v.size()), weights(static_cast<size_t>(n * n));
  std::vector<int64_t> rows(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) rows[static_cast<size_t>(i)] = i;
  std::vector<uint8_t> row_span = steering.row_span, key_span = steering.key_span;
  row_span.resize(static_cast<size_t>(n));
  key_span.resize(static_cast<size_t>(n));
  SpanBias bias;
  bias.row_spans = bias.key_spans = 2;
  bias.row_span = row_span;
  bias.key_span = key_span;
  bias.value = std::span(steering.layers[0].value).subspan(static_cast<size_t>(head) * 4, 4);
  bias.head_scale = std::span(steering.layers[0].head_scale).subspan(static_cast<size_t>(head), 1);
  AttentionParams params;
  params.is_causal = true;
  params.bias = &bias;
  params.returns.full_rows = rows;
  params.returns.full_weights = weights.data();
  attention(TensorView<const float>(q.data(), {1, 1, n, dim}), TensorView<const float>(k.data(), {1, 1, n, dim}),
            TensorView<const float>(v.data(), {1, 1, n, dim}), TensorView<float>(o.data(), {1, 1, n, dim}), params);
  return weights;
}

TEST(SteeredTrace, TilesInF32AreTheSteeredPassBitForBit) {
  const test::Folder folder;
  constexpr int64_t n = 1300;  // three blocks of 512
  const auto tokens = test::byte_tokens(n);
  TraceOptions options;
  options.store = Store::f32;
  options.table = table(n);
  write_trace(folder / "a", tiny(), tokens, options, {}, 2);
  const auto trace = Trace::open(folder / "a");
  trace->verify();
  ASSERT_NE(trace->table(), nullptr);
  Layer0 qk;
  SessionOptions session_options;
  session_options.max_tokens = n;
  Session session(tiny(), session_options);
  session.run(tokens, Logits::none, &qk);
  for (int head = 0; head < tiny()->config().heads; ++head) {
    const auto truth = pass(qk, *options.table, head, n);
    for (const auto& [rows, keys] : std::vector<std::pair<TraceRange, TraceRange>>{
             {{0, n}, {0, n}}, {{511, 513}, {510, 514}}, {{700, 956}, {512, 768}}, {{1200, 1300}, {1100, 1300}}}) {
      const std::vector<float> tile = trace->tile({0, head}, rows, keys);
      const auto columns = static_cast<size_t>(keys.end - keys.begin);
      for (int64_t i = rows.begin; i < rows.end; ++i)
        ASSERT_EQ(std::memcmp(tile.data() + static_cast<size_t>(i - rows.begin) * columns,
                              truth.data() + i * n + keys.begin, columns * sizeof(float)),
                  0)
            << "head " << head << " row " << i << " keys " << keys.begin << ":" << keys.end;
    }
  }
}

TEST(SteeredTrace, SaysWhatASteeredObservationSays) {
  const test::Folder folder;
  const auto tokens = test::byte_tokens(500);
  TraceOptions options;
  options.store = Store::f32;
  options.table = table(500);
  write_trace(folder / "a", tiny(), tokens, options, {}, 2);
  write_trace(folder / "b", tiny(), tokens, {.store = Store::f32}, {}, 2);
  const auto trace = Trace::open(folder / "a"), plain = Trace::open(folder / "b");
  EXPECT_EQ(plain->table(), nullptr);
  ObservationOptions how;
  how.table = options.table;
  const auto seen = observe(tiny(), tokens, how, 2);
  ASSERT_NE(seen->table(), nullptr);
  for (const HeadId head : {HeadId{0, 0}, HeadId{0, 2}, HeadId{1, 1}}) {
    EXPECT_EQ(trace->mean(Measure::entropy, head), seen->mean(Measure::entropy, head));
    EXPECT_EQ(trace->received(head), seen->received(head));
    for (const int64_t row : {0, 250, 399, 499}) {
      const auto weights = trace->row_weights(head, row), truth = seen->row_weights(head, row);
      double sum = 0;
      for (size_t j = 0; j < weights.size(); ++j) {
        sum += static_cast<double>(weights[j]);
        // Of the last row alone an observation has Q in f32 and K nearly so: 2 D 2^-24 scale sum |q k| of the logit.
        if (row == 499) {
          EXPECT_NEAR(weights[j], truth[j], 1e-4F * truth[j]) << head.head << " key " << j;
        }
      }
      EXPECT_NEAR(sum, 1, 1e-5);
    }
  }
  EXPECT_EQ(trace->row_weights({0, 2}, 399)[3], 0);  // cut
  // What a comparison of the two says: nothing of a head that was left as it was, much of one that was not.
  const RunDiff changes = diff(*plain, *trace);
  EXPECT_GT(changes.heads[0].js, 1e-3);
  EXPECT_TRUE(std::isinf(changes.heads[2].kl)) << "keys that A sees and B cannot";
}

TEST(SteeredTrace, SpansThatTheTableHasNotAreRefused) {
  const test::Folder folder;
  const auto tokens = test::byte_tokens(64);
  auto wrong = std::make_shared<ScoreTable>(*table(264));
  wrong->key_span.resize(64);
  wrong->row_span.resize(64);
  wrong->key_span[10] = 2;
  TraceOptions options;
  options.table = wrong;
  SessionOptions session_options;
  session_options.max_tokens = 64;
  Session session(tiny(), session_options);
  TraceWriter writer(folder / "a", *tiny(), tokens, options);
  session.run(tokens, Logits::none, &writer);
  try {
    writer.commit({});  // reads what it wrote before it puts it in place
    FAIL() << "written";
  } catch (const OutputError& error) {
    EXPECT_NE(std::string(error.what()).find("'steer_key_span' names span 2; there are 2"), std::string::npos)
        << error.what();
  }
  EXPECT_THROW(write_trace(folder / "b", tiny(), tokens, options), std::invalid_argument);
  EXPECT_FALSE(std::filesystem::exists(folder / "b"));
}

}  // namespace
}  // namespace bareattn
