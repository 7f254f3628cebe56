// What finished rows give to the keys and to the pooled map: held to the very weights that the same pass hands to a
// visitor, added up in the slowest way. Equal to the last bit, for every block of the map, chunk and number of threads.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "attention/run.h"
#include "attention_support.h"
#include "base/thread_pool.h"

namespace bareattn::attend {
namespace {

constexpr int64_t heads = 4, kv_heads = 2, dim = 24;

class AllRows final : public RowVisitor {  // [heads, tokens, tokens]
 public:
  explicit AllRows(int64_t tokens) : tokens_(tokens), weights(static_cast<size_t>(heads * tokens * tokens)) {}
  bool wants(int64_t, int64_t) const override { return true; }
  void see(int64_t head, int64_t row, int64_t first_key, std::span<const float> seen) override {
    std::copy(seen.begin(), seen.end(), weights.begin() + (head * tokens_ + first_row + row) * tokens_ + first_key);
  }
  int64_t first_row = 0;

 private:
  int64_t tokens_;

 public:
  std::vector<float> weights;
};

struct Seen {
  std::vector<uint64_t> received, pool_sum;
  std::vector<float> pool_max;
  bool operator==(const Seen&) const = default;
};

struct Case {
  int64_t tokens, pool_block, chunk;
  int threads;
  Window window = {};
  int64_t poisoned = -1;  // a key that is no number
};

int64_t cells_of(const Case& c) {
  const int64_t blocks = (c.tokens + c.pool_block - 1) / c.pool_block;
  return blocks * (blocks + 1) / 2;
}

Seen added_up(const Case& c, const std::vector<float>& weights) {
  Seen out{std::vector<uint64_t>(static_cast<size_t>(heads * c.tokens)),
           std::vector<uint64_t>(static_cast<size_t>(heads * cells_of(c))),
           std::vector<float>(static_cast<size_t>(heads * cells_of(c)))};
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t i = 0; i < c.tokens; ++i) {
      const float* row = &weights[static_cast<size_t>((h * c.tokens + i) * c.tokens)];
      if (std::any_of(row, row + c.tokens, [](float w) { return std::isnan(w); })) continue;
      for (int64_t j = 0; j <= i; ++j) {
        const auto fixed = static_cast<uint64_t>(std::llrint(std::ldexp(static_cast<double>(row[j]), 27)));
        out.received[static_cast<size_t>(h * c.tokens + j)] += fixed;
        const int64_t r = i / c.pool_block;
        const auto cell = static_cast<size_t>(h * cells_of(c) + r * (r + 1) / 2 + j / c.pool_block);
        out.pool_sum[cell] += fixed;
        out.pool_max[cell] = std::max(out.pool_max[cell], row[j]);
      }
    }
  return out;
}

void check(const Case& c) {
  SCOPED_TRACE(std::to_string(c.tokens) + " tokens, blocks of " + std::to_string(c.pool_block) + ", chunks of " +
               std::to_string(c.chunk) + ", " + std::to_string(c.threads) + " threads");
  std::mt19937 random(static_cast<unsigned>(c.tokens + c.pool_block));
  const auto values = [&](int64_t n) {
    std::normal_distribution<float> normal(0, 1.5F);
    std::vector<float> out(static_cast<size_t>(n));
    for (float& x : out) x = normal(random);
    return out;
  };
  const auto q = values(c.tokens * heads * dim), v = values(c.tokens * kv_heads * dim);
  auto k = values(c.tokens * kv_heads * dim);
  if (c.poisoned >= 0) k[static_cast<size_t>(c.poisoned * kv_heads * dim)] = std::nanf("");  // of key-value head 0
  std::vector<float> o(q.size());
  KvCache cache(kv_heads, dim, dim);
  cache.resize(c.tokens);
  for (int64_t h = 0; h < kv_heads; ++h)
    cache.write(h, 0, {k.data() + h * dim, {c.tokens, dim}, {kv_heads * dim, 1}},
                {v.data() + h * dim, {c.tokens, dim}, {kv_heads * dim, 1}});
  Seen seen{std::vector<uint64_t>(static_cast<size_t>(heads * c.tokens)),
            std::vector<uint64_t>(static_cast<size_t>(heads * cells_of(c))),
            std::vector<float>(static_cast<size_t>(heads * cells_of(c)))};
  AllRows rows(c.tokens);
  base::ThreadPool pool(c.threads);
  for (int64_t first = 0; first < c.tokens; first += c.chunk) {
    const int64_t count = std::min(c.chunk, c.tokens - first);
    AttentionStatistics statistics;
    statistics.key_stride = c.tokens;
    statistics.received = seen.received.data();
    statistics.pool_block = static_cast<int>(c.pool_block);
    statistics.pool_stride = cells_of(c);
    statistics.pool_sum = seen.pool_sum.data();
    statistics.pool_max = seen.pool_max.data();
    rows.first_row = first;
    Sequence sequence;
    sequence.q = {q.data() + first * heads * dim, {count, heads, dim}};
    sequence.o = {o.data() + first * heads * dim, {count, heads, dim}};
    sequence.cache = &cache;
    sequence.first_row = first;
    sequence.scale = 0.2F;
    sequence.window = c.window;
    sequence.statistics = &statistics;
    sequence.visitor = &rows;
    run(sequence, pool);
  }
  EXPECT_TRUE(added_up(c, rows.weights) == seen);
}

TEST(AttentionPool, EveryBlockOfTheMap) {
  for (const int64_t block : {1, 2, 4, 8, 16, 32, 48, 64, 160, 512, 1024, 2048}) check({1100, block, 512, 2});
}

TEST(AttentionPool, EveryChunk) {
  for (const int64_t chunk : {1, 13, 96, 700}) check({700, 32, chunk, 1 + static_cast<int>(chunk % 3)});
  for (const int64_t chunk : {1, 13, 200}) check({200, 4, chunk, 2});
}

TEST(AttentionPool, LongRows) {  // past 2,048 keys more rows go together
  check({2700, 16, 512, 2});
  check({2700, 64, 500, 3});
}

TEST(AttentionPool, Windows) {
  check({1400, 16, 512, 2, {100, 0}});
  check({1400, 64, 77, 2, {600, 0}});
}

TEST(AttentionPool, RowsThatAreNoNumberGiveNothing) {
  check({1200, 16, 512, 2, {}, 600});
  check({1200, 32, 100, 1, {}, 1199});
}

}  // namespace
}  // namespace bareattn::attend
