// Two runs compared: every number against a dense computation in f64 from the runs' own Q and K; identical runs, the
// identities between the measures, and refusals by name.
#include "bareattn/diff.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>

#include "bareattn/error.h"
#include "folder.h"
#include "gguf_builder.h"

namespace bareattn {
namespace {

std::shared_ptr<const Model> tiny(uint32_t seed) {
  auto builder = test::tiny_llama();
  for (const char* name : {"blk.0.attn_q.weight", "blk.1.attn_k.weight", "blk.1.attn_v.weight"}) {
    auto& tensor = builder.tensor(name);
    if (seed != 0) tensor.data = test::random_weights(tensor.shape[0] * tensor.shape[1], seed, 0.3F);
  }
  static std::vector<std::unique_ptr<test::TemporaryFile>> kept;
  kept.push_back(std::make_unique<test::TemporaryFile>(builder.build()));
  return Model::load(kept.back()->path(), {.precision = Precision::f32, .threads = 1});
}

std::shared_ptr<const Trace> traced(const std::string& path, const std::shared_ptr<const Model>& model,
                                    const std::vector<int32_t>& tokens, Store store = Store::f32,
                                    const Reach& reach = {}) {
  TraceOptions options;
  options.store = store;
  write_trace(path, model, tokens, options, reach, 1);
  return Trace::open(path);
}

class Recorder final : public Observer {
 public:
  bool wants(Point p, int) override { return p == Point::rot_q || p == Point::rot_k || p == Point::z; }
  void see(const Event& event) override {
    auto& places = event.point == Point::rot_q ? q : event.point == Point::rot_k ? k : z;
    for (int64_t h = 0; h < event.values.shape[1]; ++h)
      for (int64_t i = 0; i < event.values.shape[0]; ++i)
        for (int64_t d = 0; d < event.values.shape[2]; ++d)
          places[{event.layer, static_cast<int>(h)}].push_back(event.values.at(i, h, d));
  }
  std::map<std::pair<int, int>, std::vector<double>> q, k, z;  // (layer, head) -> [N, D]
};

struct Dense {
  std::vector<double> p, entropy, lse;  // [N, N], [N], [N]
};

Dense dense(const Recorder& run, const ModelConfig& config, HeadId head, int64_t n) {
  const int64_t dim = config.head_dim;
  const auto& q = run.q.at({head.layer, head.head});
  const auto& k = run.k.at({head.layer, head.head / (config.heads / config.kv_heads)});
  Dense out{std::vector<double>(static_cast<size_t>(n * n)), {}, {}};
  for (int64_t i = 0; i < n; ++i) {
    std::vector<double> s;
    for (int64_t j = 0; j <= i; ++j) {
      double dot = 0;
      for (int64_t d = 0; d < dim; ++d)
        dot += q[static_cast<size_t>(i * dim + d)] * k[static_cast<size_t>(j * dim + d)];
      s.push_back(dot / std::sqrt(static_cast<double>(dim)));
    }
    double sum = 0, entropy = 0;
    for (const double x : s) sum += std::exp(x);
    for (int64_t j = 0; j <= i; ++j) {
      const double p = std::exp(s[static_cast<size_t>(j)]) / sum;
      out.p[static_cast<size_t>(i * n + j)] = p;
      entropy -= p * std::log(p);
    }
    out.entropy.push_back(entropy);
    out.lse.push_back(std::log(sum));
  }
  return out;
}

std::vector<size_t> top(const double* p, int64_t count, size_t keys) {
  std::vector<size_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t x, size_t y) { return p[x] > p[y]; });
  order.resize(std::min(order.size(), keys));
  std::sort(order.begin(), order.end());
  return order;
}

