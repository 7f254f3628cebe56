// A session's promises: one answer, bit for bit, for every number of threads, every chunk and decode against prefill,
// observed or not; the observation points by name, shape and order; a run that fails leaves the session as it was.
// On a small random model (its values are against a plain double implementation here) and on the real one.
#include "bareattn/model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <set>

#include "bareattn/attention.h"
#include "bareattn/error.h"
#include "gguf_builder.h"
#include "model_under_test.h"

namespace bareattn {
namespace {

using Bits = std::vector<float>;

std::shared_ptr<const Model> tiny(Precision precision = Precision::f32, Precision attention = Precision::f32) {
  const test::TemporaryFile file(test::tiny_llama().build());
  return Model::load(file.path(), {.precision = precision, .attention = attention, .threads = 1});
}

std::vector<int32_t> some_tokens(int count, int vocabulary) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  uint32_t state = 12345;
  for (int32_t& token : tokens) {
    state = state * 1664525 + 1013904223;
    token = static_cast<int32_t>((state >> 8) % static_cast<uint32_t>(vocabulary));
  }
  return tokens;
}

Bits copy(TensorView<const float> view) { return {view.data, view.data + view.size()}; }

bool same_bits(const Bits& a, const Bits& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// All logits, the tokens given in pieces of `piece` (0: at once).
Bits run(const std::shared_ptr<const Model>& model, std::span<const int32_t> tokens, const SessionOptions& options,
         size_t piece = 0, Observer* observer = nullptr) {
  Session session(model, options);
  Bits all;
  if (piece == 0) piece = tokens.size();
  for (size_t first = 0; first < tokens.size(); first += piece) {
    const Bits part =
        copy(session.run(tokens.subspan(first, std::min(piece, tokens.size() - first)), Logits::all, observer));
    all.insert(all.end(), part.begin(), part.end());
  }
  EXPECT_EQ(session.length(), static_cast<int64_t>(tokens.size()));
  return all;
}

void expect_one_answer(const std::shared_ptr<const Model>& model, int count) {
  const auto tokens = some_tokens(count, model->config().vocab_size);
  const Bits expected = run(model, tokens, {.threads = 1, .chunk = 10000});
  ASSERT_EQ(expected.size(), tokens.size() * static_cast<size_t>(model->config().vocab_size));
  for (const float x : expected) ASSERT_TRUE(std::isfinite(x));
  for (const int threads : {1, 2, 3})
    EXPECT_TRUE(same_bits(expected, run(model, tokens, {.threads = threads, .chunk = 10000}))) << threads << " threads";
  for (const int64_t chunk : {1, 7, 64, 512})
    EXPECT_TRUE(same_bits(expected, run(model, tokens, {.threads = 2, .chunk = chunk}))) << "chunk " << chunk;
  EXPECT_TRUE(same_bits(expected, run(model, tokens, {.threads = 2}, 1))) << "token by token";
  EXPECT_TRUE(same_bits(expected, run(model, tokens, {.threads = 3}, 11))) << "in pieces of 11";
}

TEST(Determinism, TinyModelF32) { expect_one_answer(tiny(), 700); }
TEST(Determinism, TinyModelBf16) { expect_one_answer(tiny(Precision::bf16), 700); }
TEST(Determinism, TinyModelAttentionBf16) { expect_one_answer(tiny(Precision::f32, Precision::bf16), 700); }
TEST(Determinism, RealModelF32) { expect_one_answer(test::real_model(), 70); }
TEST(Determinism, RealModelBf16) { expect_one_answer(test::real_model(Precision::bf16), 70); }

TEST(Determinism, LastLogitsAreTheLastRowOfAll) {
  const auto model = tiny();
  const auto tokens = some_tokens(100, model->config().vocab_size);
  const Bits all = run(model, tokens, {.threads = 2, .chunk = 32});
  Session session(model, {.threads = 2, .chunk = 32});
  const Bits last = copy(session.run(tokens));
  EXPECT_TRUE(same_bits(last, Bits(all.end() - static_cast<int64_t>(last.size()), all.end())));
}

TEST(Determinism, TruncateForgets) {
  const auto model = tiny();
  const auto tokens = some_tokens(600, model->config().vocab_size);
  const std::span<const int32_t> view(tokens);
  Session session(model);
  session.run(view.first(530));
  session.truncate(100);
  EXPECT_EQ(session.length(), 100);
  const Bits after = copy(session.run(view.subspan(300, 50)));
  Session fresh(model);
  fresh.run(view.first(100));
  EXPECT_TRUE(same_bits(after, copy(fresh.run(view.subspan(300, 50)))));
  EXPECT_THROW(session.truncate(151), std::invalid_argument);
  EXPECT_THROW(session.truncate(-1), std::invalid_argument);
}

// Records everything it is shown; `only` limits what it wants.
struct Recorder : Observer {
  std::set<std::pair<int, int>> only;  // (point, layer); empty: all
  std::vector<std::string> names;
  std::vector<std::vector<int64_t>> shapes;
  std::vector<int64_t> first_rows;
  std::map<std::string, Bits> values;
  std::map<std::pair<int, int>, int> asked;

  bool wants(Point point, int layer) override {
    ++asked[{static_cast<int>(point), layer}];
    return only.empty() || only.contains({static_cast<int>(point), layer});
  }
  void see(const Event& event) override {
    names.push_back(point_name(event.point, event.layer));
    const auto& v = event.values;
    shapes.emplace_back(v.shape.begin(), v.shape.begin() + v.rank);
    first_rows.push_back(event.first_row);
    Bits& to = values[names.back()];
    if (v.rank == 0) return;
    for (int64_t i = 0; i < v.shape[0]; ++i)
      for (int64_t j = 0; j < v.shape[1]; ++j)
        for (int64_t k = 0; k < (v.rank == 3 ? v.shape[2] : 1); ++k) to.push_back(v.at(i, j, k));
  }
};

TEST(Points, AreSeenByNameShapeAndOrder) {
  const auto model = tiny();
  const auto tokens = some_tokens(10, model->config().vocab_size);
  Session session(model);
  session.run(std::span(tokens).first(3), Logits::none);
  Recorder recorder;
  session.run(std::span(tokens).subspan(3, 5), Logits::last, &recorder);
  const int64_t n = 5, w = 64, hq = 4, hkv = 2, d = 16, f = 100, v = 260;
  std::vector<std::pair<std::string, std::vector<int64_t>>> expected = {{"hook_embed", {n, w}}};
  for (const std::string b : {"blocks.0.", "blocks.1."}) {
    expected.insert(expected.end(), {{b + "hook_resid_pre", {n, w}},
                                     {b + "ln1.hook_normalized", {n, w}},
                                     {b + "attn.hook_q", {n, hq, d}},
                                     {b + "attn.hook_k", {n, hkv, d}},
                                     {b + "attn.hook_v", {n, hkv, d}},
                                     {b + "attn.hook_rot_q", {n, hq, d}},
                                     {b + "attn.hook_rot_k", {n, hkv, d}},
                                     {b + "attn.statistics", {}},
                                     {b + "attn.hook_z", {n, hq, d}},
                                     {b + "hook_attn_out", {n, w}},
                                     {b + "hook_resid_mid", {n, w}},
                                     {b + "ln2.hook_normalized", {n, w}},
                                     {b + "mlp.hook_pre", {n, f}},
                                     {b + "mlp.hook_pre_linear", {n, f}},
                                     {b + "mlp.hook_post", {n, f}},
                                     {b + "hook_mlp_out", {n, w}},
                                     {b + "hook_resid_post", {n, w}}});
  }
  expected.insert(expected.end(), {{"ln_final.hook_normalized", {1, w}}, {"unembed.hook_logits", {1, v}}});
  ASSERT_EQ(recorder.names.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(recorder.names[i], expected[i].first);
    EXPECT_EQ(recorder.shapes[i], expected[i].second) << recorder.names[i];
    EXPECT_EQ(recorder.first_rows[i], i + 2 < expected.size() ? 3 : 7) << recorder.names[i];
  }
  // asked once per point and layer, whatever the chunks
  EXPECT_EQ(recorder.asked.size(), 3U + 2U * 17U);
  for (const auto& [point, times] : recorder.asked) EXPECT_EQ(times, 1);
}

TEST(Points, UnwantedOnesAreNeverShownAndChunksAskOnce) {
  const auto model = tiny();
  const auto tokens = some_tokens(50, model->config().vocab_size);
  Recorder recorder;
  recorder.only = {{static_cast<int>(Point::rot_k), 1}, {static_cast<int>(Point::embed), -1}};
  Session session(model, {.threads = 2, .chunk = 20});
  session.run(tokens, Logits::none, &recorder);
  EXPECT_EQ(recorder.names,
            (std::vector<std::string>{"hook_embed", "blocks.1.attn.hook_rot_k", "hook_embed",
                                      "blocks.1.attn.hook_rot_k", "hook_embed", "blocks.1.attn.hook_rot_k"}));
  EXPECT_EQ(recorder.first_rows, (std::vector<int64_t>{0, 0, 20, 20, 40, 40}));
  for (const auto& [point, times] : recorder.asked) EXPECT_EQ(times, 1);
}

TEST(Points, WatchingChangesNoBit) {
  const auto model = tiny();
  const auto tokens = some_tokens(150, model->config().vocab_size);
  Recorder recorder;
  EXPECT_TRUE(same_bits(run(model, tokens, {.threads = 2}), run(model, tokens, {.threads = 2}, 0, &recorder)));
}

// What the points show fits together, in double: the layer as the paper writes it.
TEST(Points, ValuesObeyTheLayersEquations) {
  const auto builder = test::tiny_llama();
  const auto model = tiny();
  const int n = 40, w = 64, f = 100, hq = 4, hkv = 2, d = 16;
  const auto tokens = some_tokens(n, model->config().vocab_size);
  Recorder r;
  Session session(model, {.threads = 2});
  session.run(tokens, Logits::all, &r);
  const auto weights = [&](const std::string& name) {
    auto g = builder;
    const std::string& data = g.tensor(name).data;
    Bits values(data.size() / 4);
    std::memcpy(values.data(), data.data(), data.size());
    return values;
  };
  const auto expect_near = [&](const std::string& name, size_t i, double value, double scale) {
    ASSERT_NEAR(r.values.at(name)[i], value, 2e-5 * scale) << name << " " << i;
  };
  const auto project = [&](const Bits& x, int k, const Bits& matrix, int row, int out) {
    double sum = 0;
    for (int i = 0; i < k; ++i)
      sum += static_cast<double>(x[static_cast<size_t>(row * k + i)]) * matrix[static_cast<size_t>(out * k + i)];
    return sum;
  };
  const auto norm = [&](const std::string& from, const std::string& to, const std::string& weight) {
    const Bits& x = r.values.at(from);
    const Bits scale = weights(weight);
    for (size_t row = 0; row < n; ++row) {
      double sum = 0;
      for (size_t i = 0; i < w; ++i) sum += std::pow(x[row * w + i], 2);
      for (size_t i = 0; i < w; ++i)
        expect_near(to, row * w + i, x[row * w + i] / std::sqrt(sum / w + 1e-5) * scale[i], 5);
    }
  };
  const Bits embedding = weights("token_embd.weight");
  for (size_t row = 0; row < n; ++row)
    for (size_t i = 0; i < w; ++i)
      ASSERT_EQ(r.values.at("hook_embed")[row * w + i], embedding[static_cast<size_t>(tokens[row]) * w + i]);
  for (const int layer : {0, 1}) {
    const std::string b = "blocks." + std::to_string(layer) + ".", t = "blk." + std::to_string(layer) + ".";
    norm(b + "hook_resid_pre", b + "ln1.hook_normalized", t + "attn_norm.weight");
    const Bits& x = r.values.at(b + "ln1.hook_normalized");
    for (int row = 0; row < n; ++row) {
      for (int o = 0; o < hq * d; ++o)
        expect_near(b + "attn.hook_q", static_cast<size_t>(row * hq * d + o),
                    project(x, w, weights(t + "attn_q.weight"), row, o), 10);
      for (int o = 0; o < hkv * d; ++o) {
        const auto at = static_cast<size_t>(row * hkv * d + o);
        expect_near(b + "attn.hook_k", at, project(x, w, weights(t + "attn_k.weight"), row, o), 10);
        expect_near(b + "attn.hook_v", at, project(x, w, weights(t + "attn_v.weight"), row, o), 10);
      }
    }
    const auto rotated = [&](const std::string& from, const std::string& to, int heads) {
      for (int row = 0; row < n; ++row)
        for (int h = 0; h < heads; ++h)
          for (int i = 0; i < d; i += 2) {
            const auto at = static_cast<size_t>((row * heads + h) * d + i);
            const double angle = row * std::pow(10000.0, -static_cast<double>(i) / d);
            const double even = r.values.at(from)[at], odd = r.values.at(from)[at + 1];
            expect_near(to, at, even * std::cos(angle) - odd * std::sin(angle), 5);
            expect_near(to, at + 1, even * std::sin(angle) + odd * std::cos(angle), 5);
          }
    };
    rotated(b + "attn.hook_q", b + "attn.hook_rot_q", hq);
    rotated(b + "attn.hook_k", b + "attn.hook_rot_k", hkv);
    const Bits &q = r.values.at(b + "attn.hook_rot_q"), &k = r.values.at(b + "attn.hook_rot_k"),
               &v = r.values.at(b + "attn.hook_v");
    for (int row = 0; row < n; ++row) {
      for (int h = 0; h < hq; ++h) {
        std::vector<double> p;
        double peak = -1e300, sum = 0;
        for (int key = 0; key <= row; ++key) {
          double score = 0;
          for (int i = 0; i < d; ++i)
            score += static_cast<double>(q[static_cast<size_t>((row * hq + h) * d + i)]) *
                     k[static_cast<size_t>((key * hkv + h / 2) * d + i)];
          p.push_back(score / 4);
          peak = std::max(peak, p.back());
        }
        for (double& s : p) sum += s = std::exp(s - peak);
        for (int i = 0; i < d; ++i) {
          double z = 0;
          for (int key = 0; key <= row; ++key)
            z += p[static_cast<size_t>(key)] / sum * v[static_cast<size_t>((key * hkv + h / 2) * d + i)];
          expect_near(b + "attn.hook_z", static_cast<size_t>((row * hq + h) * d + i), z, 5);
        }
      }
      for (int o = 0; o < w; ++o) {
        const auto at = static_cast<size_t>(row * w + o);
        const double out = project(r.values.at(b + "attn.hook_z"), hq * d, weights(t + "attn_output.weight"), row, o);
        expect_near(b + "hook_attn_out", at, out, 10);
        expect_near(b + "hook_resid_mid", at, r.values.at(b + "hook_resid_pre")[at] + out, 10);
        const double mlp = project(r.values.at(b + "mlp.hook_post"), f, weights(t + "ffn_down.weight"), row, o);
        expect_near(b + "hook_mlp_out", at, mlp, 50);
        expect_near(b + "hook_resid_post", at, r.values.at(b + "hook_resid_mid")[at] + mlp, 50);
      }
      for (int o = 0; o < f; ++o) {
        const auto at = static_cast<size_t>(row * f + o);
        const Bits& y = r.values.at(b + "ln2.hook_normalized");
        const double gate = project(y, w, weights(t + "ffn_gate.weight"), row, o);
        const double up = project(y, w, weights(t + "ffn_up.weight"), row, o);
        expect_near(b + "mlp.hook_pre", at, gate, 10);
        expect_near(b + "mlp.hook_pre_linear", at, up, 10);
        expect_near(b + "mlp.hook_post", at, gate / (1 + std::exp(-gate)) * up, 50);
      }
    }
    norm(b + "hook_resid_mid", b + "ln2.hook_normalized", t + "ffn_norm.weight");
  }
  norm("blocks.1.hook_resid_post", "ln_final.hook_normalized", "output_norm.weight");
  for (int row = 0; row < n; ++row)
    for (int o = 0; o < 260; ++o)
      expect_near("unembed.hook_logits", static_cast<size_t>(row * 260 + o),
                  project(r.values.at("ln_final.hook_normalized"), w, embedding, row, o), 50);
}

}  // namespace
}  // namespace bareattn
