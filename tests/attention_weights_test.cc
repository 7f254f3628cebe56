// weights() against the pass itself, bit for bit; top keys and full rows; merging of partial results; caches; and that
// every argument that does not fit is refused by name.
#include <rapidcheck.h>

#include "attention_support.h"

namespace bareattn::testing {
namespace {

int between(int low, int high) { return *rc::gen::inRange(low, high + 1); }

Problem some_problem(unsigned seed) {
  Problem p({2, 4, 2, 30, 1300, 16, 16}, seed);
  p.params.is_causal = seed % 2 == 0;
  p.params.offset = 1200;
  if (seed % 3 == 0) p.params.softcap = 4;
  if (seed % 3 == 1) p.sinks = {1, 2, -1, 0};
  if (seed % 4 == 1) p.params.left_window = 700;
  if (seed % 5 == 2) p.slopes = {0.1F, 0.01F, 0.2F, 0.003F};
  if (seed % 4 == 3) {
    p.seen = Array<uint8_t>(1, 1, 30, 1300);
    std::mt19937 random(seed);
    for (uint8_t& x : p.seen.data) x = random() % 3 != 0;
  }
  return p;
}

TEST(AttentionWeights, AreThoseOfThePass) {
  for (unsigned seed = 1; seed <= 12; ++seed) {
    const Problem p = some_problem(seed);
    Collected seen(p);
    std::vector<int64_t> rows(30);
    for (int64_t i = 0; i < 30; ++i) rows[static_cast<size_t>(i)] = i;
    Array<float> pass(2, 4, 30, 1300, -7.0F), again(2, 4, 30, 1300, -7.0F);
    AttentionParams params = p.full_params();
    params.returns.statistics = seen.list;
    params.returns.full_rows = rows;
    params.returns.full_weights = pass.data.data();
    const std::vector<float> o = p.run(params);
    EXPECT_TRUE(same_bits(o, p.run()));
    weights(p.q.view(), p.k.view(), again.view(), {}, p.full_params());
    EXPECT_TRUE(same_bits(pass.data, again.data)) << "seed " << seed;
    // Rectangles, with and without the row's state.
    for (int i = 0; i < 6; ++i) {
      const int64_t a = i * 4, b = a + 1 + i, c = i * 190, d = std::min<int64_t>(1300, c + 1 + i * 77);
      Array<float> part(2, 4, b - a, d - c, -7.0F), given = part;
      std::vector<float> max, sum;
      for (int64_t line = 0; line < 8; ++line)
        for (int64_t r = a; r < b; ++r) {
          max.push_back(seen.max_logit[static_cast<size_t>(line * 30 + r)]);
          sum.push_back(seen.row_sum[static_cast<size_t>(line * 30 + r)]);
        }
      weights(p.q.view(), p.k.view(), part.view(), {a, b, c, d, ScoreStage::weight, nullptr, nullptr}, p.full_params());
      weights(p.q.view(), p.k.view(), given.view(), {a, b, c, d, ScoreStage::weight, max.data(), sum.data()},
              p.full_params());
      EXPECT_TRUE(same_bits(part.data, given.data)) << "seed " << seed << ", rectangle " << i;
      for (int64_t line = 0; line < 8; ++line)
        for (int64_t r = a; r < b; ++r)
          EXPECT_EQ(std::memcmp(&part.at(line / 4, line % 4, r - a, 0), &pass.at(line / 4, line % 4, r, c),
                                static_cast<size_t>(d - c) * 4),
                    0);
    }
    // Column sums are the sums of these weights, each rounded to 2^-27.
    for (int64_t line = 0; line < 8; ++line)
      for (int64_t j = 0; j < 1300; ++j) {
        uint64_t sum = 0;
        for (int64_t r = 0; r < 30; ++r)
          sum +=
              static_cast<uint64_t>(std::nearbyint(static_cast<double>(pass.at(line / 4, line % 4, r, j)) * (1 << 27)));
        EXPECT_NEAR(static_cast<double>(sum), static_cast<double>(seen.received[static_cast<size_t>(line * 1300 + j)]),
                    30)
            << line << " " << j;
      }
  }
}

TEST(AttentionWeights, TopKeys) {
  for (unsigned seed = 1; seed <= 12; ++seed) {
    const Problem p = some_problem(seed);
    const int k = 5;
    std::vector<int32_t> keys(2 * 4 * 30 * k);
    std::vector<float> top(keys.size());
    AttentionParams params = p.full_params();
    params.returns.top_k = k;
    params.returns.top_keys = keys.data();
    params.returns.top_weights = top.data();
    EXPECT_TRUE(same_bits(p.run(), p.run(params)));
    Array<float> w(2, 4, 30, 1300);
    weights(p.q.view(), p.k.view(), w.view(), {}, p.full_params());
    for (int64_t line = 0; line < 240; ++line) {
      const float* row = w.data.data() + line * 1300;
      std::vector<int32_t> order(1300);
      for (int32_t j = 0; j < 1300; ++j) order[static_cast<size_t>(j)] = j;
      std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return row[a] > row[b]; });
      for (int i = 0; i < k; ++i) {
        EXPECT_EQ(keys[static_cast<size_t>(line * k + i)], order[static_cast<size_t>(i)]);
        EXPECT_EQ(top[static_cast<size_t>(line * k + i)], row[order[static_cast<size_t>(i)]]);
      }
    }
  }
}