TEST(Diff, EveryNumberIsTheDenseOne) {
  const int64_t n = 150;  // over two bands and a rest
  const auto tokens = test::byte_tokens(n);
  const auto a = tiny(0), b = tiny(31);
  const ModelConfig& config = a->config();
  Recorder ra, rb;
  Session(a, {.threads = 1}).run(tokens, Logits::none, &ra);
  Session(b, {.threads = 1}).run(tokens, Logits::none, &rb);
  DiffOptions options;
  options.top = 5;
  options.threads = 2;
  const RunDiff found = diff(a, b, tokens, options);
  ASSERT_EQ(found.heads.size(), static_cast<size_t>(config.layers * config.heads));
  std::vector<double> rows(static_cast<size_t>(n));
  for (const HeadDiff& h : found.heads) {
    SCOPED_TRACE(std::to_string(h.head.layer) + "." + std::to_string(h.head.head));
    const Dense x = dense(ra, config, h.head, n), y = dense(rb, config, h.head, n);
    HeadDiff mean;
    double worst = 0;
    int64_t worst_row = 0;
    for (int64_t i = 1; i < n; ++i) {
      const double *p = x.p.data() + i * n, *q = y.p.data() + i * n;
      double js = 0;
      for (int64_t j = 0; j <= i; ++j) {
        mean.kl += p[j] * std::log(p[j] / q[j]) / (n - 1);
        js += (p[j] * std::log(2 * p[j] / (p[j] + q[j])) + q[j] * std::log(2 * q[j] / (p[j] + q[j]))) / 2;
      }
      mean.js += js / (n - 1);
      rows[static_cast<size_t>(i)] += js / static_cast<double>(found.heads.size());
      if (js > worst) worst = js, worst_row = i;
      const auto at = static_cast<size_t>(i);
      mean.lse_shift += (y.lse[at] - x.lse[at]) / (n - 1);
      mean.lse_change += std::abs(y.lse[at] - x.lse[at]) / (n - 1);
      mean.entropy_shift += (y.entropy[at] - x.entropy[at]) / (n - 1);
      mean.first_mass_shift += (q[0] - p[0]) / (n - 1);
      const auto s = top(p, i + 1, 5), t = top(q, i + 1, 5);
      std::vector<size_t> both;
      std::set_intersection(s.begin(), s.end(), t.begin(), t.end(), std::back_inserter(both));
      mean.top_overlap +=
          static_cast<double>(both.size()) / static_cast<double>(s.size() + t.size() - both.size()) / (n - 1);
      const auto &za = ra.z.at({h.head.layer, h.head.head}), &zb = rb.z.at({h.head.layer, h.head.head});
      double xy = 0, xx = 0, yy = 0;
      for (int64_t d = 0; d < config.head_dim; ++d) {
        const auto z = static_cast<size_t>(i * config.head_dim + d);
        xy += za[z] * zb[z], xx += za[z] * za[z], yy += zb[z] * zb[z];
      }
      mean.output_cosine += xy / std::sqrt(xx * yy) / (n - 1);
    }
    // Scores are f32 sums of D products of order 1: each is within 1e-5 of the dense one, and so is every mean.
    EXPECT_NEAR(h.kl, mean.kl, 2e-5);
    EXPECT_NEAR(h.js, mean.js, 2e-5);
    EXPECT_NEAR(h.lse_shift, mean.lse_shift, 2e-5);
    EXPECT_NEAR(h.lse_change, mean.lse_change, 2e-5);
    EXPECT_NEAR(h.entropy_shift, mean.entropy_shift, 2e-5);
    EXPECT_NEAR(h.first_mass_shift, mean.first_mass_shift, 2e-5);
    EXPECT_NEAR(h.top_overlap, mean.top_overlap, 2e-3);  // two keys of nearly equal weight may change places in a row
    EXPECT_NEAR(h.output_cosine, mean.output_cosine, 2e-5);
    EXPECT_NEAR(h.worst_js, worst, 2e-5);
    EXPECT_EQ(h.worst_row, worst_row);
  }
  EXPECT_GT(found.heads.front().js, 1e-3) << "the models must differ for this test to show anything";
  for (int64_t i = 0; i < n; ++i)
    EXPECT_NEAR(found.token_js[static_cast<size_t>(i)], rows[static_cast<size_t>(i)], 2e-5) << i;
}

// Value-weighted: of the dense weights times what the keys carry in either run, each row divided by its sum.
TEST(Diff, ValueWeightedIsOfTheRowsShares) {
  const test::Folder folder;
  const int64_t n = 150;
  const auto tokens = test::byte_tokens(n);
  const std::shared_ptr<const Model> models[] = {tiny(0), tiny(31)};
  Recorder runs[2];
  std::shared_ptr<const Trace> traces[2];
  for (int i = 0; i < 2; ++i) {
    Session(models[i], {.threads = 1}).run(tokens, Logits::none, &runs[i]);
    TraceOptions how{.store = Store::f32};
    how.measures.values = true;
    const std::string path = folder / std::to_string(i);
    write_trace(path, models[i], tokens, how, {}, 1);
    traces[i] = Trace::open(path);
  }
  const RunDiff found = diff(*traces[0], *traces[1], {.value_weighted = true}), plain = diff(*traces[0], *traces[1]);
  double apart = 0;
  for (size_t at = 0; at < found.heads.size(); ++at) {
    const HeadDiff& h = found.heads[at];
    std::vector<double> shares[2];
    for (int r = 0; r < 2; ++r) {
      shares[r] = dense(runs[r], models[r]->config(), h.head, n).p;
      const auto carried = traces[r]->carried(h.head);
      for (int64_t i = 0; i < n; ++i) {
        double all = 0;
        for (int64_t j = 0; j <= i; ++j)
          all += shares[r][static_cast<size_t>(i * n + j)] *= static_cast<double>(carried[static_cast<size_t>(j)]);
        for (int64_t j = 0; j <= i; ++j) shares[r][static_cast<size_t>(i * n + j)] /= all;
      }
    }
    double kl = 0, js = 0, first = 0, entropy = 0;
    for (int64_t i = 1; i < n; ++i) {
      const double *p = shares[0].data() + i * n, *q = shares[1].data() + i * n;
      for (int64_t j = 0; j <= i; ++j) {
        kl += p[j] * std::log(p[j] / q[j]) / (n - 1);
        js += (p[j] * std::log(2 * p[j] / (p[j] + q[j])) + q[j] * std::log(2 * q[j] / (p[j] + q[j]))) / 2 / (n - 1);
        entropy += (p[j] * std::log(p[j]) - q[j] * std::log(q[j])) / (n - 1);
      }
      first += (q[0] - p[0]) / (n - 1);
    }
    EXPECT_NEAR(h.kl, kl, 2e-5);
    EXPECT_NEAR(h.js, js, 2e-5);
    EXPECT_NEAR(h.entropy_shift, entropy, 2e-5);
    EXPECT_NEAR(h.first_mass_shift, first, 2e-5);
    EXPECT_EQ(h.lse_shift, plain.heads[at].lse_shift) << "of the runs themselves";
    apart = std::max(apart, std::abs(h.js - plain.heads[at].js));
  }
  EXPECT_GT(apart, 1e-4) << "keys that carry alike test nothing";
  const RunDiff of_models = diff(models[0], models[1], tokens, {.value_weighted = true});
  for (size_t at = 0; at < found.heads.size(); ++at) EXPECT_NEAR(of_models.heads[at].js, found.heads[at].js, 1e-6);
  const auto none = traced(folder / "none", models[0], tokens);
  EXPECT_THROW(diff(*none, *none, {.value_weighted = true}), InputError);
}

