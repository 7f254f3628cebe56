// Every function of every kernel table against the scalar twin, memcmp, on thousands of random shapes. Buffers end at a
// guard page, so a read or write past what kernels.h allows is a fault, not a silent pass.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/kernels.h"

namespace bareattn::kernels {
namespace {

// `bytes` that end at a page without access (the start is 64-byte aligned when bytes is a multiple of 64).
class Guarded {
 public:
  explicit Guarded(size_t bytes) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    size_ = (bytes + page - 1) / page * page + page;
    base_ = static_cast<char*>(mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED || mprotect(base_ + size_ - page, page, PROT_NONE) != 0) std::abort();
    data_ = base_ + size_ - page - bytes;
  }
  ~Guarded() { munmap(base_, size_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  template <class T>
  T* as() {
    return reinterpret_cast<T*>(data_);
  }

 private:
  size_t size_;
  char *base_, *data_;
};

float* fill(Guarded& to, const std::vector<float>& from) {
  if (!from.empty()) std::memcpy(to.as<float>(), from.data(), from.size() * 4);
  return to.as<float>();
}

// Ordinary numbers, sometimes with what a score may also be.
std::vector<float> numbers(size_t n, bool wild) {
  const auto seed = *rc::gen::arbitrary<uint32_t>();
  std::vector<float> out(n);
  uint64_t state = seed * 0x9E3779B97F4A7C15ULL + 1;
  for (float& x : out) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    x = static_cast<float>(static_cast<int32_t>(state >> 32)) * 0x1p-29F;
    if (!wild) continue;
    switch ((state >> 8) % 40) {
      case 0:
        x = -std::numeric_limits<float>::infinity();
        break;
      case 1:
        x *= 1e30F;
        break;
      case 2:
        x *= 1e-40F;
        break;
      case 3:
        x = 0;
        break;
      case 4:
        x *= 100;
        break;
      case 5:
        x = -0.0F;
        break;
      default:
        break;
    }
  }
  if (wild && (state >> 20) % 16 == 0 && n > 0) out[state % n] = std::numeric_limits<float>::quiet_NaN();
  return out;
}

// NaN payloads are not part of the contract (a NaN is a NaN); everything else is.
void same(const float* a, const float* b, size_t n, const char* what) {
  for (size_t i = 0; i < n; ++i) {
    if (std::memcmp(a + i, b + i, 4) == 0 || (std::isnan(a[i]) && std::isnan(b[i]))) continue;
    RC_FAIL(std::string(what) + " differs at " + std::to_string(i) + ": " + std::to_string(a[i]) + " and " +
            std::to_string(b[i]));
  }
}

std::vector<const KernelTable*> fast_tables() {
  const KernelTable* list[8];
  const int count = tables(list, 8);
  return {list, list + count - 1};
}

template <class Body>
void check(const char* what, Body&& body) {
  const auto fast = fast_tables();
  if (fast.empty()) GTEST_SKIP() << "this CPU has no fast table: only the scalar twin runs, nothing to compare";
  for (const KernelTable* table : fast)
    EXPECT_TRUE(rc::check(std::string(what) + " of " + table->name, [&] { body(*table); }));
}

int between(int low, int high) { return *rc::gen::inRange(low, high + 1); }

TEST(AttentionKernels, ScoreTile) {
  check("score_tile", [](const KernelTable& table) {
    const int rows = between(1, tile_rows), columns = between(1, 200), dims = between(0, 130),
              ldq = dims + between(0, 3);
    const bool accumulate = between(0, 1) == 1;
    const int64_t lds = 208, panels = (columns + 63) / 64;
    Guarded q(static_cast<size_t>((rows - 1) * ldq + dims) * 4), panel(static_cast<size_t>(panels * dims) * 256 + 64);
    Guarded s(static_cast<size_t>(rows * lds) * 4), t(static_cast<size_t>(rows * lds) * 4);
    fill(q, numbers(static_cast<size_t>((rows - 1) * ldq + dims), true));
    fill(panel, numbers(static_cast<size_t>(panels * dims) * 64, true));
    const auto start = numbers(static_cast<size_t>(rows * lds), false);
    fill(s, start);
    fill(t, start);
    reference_table().score_tile(q.as<float>(), ldq, rows, dims, panel.as<float>(), columns, s.as<float>(), lds,
                                 accumulate);
    table.score_tile(q.as<float>(), ldq, rows, dims, panel.as<float>(), columns, t.as<float>(), lds, accumulate);
    for (int r = 0; r < rows; ++r)
      same(s.as<float>() + r * lds, t.as<float>() + r * lds, static_cast<size_t>(columns), "s");
  });
}

// The states of up to 6 rows over a block.
struct States {
  static constexpr const char* names[] = {"max", "sum", "entropy", "squares", "distance"};
  float sums[5][tile_rows] = {};
  int32_t max_key[tile_rows] = {};
  BlockStates pointers() { return {sums[0], sums[1], sums[2], sums[3], sums[4], max_key}; }
};

TEST(AttentionKernels, SoftmaxRows) {
  check("softmax_rows", [](const KernelTable& table) {
    const int rows = between(1, tile_rows), most = between(1, 512), padded = (most + 15) / 16 * 16 + 16 * between(0, 3);
    const int64_t lds = padded + between(0, 3);
    const bool measure = between(0, 1) == 1;
    const auto size = static_cast<size_t>((rows - 1) * lds + padded);
    Guarded s(size * 4), t(size * 4);
    const auto start = numbers(size, true);
    fill(s, start);
    fill(t, start);
    int64_t keys[tile_rows];
    int32_t origin[tile_rows];
    float seen_max[tile_rows];
    States a, b;
    for (int r = 0; r < rows; ++r) {
      keys[r] = between(0, 5) == 0 ? 0 : between(1, most);
      origin[r] = between(-600, 100000000);
      seen_max[r] =
          std::vector<float>{-std::numeric_limits<float>::infinity(), 0.0F, 4.0F}[static_cast<size_t>(between(0, 2))];
    }
    const float* seen = measure ? seen_max : nullptr;
    reference_table().softmax_rows({s.as<float>(), lds, rows, keys, padded, origin, seen, a.pointers()});
    table.softmax_rows({t.as<float>(), lds, rows, keys, padded, origin, seen, b.pointers()});
    for (int r = 0; r < rows; ++r) {
      same(s.as<float>() + r * lds, t.as<float>() + r * lds, static_cast<size_t>(padded), "weights");
    }
    for (int i = 0; i < 5; ++i) same(a.sums[i], b.sums[i], static_cast<size_t>(rows), States::names[i]);
    RC_ASSERT(std::equal(a.max_key, a.max_key + rows, b.max_key));
  });
}

// Found by chance in one run of thousands: a maximum of zero had the sign of whichever zero its lane met.
TEST(AttentionKernels, AMaximumOfZeroIsPositive) {
  for (const KernelTable* table : fast_tables())
    for (int place = 0; place < 32; ++place) {
      Guarded s(32 * 4), t(32 * 4);
      std::vector<float> start(32, -1.0F);
      start[static_cast<size_t>(place)] = -0.0F;
      start[static_cast<size_t>(31 - place)] = place % 3 == 0 ? -0.0F : 0.0F;
      fill(s, start);
      fill(t, start);
      States a, b;
      const int64_t keys = 32;
      const int32_t origin = 0;
      const float seen = -2;
      reference_table().softmax_rows({s.as<float>(), 32, 1, &keys, 32, &origin, &seen, a.pointers()});
      table->softmax_rows({t.as<float>(), 32, 1, &keys, 32, &origin, &seen, b.pointers()});
      EXPECT_FALSE(std::signbit(a.sums[0][0])) << place;
      EXPECT_FALSE(std::signbit(b.sums[0][0])) << table->name << ", " << place;
      EXPECT_EQ(a.max_key[0], b.max_key[0]) << table->name << ", " << place;
    }
}

TEST(AttentionKernels, Blend) {
  check("blend", [](const KernelTable& table) {
    const int rows = between(1, tile_rows), keys = between(1, 70), dv = between(1, 150), ldv = (dv + 15) / 16 * 16;
    const int ldp = keys + between(0, 5);
    const bool accumulate = between(0, 1) == 1;
    Guarded p(static_cast<size_t>((rows - 1) * ldp + keys) * 4), v(static_cast<size_t>(keys * ldv) * 4);
    Guarded o(static_cast<size_t>(rows * ldv) * 4), u(static_cast<size_t>(rows * ldv) * 4);
    fill(p, numbers(static_cast<size_t>((rows - 1) * ldp + keys), true));
    fill(v, numbers(static_cast<size_t>(keys * ldv), true));
    const auto start = numbers(static_cast<size_t>(rows * ldv), false);
    fill(o, start);
    fill(u, start);
    reference_table().blend({p.as<float>(), ldp, rows, keys, v.as<float>(), ldv, dv, o.as<float>(), ldv, accumulate});
    table.blend({p.as<float>(), ldp, rows, keys, v.as<float>(), ldv, dv, u.as<float>(), ldv, accumulate,
                 between(0, 1) == 1 ? v.as<float>() : nullptr});
    for (int r = 0; r < rows; ++r) same(o.as<float>() + r * ldv, u.as<float>() + r * ldv, static_cast<size_t>(dv), "o");
  });
}

TEST(AttentionKernels, MergeStatesAndMergeAndExp) {
  check("merge_states", [](const KernelTable& table) {
    const int n = 16 * between(1, 4);
    const auto size = static_cast<size_t>(n);
    std::vector<float> max = numbers(size, true), sum = numbers(size, false), block_max = numbers(size, true),
                       block_sum = numbers(size, false), max2 = max, sum2 = sum;
    std::vector<float> a(size), b(size), a2(size), b2(size);
    // A state's maximum is never NaN (kernels.h: NaN shows in the sum).
    for (auto* list : {&max, &max2, &block_max})
      for (float& x : *list)
        if (std::isnan(x)) x = 0;
    reference_table().merge_states(max.data(), sum.data(), block_max.data(), block_sum.data(), a.data(), b.data(), n);
    table.merge_states(max2.data(), sum2.data(), block_max.data(), block_sum.data(), a2.data(), b2.data(), n);
    same(max.data(), max2.data(), size, "max");
    same(sum.data(), sum2.data(), size, "sum");
    same(a.data(), a2.data(), size, "a");
    same(b.data(), b2.data(), size, "b");
  });
  check("merge, divide, exp_below", [](const KernelTable& table) {
    const int n = 16 * between(1, 8);
    const auto size = static_cast<size_t>(n);
    Guarded o(size * 4), u(size * 4), block(size * 4), x(size * 4), y(size * 4), z(size * 4);
    const auto start = numbers(size, true);
    fill(o, start);
    fill(u, start);
    fill(block, numbers(size, true));
    const float a = numbers(1, false)[0], b = numbers(1, false)[0];
    const int dv = n - between(0, 15);
    reference_table().merge(o.as<float>(), block.as<float>(), a, b, dv);
    table.merge(u.as<float>(), block.as<float>(), a, b, dv);
    same(o.as<float>(), u.as<float>(), static_cast<size_t>(dv), "merge");
    // Any length, and nothing past it.
    Guarded from(static_cast<size_t>(dv) * 4), to(static_cast<size_t>(dv) * 4), also(static_cast<size_t>(dv) * 4);
    fill(from, numbers(static_cast<size_t>(dv), true));
    reference_table().divide(from.as<float>(), a, to.as<float>(), dv);
    table.divide(from.as<float>(), a, also.as<float>(), dv);
    same(to.as<float>(), also.as<float>(), static_cast<size_t>(dv), "divide");
    auto below = numbers(size, true);
    for (float& value : below) value = value > 0 ? -value * 20 : value * 20;
    fill(x, below);
    reference_table().exp_below(x.as<float>(), y.as<float>(), n);
    table.exp_below(x.as<float>(), z.as<float>(), n);
    same(y.as<float>(), z.as<float>(), size, "exp");
  });
}

TEST(AttentionKernels, JoinStates) {
  check("join_states", [](const KernelTable& table) {
    const int rows = 16 * between(1, 6), blocks = between(0, 5), stride = 96;
    const auto all = static_cast<size_t>(blocks * stride), some = static_cast<size_t>(rows);
    std::vector<std::vector<float>> state(5);
    for (auto& one : state) one = numbers(all, true);
    std::vector<int32_t> keys(all);
    for (auto& key : keys) key = between(-1, 511);
    std::vector<float> max(some, -std::numeric_limits<float>::infinity()), sum = numbers(some, true);
    for (int b = 0; b < blocks; ++b)
      for (size_t r = 0; r < some; ++r) {  // a state's maximum is never NaN, and the row's is the largest
        float& one = state[0][static_cast<size_t>(b * stride) + r];
        if (std::isnan(one)) one = 0;
        max[r] = std::max(max[r], one);
        if (between(0, 9) == 0) state[1][static_cast<size_t>(b * stride) + r] = 0;
      }
    for (float& s : sum)
      if (between(0, 4) == 0) s = 0;
    struct Out {
      std::vector<float> factor;
      std::vector<double> measures[3];
      std::vector<int32_t> max_key;
    };
    const bool measured = between(0, 3) != 0;
    const auto run = [&](const KernelTable& by) {
      Out out{std::vector<float>(all), {}, std::vector<int32_t>(some, -1)};
      for (auto& one : out.measures) one.assign(some, 0.25);
      by.join_states(
          {rows,
           blocks,
           {state[0].data(), state[1].data(), state[2].data(), state[3].data(), state[4].data(), keys.data()},
           stride,
           max.data(),
           sum.data(),
           out.factor.data(),
           measured ? out.measures[0].data() : nullptr,
           out.measures[1].data(),
           out.measures[2].data(),
           out.max_key.data(),
           1024});
      return out;
    };
    const Out one = run(reference_table()), two = run(table);
    for (int b = 0; b < blocks; ++b)
      same(one.factor.data() + b * stride, two.factor.data() + b * stride, some, "factor");
    for (int m = 0; m < 3; ++m)
      for (size_t r = 0; r < some; ++r) {
        const double x = one.measures[m][r], y = two.measures[m][r];
        RC_ASSERT(std::memcmp(&x, &y, sizeof x) == 0 || (std::isnan(x) && std::isnan(y)));
      }
    RC_ASSERT(one.max_key == two.max_key);
  });
}

TEST(AttentionKernels, FinishRows) {
  check("finish_rows", [](const KernelTable& table) {
    const int rows = between(1, 31), padded = 16 * between(1, 32), keys = between(0, padded);
    const auto size = static_cast<size_t>(padded), cells = size / 16;
    std::vector<std::vector<float>> weights;
    std::vector<const float*> p;
    std::vector<float> factor;
    for (int r = 0; r < rows; ++r) {
      weights.push_back(numbers(size, false));
      for (float& w : weights.back()) w = std::fabs(w) / 4;  // at most 1
      p.push_back(weights.back().data());
      factor.push_back(static_cast<float>(1 << 27) / static_cast<float>(between(1, 100)));
    }
    const auto run = [&](const KernelTable& by, bool sums, bool pool, bool top) {
      std::vector<uint64_t> received(static_cast<size_t>(keys) + 1, 0xFFFFFFF0ULL);
      std::vector<uint32_t> cell_sum(cells, 7);
      std::vector<float> cell_max(cells, 7);
      by.finish_rows({p.data(), factor.data(), rows, padded, keys, sums ? received.data() : nullptr,
                      pool ? cell_sum.data() : nullptr, top ? cell_max.data() : nullptr});
      return std::tuple(received, cell_sum, cell_max);
    };
    for (int which = 0; which < 8; ++which) {
      const bool sums = which & 1, pool = which & 2, top = which & 4;
      RC_ASSERT(run(reference_table(), sums, pool, top) == run(table, sums, pool, top));
    }
  });
}

TEST(AttentionKernels, PoolRows) {
  check("pool_rows", [](const KernelTable& table) {
    const int rows = between(0, 9), keys = between(0, 70), ldw = keys + between(0, 3);
    const auto size = static_cast<size_t>(keys);
    Guarded w(static_cast<size_t>(std::max(0, (rows - 1) * ldw + keys)) * 4), to(2 * size * 4), also(2 * size * 4);
    fill(w, numbers(static_cast<size_t>(std::max(0, (rows - 1) * ldw + keys)), true));
    reference_table().pool_rows(w.as<float>(), ldw, rows, keys, to.as<float>(), to.as<float>() + keys);
    table.pool_rows(w.as<float>(), ldw, rows, keys, also.as<float>(), also.as<float>() + keys);
    same(to.as<float>(), also.as<float>(), 2 * size, "sums and largest of columns");
  });
}

TEST(AttentionKernels, RunSums) {
  check("run_sums", [](const KernelTable& table) {
    std::vector<std::vector<float>> rows;
    const float* s[4];
    int64_t begin[4], end[4];
    for (int r = 0; r < 4; ++r) {
      rows.push_back(numbers(528, false));
      end[r] = between(0, 512);
      begin[r] = between(0, static_cast<int>(end[r]));
      for (int64_t j = 0; j < 528; ++j)  // what lies outside has no part, whatever it is
        if (j < begin[r] || j >= end[r]) rows.back()[static_cast<size_t>(j)] = std::numeric_limits<float>::quiet_NaN();
    }
    for (int r = 0; r < 4; ++r) s[r] = rows[static_cast<size_t>(r)].data();
    float one[4], two[4];
    reference_table().run_sums(s, begin, end, one);
    table.run_sums(s, begin, end, two);
    same(one, two, 4, "sums of runs");
  });
}

}  // namespace
}  // namespace bareattn::kernels

// RapidCheck reads its settings from the environment; 100 cases per property are too few for a contract.
int main(int argc, char** argv) {
  setenv("RC_PARAMS", "max_success=3000 max_size=100", 0);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