TEST(AttentionWeights, Stages) {
  Problem p({1, 2, 1, 6, 600, 8, 8}, 3);
  p.params.softcap = 1.5F;
  p.params.is_causal = true;
  p.params.offset = 300;
  Array<float> product(1, 2, 6, 600), capped = product, biased = product;
  weights(p.q.view(), p.k.view(), product.view(), {0, -1, 0, -1, ScoreStage::product, nullptr, nullptr},
          p.full_params());
  weights(p.q.view(), p.k.view(), capped.view(), {0, -1, 0, -1, ScoreStage::capped, nullptr, nullptr}, p.full_params());
  weights(p.q.view(), p.k.view(), biased.view(), {0, -1, 0, -1, ScoreStage::biased, nullptr, nullptr}, p.full_params());
  for (int64_t h = 0; h < 2; ++h)
    for (int64_t i = 0; i < 6; ++i)
      for (int64_t j = 0; j < 600; ++j) {
        double dot = 0;
        for (int64_t d = 0; d < 8; ++d)
          dot += static_cast<double>(p.q.at(0, h, i, d)) * p.k.at(0, 0, j, d) / std::sqrt(8.0);
        EXPECT_NEAR(product.at(0, h, i, j), dot, 1e-5);
        EXPECT_NEAR(capped.at(0, h, i, j), 1.5 * std::tanh(dot / 1.5), 1e-5);
        EXPECT_EQ(biased.at(0, h, i, j), j <= 300 + i ? capped.at(0, h, i, j) : -infinity);
      }
}

// Key cut into parts at any place, each attended alone, merged in any order: within the bound of the whole. This is
// what a ring of P machines does (B39), an empty part included.
TEST(AttentionWeights, B39MergeOfParts) {
  EXPECT_TRUE(rc::check("parts merge to the whole", [] {
    const Problem p({1, 2, 1, 5, between(1, 900), 8, 8}, *rc::gen::arbitrary<unsigned>());
    const int64_t keys = p.k.shape[2], parts = between(1, 16);
    std::vector<int64_t> cuts = {0, keys};
    for (int64_t i = 1; i < parts; ++i) cuts.push_back(between(0, static_cast<int>(keys)));
    std::sort(cuts.begin(), cuts.end());
    std::vector<size_t> order(cuts.size() - 1);
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), std::mt19937(*rc::gen::arbitrary<unsigned>()));
    std::vector<float> o(10 * 8, 0.0F), lse(10, -infinity);
    for (size_t i : order) {
      Problem part = p;
      const int64_t n = cuts[i + 1] - cuts[i];
      part.k.shape[2] = part.v.shape[2] = n;
      part.k.data.assign(p.k.data.begin() + cuts[i] * 8, p.k.data.begin() + cuts[i + 1] * 8);
      part.v.data.assign(p.v.data.begin() + cuts[i] * 8, p.v.data.begin() + cuts[i + 1] * 8);
      Collected seen(part);
      AttentionParams params = part.full_params();
      params.returns.statistics = seen.list;
      const std::vector<float> one = part.run(params);
      merge_partial({o.data(), {10, 8}}, {lse.data(), {10}}, {one.data(), {10, 8}}, {seen.lse.data(), {10}});
    }
    const std::vector<double> exact = p.exact(), unit = scale_of_error(p);
    const double c = attention_error_factor(8, keys, largest_score(p)) + 40.0 * static_cast<double>(parts);
    for (size_t i = 0; i < o.size(); ++i) RC_ASSERT(std::fabs(o[i] - exact[i]) <= c * eps * unit[i] + 1e-37);
  }));
}

TEST(AttentionWeights, VariableLength) {
  const std::vector<int64_t> q_bounds = {0, 3, 3, 60, 61}, k_bounds = {0, 600, 610, 611, 611};
  Problem p({1, 4, 2, 61, 611, 8, 12}, 5);
  p.params.cu_seqlens_q = q_bounds;
  p.params.cu_seqlens_k = k_bounds;
  p.params.is_causal = true;
  p.params.causal_align = CausalAlign::bottom_right;
  Collected seen(p);
  AttentionParams params = p.full_params();
  params.returns.statistics = seen.list;
  const std::vector<float> o = p.run(params);
  for (size_t s = 0; s + 1 < q_bounds.size(); ++s) {
    const int64_t a = q_bounds[s], b = q_bounds[s + 1], c = k_bounds[s], d = k_bounds[s + 1];
    const auto part = [](auto view, int64_t from, int64_t to) {
      view.data += from * view.stride[2];
      view.shape[2] = to - from;
      return view;
    };
    AttentionParams alone;
    alone.is_causal = true;
    alone.causal_align = CausalAlign::bottom_right;
    Array<float> one = p.output();
    attention(part(p.q.view(), a, b), part(p.k.view(), c, d), part(p.v.view(), c, d), part(one.view(), a, b), alone);
    for (int64_t h = 0; h < 4; ++h)
      for (int64_t i = a; i < b; ++i)
        for (int64_t e = 0; e < 12; ++e)
          EXPECT_EQ(one.at(0, h, i, e), o[static_cast<size_t>((h * 61 + i) * 12 + e)]) << s;
  }
}