TEST(Diff, ARunIsItself) {
  const test::Folder folder;
  const auto tokens = test::byte_tokens(600);
  const auto a = traced(folder / "a", tiny(0), tokens), b = traced(folder / "b", tiny(0), tokens);
  for (const HeadDiff& h : diff(*a, *b).heads) {
    EXPECT_EQ(h.kl, 0);
    EXPECT_NEAR(h.js, 0, 1e-15);
    EXPECT_EQ(h.lse_change, 0);
    EXPECT_EQ(h.entropy_shift, 0);
    EXPECT_EQ(h.top_overlap, 1);
    EXPECT_TRUE(std::isnan(h.output_cosine)) << "a trace does not keep outputs";
  }
}

TEST(Diff, SymmetryAndBoundsAndTheSameBitsForAnyThreads) {
  const test::Folder folder;
  const auto tokens = test::byte_tokens(530);
  const auto a = traced(folder / "a", tiny(0), tokens), b = traced(folder / "b", tiny(9), tokens, Store::f16);
  const RunDiff there = diff(*a, *b, {.top = 3, .threads = 1}), back = diff(*b, *a, {.top = 3, .threads = 3});
  const RunDiff again = diff(*a, *b, {.top = 3, .threads = 3});
  for (size_t i = 0; i < there.heads.size(); ++i) {
    const HeadDiff &x = there.heads[i], &y = back.heads[i];
    EXPECT_NEAR(x.js, y.js, 1e-12);
    EXPECT_EQ(x.entropy_shift, -y.entropy_shift);
    EXPECT_EQ(x.top_overlap, y.top_overlap);
    EXPECT_GE(x.kl, 0);
    EXPECT_LE(x.worst_js, std::log(2.0));
    EXPECT_GE(x.kl, x.js / 2) << "JS is at most half of both divergences to the mean";
    EXPECT_EQ(x.js, again.heads[i].js);
    EXPECT_EQ(x.kl, again.heads[i].kl);
  }
  EXPECT_EQ(there.token_js, again.token_js);
}

TEST(Diff, AKeyThatOneCannotSeeIsInfinitelyFar) {
  const test::Folder folder;
  const auto tokens = test::byte_tokens(100);
  Reach window;
  window.window = 10;
  const auto a = traced(folder / "a", tiny(0), tokens), b = traced(folder / "b", tiny(0), tokens, Store::f32, window);
  EXPECT_EQ(diff(*a, *b).heads.front().kl, HUGE_VAL);
  EXPECT_TRUE(std::isfinite(diff(*b, *a).heads.front().kl));
  EXPECT_TRUE(std::isfinite(diff(*a, *b).heads.front().js));
}

TEST(Diff, RefusesByName) {
  const test::Folder folder;
  auto tokens = test::byte_tokens(40);
  const auto a = traced(folder / "first", tiny(0), tokens);
  const auto message = [&](const Trace& b) {
    try {
      diff(*a, b);
      return std::string("not refused");
    } catch (const InputError& error) {
      return std::string(error.what());
    }
  };
  tokens[17] = 5;
  const std::string other = message(*traced(folder / "second", tiny(0), tokens));
  EXPECT_NE(other.find("token 17 is"), std::string::npos) << other;
  EXPECT_NE(other.find("second"), std::string::npos) << other;
  tokens = test::byte_tokens(39);
  const std::string shorter = message(*traced(folder / "third", tiny(0), tokens));
  EXPECT_NE(shorter.find("token 39"), std::string::npos) << shorter;
  EXPECT_NE(shorter.find("is not there in the second"), std::string::npos) << shorter;
  EXPECT_THROW(diff(*a, *a, {.top = 0, .threads = 1}), std::invalid_argument);
  EXPECT_THROW(diff(*a, *a, {}, [](int64_t, int64_t) { return false; }), Cancelled);
}

}  // namespace
}  // namespace bareattn
