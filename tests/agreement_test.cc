// Agreement between heads, and what heads write: every pair against a dense computation in f64 from the run's own Q, K
// and z and the weights that were put into the model file; heads made alike and made contrary; the file says what the
// memory says. Tolerances: weights of the kept f16 are off by 1.01 * 2^-10 scale sum |q k|, which is far below the
// 1e-3 used for JS here (a weight's relative error times the largest |ln| it meets, summed over weights of 1).
#include "bareattn/agreement.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>

#include "bareattn/error.h"
#include "bareattn/trace.h"
#include "folder.h"
#include "gguf_builder.h"
#include "model/head_outputs.h"
#include "observe_dense.h"

namespace bareattn {
namespace {

constexpr int layers = 2, heads = 4, kv_heads = 2, dim = 16, width = 64;

class Recorder final : public Observer {
 public:
  bool wants(Point p, int) override { return p == Point::rot_q || p == Point::rot_k || p == Point::v || p == Point::z; }
  void see(const Event& event) override {
    auto& to = event.point == Point::rot_q ? q : event.point == Point::rot_k ? k : event.point == Point::v ? v : z;
    for (int64_t h = 0; h < event.values.shape[1]; ++h)
      for (int64_t i = 0; i < event.values.shape[0]; ++i)
        for (int64_t d = 0; d < event.values.shape[2]; ++d)
          to[{event.layer, static_cast<int>(h)}].push_back(event.values.at(i, h, d));
  }
  std::map<std::pair<int, int>, std::vector<float>> q, k, v, z;  // (layer, head) -> [N, D]
};

struct Case {
  test::GgufBuilder builder;
  std::shared_ptr<const Model> model;
  std::vector<int32_t> tokens;
  Recorder run;

