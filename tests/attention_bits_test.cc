// One answer, bit for bit, however attention is called: whole calls on random shapes and parameters, compared across
// kernel tables, threads, batch and place in it, chunks, decode, pages, observation. Items B33 to B38 and B41 of the
// numerics list (docs/numerics.md).
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstdlib>

#include "attention_support.h"

namespace bareattn::testing {
namespace {

int between(int low, int high) { return *rc::gen::inRange(low, high + 1); }
bool maybe(int one_in) { return between(0, one_in - 1) == 0; }

Problem random_problem() {
  Sizes n;
  n.batch = maybe(3) ? between(2, 3) : 1;
  n.kv_heads = between(1, 3);
  n.heads = n.kv_heads * between(1, 3);
  n.rows = maybe(4) ? between(40, 120) : between(1, 20);
  n.keys = maybe(4) ? between(480, 1100) : between(1, 90);
  n.dim = maybe(4) ? between(1, 140) : between(1, 20);
  n.value_dim = maybe(3) ? between(1, 140) : n.dim;
  Problem p(n, *rc::gen::arbitrary<unsigned>(), maybe(4) ? 6.0F : 1.0F);
  p.params.is_causal = maybe(2);
  p.params.causal_align = maybe(2) ? CausalAlign::bottom_right : CausalAlign::top_left;
  if (maybe(5)) p.params.offset = between(-20, 600);
  if (maybe(4)) p.params.left_window = between(0, 700);
  if (maybe(4)) p.params.right_window = between(0, 40);
  if (maybe(4)) p.params.softcap = static_cast<float>(between(1, 30));
  std::mt19937 random(*rc::gen::arbitrary<unsigned>());
  if (maybe(4)) p.slopes = random_array(random, 1, 1, 1, n.heads, 0.1F).data;
  if (maybe(4)) p.sinks = random_array(random, 1, 1, 1, n.heads).data;
  const int mask = between(0, 5);
  const int64_t mb = maybe(2) ? 1 : n.batch, mh = maybe(2) ? 1 : n.heads, mr = maybe(2) ? 1 : n.rows;
  if (mask == 0) {
    p.seen = Array<uint8_t>(mb, mh, mr, n.keys);
    for (uint8_t& s : p.seen.data) s = random() % 4 != 0;
  } else if (mask == 1) {
    p.additive = random_array(random, mb, mh, mr, n.keys);
    for (float& x : p.additive.data)
      if (random() % 5 == 0) x = -infinity;
  }
  return p;
}

struct Answer {
  std::vector<float> o;
  Collected seen;
};

Answer answer(const Problem& p, AttentionParams params) {
  Collected seen(p);
  params.returns.statistics = seen.list;
  std::vector<float> o = p.run(params);
  return {std::move(o), std::move(seen)};
}

// `count` cases of a property.
template <class Body>
void property(const char* what, Body&& body) {
  EXPECT_TRUE(rc::check(what, body));
}

// B38: every ISA path gives the bits of the scalar twin.
TEST(AttentionBits, B38IsaPaths) {
  if (all_tables().size() < 2) GTEST_SKIP() << "this CPU runs the scalar twin only: there is nothing to compare";
  property("all tables give one answer, statistics included", [] {
    const Problem p = random_problem();
    const AttentionParams params = p.full_params();
    kernels::set_table_for_test(&kernels::reference_table());
    Answer scalar = answer(p, params);
    for (const kernels::KernelTable* table : all_tables()) {
      kernels::set_table_for_test(table);
      Answer fast = answer(p, params);
      kernels::set_table_for_test(nullptr);
      RC_ASSERT(same_bits(scalar.o, fast.o));
      RC_ASSERT(scalar.seen.same(fast.seen));
    }
  });
}

// The environment variable is read once per process, so each value has a process of its own (a test program again).
TEST(AttentionBits, B38EnvironmentVariable) {
  const char* print = std::getenv("BAREATTN_TEST_PRINT_HASH");
  const Problem p({2, 6, 3, 70, 1030, 33, 40}, 5);
  uint64_t hash = 14695981039346656037ULL;
  for (float x : p.run()) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    hash = (hash ^ bits) * 1099511628211ULL;
  }
  if (print != nullptr) {
    std::printf("hash %016lx\n", static_cast<unsigned long>(hash));
    return;
  }
  char self[4096];
  const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  ASSERT_GT(length, 0);
  self[length] = 0;
  char expected[64];
  std::snprintf(expected, sizeof expected, "hash %016lx", static_cast<unsigned long>(hash));
  int ran = 0;
  for (const kernels::KernelTable* table : all_tables()) {
    const std::string command = "BAREATTN_TEST_PRINT_HASH=1 BAREATTN_ISA=" + std::string(table->name) + " '" + self +
                                "' --gtest_filter=AttentionBits.B38EnvironmentVariable 2>&1";
    FILE* pipe = popen(command.c_str(), "r");
    ASSERT_NE(pipe, nullptr);
    std::string out;
    for (char part[256]; fgets(part, sizeof part, pipe) != nullptr;) out += part;
    EXPECT_EQ(pclose(pipe), 0) << out;
    EXPECT_NE(out.find(expected), std::string::npos) << table->name << " printed " << out;
    ++ran;
  }
  EXPECT_GE(ran, 1);
  FILE* pipe = popen(("BAREATTN_TEST_PRINT_HASH=1 BAREATTN_ISA=sse9 '" + std::string(self) +
                      "' --gtest_filter=AttentionBits.B38EnvironmentVariable 2>&1")
                         .c_str(),
                     "r");
  std::string out;
  for (char part[256]; fgets(part, sizeof part, pipe) != nullptr;) out += part;
  EXPECT_NE(pclose(pipe), 0);
  EXPECT_NE(out.find("sse9"), std::string::npos) << "an unknown name must be refused by name: " << out;
}

TEST(AttentionBits, B33Threads) {
  property("1..5 threads", [] {
    const Problem p = random_problem();
    AttentionParams params = p.full_params();
    params.threads = 1;
    Answer one = answer(p, params);
    for (int threads = 2; threads <= 5; ++threads) {
      params.threads = threads;
      Answer many = answer(p, params);
      RC_ASSERT(same_bits(one.o, many.o));
      RC_ASSERT(one.seen.same(many.seen));
    }
  });
}

Problem entry_of(const Problem& p, int64_t b) {
  const auto pick = [b](const auto& array) {
    auto one = array;
    one.shape[0] = array.data.empty() ? 0 : 1;
    if (array.data.empty() || array.shape[0] == 1) return one;
    const int64_t n = array.shape[1] * array.shape[2] * array.shape[3];
    one.data.assign(array.data.begin() + b * n, array.data.begin() + (b + 1) * n);
    return one;
  };
  Problem out = p;
  out.q = pick(p.q);
  out.k = pick(p.k);
  out.v = pick(p.v);
  out.seen = pick(p.seen);
  out.additive = pick(p.additive);
  return out;
}

TEST(AttentionBits, B34BatchAndPlace) {
  property("an entry alone equals the entry in a batch", [] {
    const Problem p = random_problem();
    const std::vector<float> all = p.run();
    const size_t n = all.size() / static_cast<size_t>(p.q.shape[0]);
    for (int64_t b = 0; b < p.q.shape[0]; ++b) {
      const std::vector<float> alone = entry_of(p, b).run();
      RC_ASSERT(same_bits(alone, std::vector<float>(all.begin() + b * static_cast<int64_t>(n),
                                                    all.begin() + (b + 1) * static_cast<int64_t>(n))));
    }
  });
  for (int64_t batch : {1, 2, 7, 33, 64}) {  // the same entry everywhere
    Problem one({1, 4, 2, 9, 600, 24, 16}, 3);
    one.params.is_causal = true;
    one.params.causal_align = CausalAlign::bottom_right;
    Problem p = one;
    for (Array<float>* array : {&p.q, &p.k, &p.v}) {
      const std::vector<float> entry = array->data;
      for (int64_t b = 1; b < batch; ++b) array->data.insert(array->data.end(), entry.begin(), entry.end());
      array->shape[0] = batch;
    }
    const std::vector<float> alone = one.run(), all = p.run();
    for (int64_t b = 0; b < batch; ++b)
      EXPECT_EQ(std::memcmp(all.data() + b * static_cast<int64_t>(alone.size()), alone.data(), alone.size() * 4), 0)
          << b << " of " << batch;
  }
}

// B35: a sequence in chunks through the cache, each chunk appended and then attended, equals one call.
TEST(AttentionBits, B35ChunkedPrefill) {
  for (int variant = 0; variant < 4; ++variant) {
    Problem p({2, 6, 2, 700, 700, 40, 24}, 11 + static_cast<unsigned>(variant));
    p.params.is_causal = true;
    if (variant == 1) p.params.left_window = 130;
    if (variant == 2) p.params.softcap = 5;
    if (variant == 2) p.slopes = {0.5F, 0.25F, 0.1F, 0.05F, 0.02F, 0.01F};
    if (variant == 3) p.sinks = {1, 2, 0, -1, -infinity, 3};
    const Answer whole = answer(p, p.full_params());
    for (int64_t chunk : {1, 7, 64, 512, 700}) {
      AttentionCache cache(2, 2, 40, 24);
      Array<float> o = p.output();
      Collected seen(p);
      for (int64_t first = 0; first < 700; first += chunk) {
        const int64_t rows = std::min<int64_t>(chunk, 700 - first);
        const auto part = [&](auto view) {
          view.data += first * view.stride[2];
          view.shape[2] = rows;
          return view;
        };
        cache.append(part(p.k.view()), part(p.v.view()));
        AttentionParams params = p.full_params();
        params.causal_align = CausalAlign::bottom_right;
        std::vector<AttentionStatistics> list = seen.list;
        for (AttentionStatistics& s : list) {
          s.lse += first;
          s.max_logit += first;
          s.row_sum += first;
          s.entropy += first;
          s.sum_squares += first;
          s.mean_distance += first;
          s.first_mass += first;
          s.self_weight += first;
          s.previous_weight += first;
          s.recent_mass += first;
          s.distance_spread += first;
          s.column_sums += first;
          s.max_key += first;
        }
        params.returns.statistics = list;
        params.threads = 1 + static_cast<int>(first / chunk % 3);
        attention(part(p.q.view()), cache, part(o.view()), params);
      }
      EXPECT_TRUE(same_bits(whole.o, o.data)) << "chunk " << chunk << ", variant " << variant;
      Answer expected = whole;
      EXPECT_TRUE(expected.seen.same(seen)) << "statistics, chunk " << chunk << ", variant " << variant;
    }
  }
}

TEST(AttentionBits, B36PagedAndContiguous) {
  property("pages of any size, in any order", [] {
    Sizes n;
    n.batch = between(1, 3);
    n.kv_heads = between(1, 2);
    n.heads = n.kv_heads * 2;
    n.rows = between(1, 5);
    n.keys = between(1, 700);
    n.dim = between(1, 40);
    n.value_dim = between(1, 40);
    Problem p(n, *rc::gen::arbitrary<unsigned>());
    p.params.is_causal = true;
    p.params.causal_align = CausalAlign::bottom_right;
    const int64_t page = between(1, 80), per = (n.keys + page - 1) / page;
    std::vector<int32_t> table(static_cast<size_t>(n.batch * per));
    for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<int32_t>(i);
    std::shuffle(table.begin(), table.end(), std::mt19937(*rc::gen::arbitrary<unsigned>()));
    Array<float> k(n.batch * per, n.kv_heads, page, n.dim, nan), v(n.batch * per, n.kv_heads, page, n.value_dim, nan);
    for (int64_t b = 0; b < n.batch; ++b)
      for (int64_t h = 0; h < n.kv_heads; ++h)
        for (int64_t j = 0; j < n.keys; ++j) {
          const int64_t to = table[static_cast<size_t>(b * per + j / page)];
          for (int64_t d = 0; d < n.dim; ++d) k.at(to, h, j % page, d) = p.k.at(b, h, j, d);
          for (int64_t d = 0; d < n.value_dim; ++d) v.at(to, h, j % page, d) = p.v.at(b, h, j, d);
        }
    const std::vector<int64_t> lengths(static_cast<size_t>(n.batch), n.keys);
    const PagedKeyValues pages{k.view(), v.view(), {table.data(), {n.batch, per}}, lengths};
    Array<float> o = p.output();
    attention(p.q.view(), pages, o.view(), p.full_params());
    RC_ASSERT(same_bits(o.data, p.run()));
  });
}

TEST(AttentionBits, B37Observation) {
  property("observed or not; the weights sum to 1 and make the output", [] {
    const Problem p = random_problem();
    const std::vector<float> plain = p.run();
    Answer seen = answer(p, p.full_params());
    RC_ASSERT(same_bits(plain, seen.o));
    const int64_t heads = p.q.shape[1], rows = p.q.shape[2], keys = p.k.shape[2], dv = p.v.shape[3];
    Array<float> w(p.q.shape[0], heads, rows, keys);
    weights(p.q.view(), p.k.view(), w.view(), {}, p.full_params());
    for (int64_t b = 0; b < p.q.shape[0]; ++b)
      for (int64_t h = 0; h < heads; ++h)
        for (int64_t i = 0; i < rows; ++i) {
          double sum = 0;
          for (int64_t j = 0; j < keys; ++j) sum += w.at(b, h, i, j);
          const float lse = seen.seen.lse[static_cast<size_t>((b * heads + h) * rows + i)];
          double expected = lse == -infinity ? 0 : 1;
          if (!p.sinks.empty()) expected -= std::exp(p.sinks[static_cast<size_t>(h)] - static_cast<double>(lse));
          RC_ASSERT(std::fabs(sum - expected) <=
                    (static_cast<double>(keys) + 50) * eps + 4e-6 * (p.sinks.empty() ? 0 : 1));
          for (int64_t e = 0; e < dv; ++e) {
            double value = 0, unit = 0;
            for (int64_t j = 0; j < keys; ++j) {
              const double part = static_cast<double>(w.at(b, h, i, j)) * p.v.at(b, h / (heads / p.k.shape[1]), j, e);
              value += part;
              unit += std::fabs(part);
            }
            const float o = plain[static_cast<size_t>(((b * heads + h) * rows + i) * dv + e)];
            RC_ASSERT(std::fabs(o - value) <= (static_cast<double>(keys) + 50) * eps * unit + 1e-37);
          }
        }
  });
}

TEST(AttentionBits, B41TenThousandRepeats) {
  Problem p({1, 4, 2, 6, 37, 16, 16}, 1);
  p.params.threads = 2;
  const std::vector<float> first = p.run();
  for (int i = 1; i < 10000; ++i) ASSERT_TRUE(same_bits(first, p.run())) << "repeat " << i;
}

}  // namespace
}  // namespace bareattn::testing

int main(int argc, char** argv) {
  setenv("RC_PARAMS", "max_success=400 max_size=100", 0);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