TEST(AttentionArguments, AreRefusedByName) {
  const auto refused = [](const char* word, const std::function<void(Problem&)>& change) {
    Problem p({2, 4, 2, 5, 7, 8, 6}, 1);
    change(p);
    try {
      p.run();
      ADD_FAILURE() << "taken although " << word << " does not fit";
    } catch (const std::invalid_argument& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find(word), std::string::npos) << text;
      EXPECT_NE(text.find("given"), std::string::npos) << text;
      EXPECT_NE(text.find("needed"), std::string::npos) << text;
    }
  };
  static const std::vector<int64_t> three = {1, 2, 3}, long_one = {8, 1}, bounds = {0, 5};
  static const std::vector<float> two = {1, 2};
  refused("batch", [](Problem& p) { p.k.shape[0] = 1; });
  refused("head dim", [](Problem& p) { p.k.shape[3] = 7; });
  refused("length", [](Problem& p) { p.v.shape[2] = 6; });
  refused("key-value heads", [](Problem& p) {
    p.k.shape[1] = p.v.shape[1] = 3;
    p.k.data.resize(1000);
    p.v.data.resize(1000);
  });
  refused("left_window", [](Problem& p) { p.params.left_window = -2; });
  refused("right_window", [](Problem& p) { p.params.right_window = -2; });
  refused("softcap", [](Problem& p) { p.params.softcap = -1; });
  refused("softcap", [](Problem& p) { p.params.softcap = nan; });
  refused("threads", [](Problem& p) { p.params.threads = -1; });
  refused("offset", [](Problem& p) { p.params.offset = int64_t{1} << 50; });
  refused("alibi_slopes", [](Problem& p) { p.slopes = two; });
  refused("sinks", [](Problem& p) { p.sinks = two; });
  refused("kv_lengths", [](Problem& p) { p.params.kv_lengths = three; });
  refused("kv_lengths", [](Problem& p) { p.params.kv_lengths = long_one; });
  refused("batch", [](Problem& p) { p.params.cu_seqlens_q = p.params.cu_seqlens_k = bounds; });
  refused("attn_mask", [](Problem& p) { p.additive = Array<float>(1, 3, 5, 7); });
  refused("attn_mask", [](Problem& p) { p.additive = Array<float>(1, 1, 5, 8); });
  refused("top_k", [](Problem& p) { p.params.returns.top_k = -1; });
  refused("full_rows", [](Problem& p) { p.params.returns.full_rows = long_one; });
}

TEST(AttentionArguments, CachesAreRefusedByName) {
  AttentionCache cache(1, 2, 8, 8);
  Problem p({1, 4, 2, 5, 7, 8, 8}, 1);
  const auto refused = [](const char* word, const std::function<void()>& call) {
    try {
      call();
      ADD_FAILURE() << "taken although " << word << " does not fit";
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  };
  const std::vector<int64_t> nine = {9}, seven = {7};
  Array<float> other(1, 2, 7, 9), wrong(1, 3, 7, 8), o = p.output();
  refused("dim", [&] { cache.append(other.view(), p.v.view()); });
  refused("heads", [&] { cache.append(wrong.view(), p.v.view()); });
  refused("counts", [&] { cache.append(p.k.view(), p.v.view(), nine); });
  cache.append(p.k.view(), p.v.view());
  refused("length", [&] { cache.truncate(0, 8); });
  refused("batch", [&] { attention(Array<float>(2, 4, 5, 8).view(), cache, Array<float>(2, 4, 5, 8).view()); });
  const std::vector<int32_t> table = {0, 5};
  const PagedKeyValues pages{p.k.view(), p.v.view(), {table.data(), {1, 1}}, nine};
  refused("pages.lengths", [&] { attention(p.q.view(), pages, o.view()); });
  const std::vector<int32_t> far = {3};
  const PagedKeyValues missing{p.k.view(), p.v.view(), {far.data(), {1, 1}}, seven};
  refused("pages.table", [&] { attention(p.q.view(), missing, o.view()); });
  // Truncated and grown again: as if it had never been longer.
  attention(p.q.view(), cache, o.view());
  const std::vector<float> before = o.data;
  Problem more({1, 4, 2, 5, 600, 8, 8}, 2);
  cache.append(more.k.view(), more.v.view());
  cache.truncate(0, 7);
  attention(p.q.view(), cache, o.view());
  EXPECT_TRUE(same_bits(before, o.data));
}

}  // namespace
}  // namespace bareattn::testing