  Case(test::GgufBuilder made, int64_t length, Precision precision = Precision::f32)
      : builder(std::move(made)), tokens(test::byte_tokens(length)) {
    static std::vector<std::unique_ptr<test::TemporaryFile>> kept;
    kept.push_back(std::make_unique<test::TemporaryFile>(builder.build()));
    model = Model::load(kept.back()->path(), {.precision = precision, .threads = 2});
    Session session(model);
    session.run(tokens, Logits::none, &run);
  }
  // W_O^h x, [W], from the bytes of the file: tensor [W, Hq D], row-major.
  std::vector<double> written(int layer, int head, const float* x) {
    const std::string& bytes = builder.tensor("blk." + std::to_string(layer) + ".attn_output.weight").data;
    std::vector<double> out(width);
    for (int w = 0; w < width; ++w)
      for (int d = 0; d < dim; ++d) {
        float weight = 0;
        std::memcpy(&weight, bytes.data() + (w * heads * dim + head * dim + d) * 4, 4);
        out[static_cast<size_t>(w)] += double{weight} * double{x[d]};
      }
    return out;
  }
  test::DenseHead dense(int layer, int head) const {
    return test::dense_head(run.q.at({layer, head}).data(), run.k.at({layer, head / (heads / kv_heads)}).data(),
                            static_cast<int64_t>(tokens.size()), dim);
  }
};

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Each row times what the keys carry, |W_O v_j| in f64, divided by its sum.
std::vector<std::vector<double>> dense_shares(Case& c, int layer, int head) {
  auto weights = c.dense(layer, head).weights;
  std::vector<double> carried;
  for (size_t j = 0; j < weights.size(); ++j) {
    const auto y = c.written(layer, head, c.run.v.at({layer, head / (heads / kv_heads)}).data() + j * dim);
    carried.push_back(std::sqrt(dot(y, y)));
  }
  for (auto& row : weights) {
    double all = 0;
    for (size_t j = 0; j < row.size(); ++j) all += row[j] *= carried[j];
    for (double& x : row) x /= all;
  }
  return weights;
}

HeadPair expected_pair(Case& c, int layer, int a, int b, bool value_weighted = false) {
  HeadPair pair{layer, a, b};
  const auto pa = value_weighted ? dense_shares(c, layer, a) : c.dense(layer, a).weights,
             pb = value_weighted ? dense_shares(c, layer, b) : c.dense(layer, b).weights;
  double product = 0, square_a = 0, square_b = 0;
  for (size_t i = 1; i < pa.size(); ++i) {
    for (size_t j = 0; j <= i; ++j) {
      const double p = pa[i][j], q = pb[i][j], m = (p + q) / 2;
      if (p > 0) pair.js += p * std::log(p / m) / 2;
      if (q > 0) pair.js += q * std::log(q / m) / 2;
      product += p * q, square_a += p * p, square_b += q * q;
    }
    const auto ya = c.written(layer, a, c.run.z.at({layer, a}).data() + i * dim),
               yb = c.written(layer, b, c.run.z.at({layer, b}).data() + i * dim);
    pair.output_cosine += dot(ya, yb) / std::sqrt(dot(ya, ya) * dot(yb, yb));
  }
  pair.js /= static_cast<double>(pa.size() - 1);
  pair.output_cosine /= static_cast<double>(pa.size() - 1);
  pair.weight_cosine = product / std::sqrt(square_a * square_b);
  return pair;
}

constexpr MeasureGroups outputs{.rows = false,
                                .distance = false,
                                .spans = false,
                                .columns = false,
                                .map = false,
                                .values = true,
                                .agreement = true};

void expect_pairs(const Agreement& found, const std::vector<HeadPair>& want, double js_tolerance) {
  ASSERT_EQ(found.pairs.size(), want.size());
  for (size_t at = 0; at < want.size(); ++at) {
    const HeadPair &f = found.pairs[at], &w = want[at];
    const std::string name = std::to_string(w.layer) + ": " + std::to_string(w.a) + ", " + std::to_string(w.b);
    EXPECT_EQ(std::tie(f.layer, f.a, f.b), std::tie(w.layer, w.a, w.b));
    EXPECT_NEAR(f.js, w.js, js_tolerance) << name;
    EXPECT_NEAR(f.weight_cosine, w.weight_cosine, js_tolerance) << name;
    EXPECT_NEAR(f.output_cosine, w.output_cosine, 2e-5) << name;
  }
}

TEST(Agreement, EveryPairIsItsDefinition) {
  const test::Folder folder;
  for (const int64_t length : {2, 17, 150}) {
    Case c(test::tiny_llama(), length);
    std::vector<HeadPair> want;
    double apart = 0;
    for (int layer = 0; layer < layers; ++layer)
      for (int a = 0; a < heads; ++a)
        for (int b = a + 1; b < heads; ++b) {
          want.push_back(expected_pair(c, layer, a, b));
          apart = std::max(apart, want.back().js);
        }
    EXPECT_GT(apart, 1e-4) << "heads that look alike test nothing";
    const auto observation = observe(c.model, c.tokens, {.measures = outputs}, 2);
    const Agreement found = head_agreement(*observation);
    EXPECT_EQ(found.rows, length - 1);
    expect_pairs(found, want, 1e-3);
    write_trace(folder / "f32", c.model, c.tokens, {.store = Store::f32, .measures = outputs}, {}, 2);
    expect_pairs(head_agreement(*Trace::open(folder / "f32")), want, 2e-6);
  }
}

TEST(Agreement, ValueWeightedIsOfTheRowsShares) {
  const test::Folder folder;
  Case c(test::tiny_llama(), 150);
  write_trace(folder / "f32", c.model, c.tokens, {.store = Store::f32, .measures = outputs}, {}, 2);
  const auto trace = Trace::open(folder / "f32");
  std::vector<HeadPair> want;
  double apart = 0;
  for (const HeadPair& plain : head_agreement(*trace).pairs) {
    want.push_back(expected_pair(c, plain.layer, plain.a, plain.b, true));
    apart = std::max(apart, std::abs(want.back().js - plain.js));
  }
  EXPECT_GT(apart, 1e-3) << "keys that carry alike test nothing";
  expect_pairs(head_agreement(*trace, {.value_weighted = true}), want, 2e-5);  // sizes are within 2e-5 of themselves
  write_trace(folder / "none", c.model, c.tokens, {.store = Store::f32}, {}, 2);
  EXPECT_THROW(head_agreement(*Trace::open(folder / "none"), {.value_weighted = true}), InputError);
}

// Rows 0 .. 15 of a matrix [64, 64] of f32 are head 0's, and so on.
TEST(Agreement, HeadsMadeAlikeAgreeAndHeadsMadeContraryContradict) {
  auto builder = test::tiny_llama();
  for (int layer = 0; layer < layers; ++layer) {
    auto& q = builder.tensor("blk." + std::to_string(layer) + ".attn_q.weight").data;
    q.replace(dim * width * 4, dim * width * 4, q.substr(0, dim * width * 4));  // head 1 asks what head 0 asks
    auto& o = builder.tensor("blk." + std::to_string(layer) + ".attn_output.weight").data;
    for (int w = 0; w < width; ++w)
      for (int d = 0; d < dim; ++d) {  // and writes the contrary
        float weight = 0;
        std::memcpy(&weight, o.data() + (w * heads * dim + d) * 4, 4);
        weight = -weight;
        std::memcpy(o.data() + (w * heads * dim + dim + d) * 4, &weight, 4);
      }
  }
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    const Case c(builder, 100, precision);
    const auto observation = observe(c.model, c.tokens, {.measures = outputs}, 1);
    for (const HeadPair& pair : head_agreement(*observation).pairs) {
      if (pair.a != 0 || pair.b != 1) {
        EXPECT_GT(pair.output_cosine, -0.9);
        continue;
      }
      EXPECT_NEAR(pair.js, 0, 1e-9);
      EXPECT_NEAR(pair.weight_cosine, 1, 64 * 0x1p-24);  // f32 sums of 32 keys, and their product
      EXPECT_NEAR(pair.output_cosine, -1, 1e-6);
    }
  }
}

TEST(Agreement, SomeRowsAreTheRowsItSays) {
  Case c(test::tiny_llama(), 600);
  const auto observation = observe(c.model, c.tokens, {.measures = outputs}, 2);
  const Agreement all = head_agreement(*observation), whole = head_agreement(*observation, {.rows = 10'000});
  EXPECT_EQ(all.rows, 599);
  EXPECT_EQ(whole.rows, 599);
  for (const int64_t rows : {1, 16, 50, 64, 200}) {
    const Agreement some = head_agreement(*observation, {.rows = rows});
    EXPECT_EQ(some.rows, rows);
    for (size_t at = 0; at < some.pairs.size(); ++at) {
      EXPECT_EQ(some.pairs[at].output_cosine, all.pairs[at].output_cosine);
      if (rows >= 64) {
        EXPECT_NEAR(some.pairs[at].js, all.pairs[at].js, 0.3 * all.pairs[at].js + 1e-6);
      }
    }
  }
}

TEST(Agreement, ThreadsAndChunksChangeNoBit) {
  const test::Folder folder;
  const Case c(test::tiny_llama(), 333);
  const auto bits = [](const Agreement& agreement) {
    std::string all;
    for (const HeadPair& p : agreement.pairs)
      for (const double x : {p.js, p.weight_cosine, p.output_cosine}) all.append(reinterpret_cast<const char*>(&x), 8);
    return all;
  };
  write_trace(folder / "a", c.model, c.tokens, {.store = Store::f16, .measures = outputs}, {}, 2);
  const std::string expected = bits(head_agreement(*Trace::open(folder / "a"), {.threads = 1}));
  for (const int chunk : {1, 7, 64, 333}) {
    TraceWriter writer(folder / "b", *c.model, c.tokens, {.store = Store::f16, .measures = outputs});
    Session session(c.model, {.threads = 2, .chunk = chunk});
    session.run(c.tokens, Logits::none, &writer);
    writer.commit({});
    const auto trace = Trace::open(folder / "b");
    EXPECT_EQ(bits(head_agreement(*trace, {.threads = 2})), expected) << chunk;
    EXPECT_EQ(trace->carried({1, 3}), Trace::open(folder / "a")->carried({1, 3}));
  }
  EXPECT_EQ(bits(head_agreement(*observe(c.model, c.tokens, {.measures = outputs}, 1), {.threads = 2})), expected);
}

TEST(Agreement, OneLayerIsThatOfAll) {
  const Case c(test::tiny_llama(), 90);
  const auto observation = observe(c.model, c.tokens, {.measures = outputs}, 2);
  const Agreement all = head_agreement(*observation);
  const Agreement one = head_agreement(*observation, {.layer = 1});
  EXPECT_EQ(one.rows, all.rows);
  ASSERT_EQ(one.pairs.size(), all.pairs.size() / layers);
  for (size_t at = 0; at < one.pairs.size(); ++at) {
    const HeadPair &a = one.pairs[at], &b = all.pairs[at + one.pairs.size()];
    EXPECT_EQ(std::tie(a.layer, a.a, a.b, a.js, a.weight_cosine, a.output_cosine),
              std::tie(b.layer, b.a, b.b, b.js, b.weight_cosine, b.output_cosine));
  }
  EXPECT_THROW(head_agreement(*observation, {.layer = layers}), InputError);
}

// Asked again within a layer: what is no longer wanted ends at the next row of pairs, not with the layer.
TEST(Agreement, StopsInTheMiddleOfALayer) {
  const Case c(test::tiny_llama(), 200);
  const auto observation = observe(c.model, c.tokens, {}, 1);
  int64_t asked = 0;
  const Agreement all = head_agreement(*observation, {.threads = 1}, [&](int64_t, int64_t) { return ++asked > 0; });
  EXPECT_GT(asked, layers * 199 * heads);  // once for each row and head, at least
  int64_t left = asked / 3;
  EXPECT_THROW(head_agreement(*observation, {.threads = 1}, [&](int64_t, int64_t) { return --left > 0; }), Cancelled);
  EXPECT_EQ(left, 0) << "it was asked on after the answer was no";
}

// The pairs of a file of a few bytes can be billions.
TEST(Agreement, TooManyPairsAreRefused) {
  ModelConfig config;
  config.heads = 1449;
  EXPECT_THROW(model::check_head_pairs(config, 1), InputError);
  config.heads = 1448;
  EXPECT_NO_THROW(model::check_head_pairs(config, 1));
  EXPECT_THROW(model::check_head_pairs(config, 2), InputError);
  config.heads = 65'536;
  EXPECT_THROW(model::check_head_pairs(config, 4'096), InputError);
  config.heads = 128;
  EXPECT_NO_THROW(model::check_head_pairs(config, 126));
}

TEST(Agreement, WhatIsNotThereIsSaid) {
  const Case c(test::tiny_llama(), 40);
  const auto plain = observe(c.model, c.tokens, {}, 1);
  EXPECT_THROW((void)plain->output_cosine(0), InputError);
  EXPECT_THROW((void)plain->carried({0, 0}), InputError);
  for (const HeadPair& pair : head_agreement(*plain).pairs) EXPECT_TRUE(std::isnan(pair.output_cosine));
  EXPECT_THROW(head_agreement(*observe(c.model, c.tokens, {.keep_qk = false}, 1)), std::invalid_argument);
  EXPECT_THROW(head_agreement(*plain, {.rows = -1}), std::invalid_argument);
  EXPECT_THROW(head_agreement(*plain, {}, [](int64_t, int64_t) { return false; }), Cancelled);
  const auto one = observe(c.model, {5}, {.measures = outputs}, 1);
  const Agreement none = head_agreement(*one);
  EXPECT_EQ(none.rows, 0);
  EXPECT_TRUE(std::isnan(none.pairs[0].js));
  EXPECT_TRUE(std::isnan(none.pairs[0].output_cosine));
}

// |W_O^h v_j| from the bytes of the file: within the relative error that head_outputs.h states, whose |R v| is it.
TEST(Carried, IsTheSizeOfWhatAKeyWrites) {
  const test::Folder folder;
  Case c(test::tiny_llama(), 150);
  const auto observation = observe(c.model, c.tokens, {.measures = outputs}, 2);
  write_trace(folder / "a", c.model, c.tokens, {.measures = outputs}, {}, 2);
  const auto trace = Trace::open(folder / "a");
  for (int layer = 0; layer < layers; ++layer)
    for (int head = 0; head < heads; ++head) {
      const auto sizes = observation->carried({layer, head});
      ASSERT_EQ(sizes.size(), c.tokens.size());
      EXPECT_EQ(trace->carried({layer, head}), sizes);
      const auto& v = c.run.v.at({layer, head / (heads / kv_heads)});
      for (size_t j = 0; j < sizes.size(); ++j) {
        const auto y = c.written(layer, head, v.data() + j * dim);
        const double want = std::sqrt(dot(y, y));
        ASSERT_GT(want, 0);
        ASSERT_NEAR(sizes[j], want, want * 2e-5) << layer << "." << head << " key " << j;
      }
    }
}

TEST(Carried, DimensionsThatWriteNothingCarryNothing) {
  auto builder = test::tiny_llama();
  auto& o = builder.tensor("blk.0.attn_output.weight").data;
  for (int w = 0; w < width; ++w)  // head 2 writes only by its first 5 dimensions, head 3 not at all
    std::memset(o.data() + (w * heads * dim + 2 * dim + 5) * 4, 0, (2 * dim - 5) * 4);
  Case c(builder, 60);
  const auto observation = observe(c.model, c.tokens, {.measures = outputs}, 1);
  const auto two = observation->carried({0, 2}), three = observation->carried({0, 3});
  const auto& v = c.run.v.at({0, 1});
  for (size_t j = 0; j < two.size(); ++j) {
    const auto y = c.written(0, 2, v.data() + j * dim);
    EXPECT_NEAR(two[j], std::sqrt(dot(y, y)), std::sqrt(dot(y, y)) * 2e-5);
    EXPECT_EQ(three[j], 0);
  }
  const auto cosines = observation->output_cosine(0);
  EXPECT_TRUE(std::isnan(cosines[3])) << "a head that writes nothing points nowhere";
  EXPECT_FALSE(std::isnan(cosines[2]));
}

}  // namespace
}  // namespace bareattn
