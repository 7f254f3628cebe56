// Attention computed in bf16 (Compute::bf16): one answer bit for bit on every table, for any number of threads and any
// split of the rows; within its bound of f64; the weights that weights() gives are those of the pass; masked keys never
// show. The pair dot itself is held to the hardware by dispatch: the hardware's table is compared with its scalar twin.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "bareattn/attention.h"
#include "bareattn/attention_cache.h"
#include "bareattn/weights.h"
#include "base/aligned.h"
#include "kernels/bf16.h"
#include "kernels/kernels.h"

namespace bareattn {
namespace {

struct Problem {
  int64_t heads, kv_heads, rows, keys, dim, value_dim;
  std::vector<float> q, k, v;  // [Hq, Sq, D], [Hkv, Sk, D], [Hkv, Sk, Dv]

  Problem(std::array<int64_t, 6> s, unsigned seed)
      : heads(s[0]), kv_heads(s[1]), rows(s[2]), keys(s[3]), dim(s[4]), value_dim(s[5]) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (auto [to, n] :
         {std::pair{&q, heads * rows * dim}, {&k, kv_heads * keys * dim}, {&v, kv_heads * keys * value_dim}})
      for (int64_t i = 0; i < n; ++i) to->push_back(normal(random));
  }
  std::vector<float> run(AttentionParams params, int64_t first = 0, int64_t count = -1) const {
    if (count < 0) count = rows;
    std::vector<float> o(static_cast<size_t>(heads * count * value_dim));
    params.compute = Compute::bf16;
    params.is_causal = true;
    params.offset = keys - rows + first;
    attention(TensorView<const float>(q.data() + first * dim, {1, heads, count, dim}, {0, rows * dim, dim, 1}),
              TensorView<const float>(k.data(), {1, kv_heads, keys, dim}),
              TensorView<const float>(v.data(), {1, kv_heads, keys, value_dim}),
              TensorView<float>(o.data(), {1, heads, count, value_dim}), params);
    return o;
  }
};

const std::array<int64_t, 6> shapes[] = {{1, 1, 1, 1, 1, 1},      {2, 1, 5, 17, 3, 7},     {9, 3, 70, 70, 64, 64},
                                         {4, 4, 33, 600, 80, 96}, {3, 1, 1, 1100, 64, 64}, {6, 2, 130, 1040, 128, 128},
                                         {2, 2, 20, 40, 65, 130}, {8, 1, 3, 2100, 64, 64}};

TEST(AttentionBf16, KernelsEqualTheirTwin) {
  const kernels::KernelTable* all[8];
  const int count = kernels::tables(all, 8);
  std::mt19937 random(7);
  int compared = 0;
  for (int round = 0; round < 400; ++round) {
    const int rows = 1 + static_cast<int>(random() % 6), columns = 1 + static_cast<int>(random() % 192);
    const int64_t dims = 2 * (1 + random() % 40), keys = 2 * (1 + random() % 60), dv = 1 + random() % 150;
    const int64_t ldv = (dv + 15) / 16 * 16;
    // Any bits but infinities and NaN: denormals too.
    const auto bits = [&](size_t n) {
      std::vector<uint16_t> to(n);
      for (uint16_t& x : to) {
        x = static_cast<uint16_t>(random());
        if ((x & 0x7F80) >= 0x6000) x = static_cast<uint16_t>((x & 0x807F) | ((100 + random() % 40) << 7));
      }
      return to;
    };
    const auto q = bits(static_cast<size_t>(rows * dims)), p = bits(static_cast<size_t>(rows * keys));
    base::AlignedBuffer panel(static_cast<size_t>(dims * 192 * 2)), v(static_cast<size_t>(keys * ldv * 2));
    std::memcpy(panel.as<uint16_t>(), bits(static_cast<size_t>(dims * 192)).data(), panel.bytes());
    std::memcpy(v.as<uint16_t>(), bits(static_cast<size_t>(keys * ldv)).data(), v.bytes());
    std::vector<float> s(static_cast<size_t>(rows * 192), 0.5F), o(static_cast<size_t>(rows * ldv));
    const bool go_on = random() % 2 != 0, scaled = random() % 2 != 0;
    float scale[kernels::tile_rows];
    for (float& x : scale) x = static_cast<float>(random() % 1000) / 777.0F;
    const auto& twin = kernels::reference_table();
    std::vector<float> s0 = s, o0 = o;
    twin.score_tile_bf16(q.data(), dims, rows, dims, panel.as<uint16_t>(), columns, s0.data(), 192, go_on,
                         scaled ? scale : nullptr);
    twin.blend_bf16({p.data(), keys, rows, keys, v.as<uint16_t>(), ldv, dv, o0.data(), ldv});
    for (int t = 0; t < count; ++t) {
      std::vector<float> s1 = s, o1 = o;
      all[t]->score_tile_bf16(q.data(), dims, rows, dims, panel.as<uint16_t>(), columns, s1.data(), 192, go_on,
                              scaled ? scale : nullptr);
      all[t]->blend_bf16({p.data(), keys, rows, keys, v.as<uint16_t>(), ldv, dv, o1.data(), ldv});
      for (int r = 0; r < rows; ++r) {
        ASSERT_EQ(0, std::memcmp(s0.data() + r * 192, s1.data() + r * 192, static_cast<size_t>(columns) * 4))
            << all[t]->name;
        ASSERT_EQ(0, std::memcmp(o0.data() + r * ldv, o1.data() + r * ldv, static_cast<size_t>(dv) * 4))
            << all[t]->name;
      }
      ++compared;
    }
  }
  EXPECT_EQ(compared, 400 * count);
}

TEST(AttentionBf16, OneAnswerForThreadsAndSplits) {
  for (const auto& shape : shapes) {
    const Problem problem(shape, 3);
    AttentionParams one;
    one.threads = 1;
    const auto whole = problem.run(one);
    for (const int threads : {2, 3}) {
      AttentionParams more;
      more.threads = threads;
      ASSERT_EQ(whole, problem.run(more)) << "threads " << threads;
    }
    for (const int64_t chunk : {int64_t{1}, int64_t{7}, int64_t{64}})
      for (int64_t first = 0; first < problem.rows; first += chunk) {
        const int64_t count = std::min(chunk, problem.rows - first);
        const auto part = problem.run(one, first, count);
        for (int64_t h = 0; h < problem.heads; ++h)
          ASSERT_EQ(0, std::memcmp(part.data() + h * count * problem.value_dim,
                                   whole.data() + (h * problem.rows + first) * problem.value_dim,
                                   static_cast<size_t>(count * problem.value_dim) * 4))
              << "chunk " << chunk << " row " << first << " head " << h;
      }
  }
}

TEST(AttentionBf16, WithinItsBoundOfTheRoundedInputs) {
  for (const auto& shape : shapes) {
    Problem problem(shape, 5);
    const auto o = problem.run({});
    for (auto* values : {&problem.q, &problem.k, &problem.v})
      for (float& x : *values) x = kernels::f32_from_bf16(kernels::bf16_from_f32(x));
    std::vector<float> exact(o.size()), size(o.size());
    AttentionParams params;
    params.is_causal = true;
    params.offset = problem.keys - problem.rows;
    const TensorView<const float> q(problem.q.data(), {1, problem.heads, problem.rows, problem.dim});
    const TensorView<const float> k(problem.k.data(), {1, problem.kv_heads, problem.keys, problem.dim});
    const auto reference = [&](const std::vector<float>& v, std::vector<float>& to) {
      reference_attention(q, k,
                          TensorView<const float>(v.data(), {1, problem.kv_heads, problem.keys, problem.value_dim}),
                          TensorView<float>(to.data(), {1, problem.heads, problem.rows, problem.value_dim}), params);
    };
    reference(problem.v, exact);
    for (float& x : problem.v) x = std::fabs(x);
    reference(problem.v, size);
    for (size_t i = 0; i < o.size(); ++i) ASSERT_LE(std::fabs(o[i] - exact[i]), size[i] / 256) << i;
  }
}

TEST(AttentionBf16, WeightsAreThoseOfThePass) {
  const Problem problem({4, 2, 30, 700, 64, 64}, 9);
  std::vector<int64_t> rows(30);
  for (int64_t i = 0; i < 30; ++i) rows[static_cast<size_t>(i)] = i;
  std::vector<float> full(4 * 30 * 700), asked(4 * 30 * 200);
  AttentionParams params;
  params.returns.full_rows = rows;
  params.returns.full_weights = full.data();
  problem.run(params);
  AttentionParams plain;
  plain.compute = Compute::bf16;
  plain.is_causal = true;
  plain.offset = 670;
  Rectangle rectangle;
  rectangle.key_begin = 450;
  rectangle.key_end = 650;
  weights(TensorView<const float>(problem.q.data(), {1, 4, 30, 64}),
          TensorView<const float>(problem.k.data(), {1, 2, 700, 64}), TensorView<float>(asked.data(), {1, 4, 30, 200}),
          rectangle, plain);
  for (int64_t line = 0; line < 4 * 30; ++line)
    ASSERT_EQ(0, std::memcmp(full.data() + line * 700 + 450, asked.data() + line * 200, 200 * 4)) << line;
}

TEST(AttentionBf16, WhatIsNotSeenNeverShows) {
  Problem problem({2, 1, 40, 40, 64, 64}, 11);
  const auto clean = problem.run({});
  for (int64_t key : {39, 38})  // seen by the last two rows only
    for (int64_t d = 0; d < 64; ++d) problem.v[static_cast<size_t>(key * 64 + d)] = NAN;
  const auto spoiled = problem.run({});
  for (int64_t h = 0; h < 2; ++h)
    for (int64_t row = 0; row < 40; ++row)
      for (int64_t d = 0; d < 64; ++d) {
        const auto at = static_cast<size_t>((h * 40 + row) * 64 + d);
        if (row < 38)
          ASSERT_EQ(0, std::memcmp(&clean[at], &spoiled[at], 4)) << row;
        else
          ASSERT_TRUE(std::isnan(spoiled[at])) << row;
      }
}

TEST(AttentionBf16, CacheOfTheSameKind) {
  const Problem problem({4, 2, 9, 900, 64, 64}, 13);
  const auto whole = problem.run({});
  AttentionCache cache(1, 2, 64, 64, Compute::bf16), other(1, 2, 64, 64);
  for (AttentionCache* c : {&cache, &other})
    c->append(TensorView<const float>(problem.k.data(), {1, 2, 900, 64}),
              TensorView<const float>(problem.v.data(), {1, 2, 900, 64}));
  EXPECT_EQ(2 * cache.bytes(), other.bytes());
  std::vector<float> o(whole.size());
  AttentionParams params;
  params.is_causal = true;
  params.causal_align = CausalAlign::bottom_right;
  params.compute = Compute::bf16;
  const TensorView<const float> q(problem.q.data(), {1, 4, 9, 64});
  const TensorView<float> to(o.data(), {1, 4, 9, 64});
  attention(q, cache, to, params);
  EXPECT_EQ(whole, o);
  EXPECT_THROW(attention(q, other, to, params), std::invalid_argument);
}

}  // namespace
}  // namespace bareattn
