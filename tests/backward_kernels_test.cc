// The backward kernels of every instruction set give the bits of their scalar twin, on every size and alignment, with
// NaN and infinities among the values; and the twin is right against double.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kernels/backward.h"

namespace bareattn::kernels {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

std::vector<const KernelTable*> fast_tables() {
  const KernelTable* all[8];
  const int count = tables(all, 8);
  return {all, all + count - 1};  // the last one is the twin itself
}

std::vector<float> values(std::mt19937& random, int64_t count, float size = 1) {
  std::normal_distribution<float> normal(0, size);
  std::vector<float> out(static_cast<size_t>(count));
  for (float& x : out) x = normal(random);
  return out;
}

// NaNs may differ in sign and payload; nothing else may.
bool same(const std::vector<float>& a, const std::vector<float>& b) {
  for (size_t i = 0; i < a.size(); ++i)
    if (!(std::isnan(a[i]) && std::isnan(b[i])) && std::memcmp(&a[i], &b[i], 4) != 0) return false;
  return a.size() == b.size();
}

TEST(BackwardKernels, EveryTableHasItsOwn) {
  const KernelTable* all[8];
  const int count = tables(all, 8);
  for (int i = 0; i < count; ++i) {
    ASSERT_NE(all[i]->backward, nullptr) << all[i]->name;
    for (int j = 0; j < i; ++j) EXPECT_NE(all[i]->backward->dot, all[j]->backward->dot) << all[i]->name;
  }
}

TEST(BackwardKernels, TransposedBlendEqualsItsTwin) {
  EXPECT_TRUE(rc::check("blend_transposed", [] {
    std::mt19937 random(*rc::gen::arbitrary<uint32_t>());
    const auto columns = *rc::gen::inRange(1, 7);
    const auto rows = *rc::gen::inRange<int64_t>(0, 100), dims = *rc::gen::inRange<int64_t>(1, 200);
    const int64_t ld = (dims + 15) / 16 * 16 + 16 * *rc::gen::inRange<int64_t>(0, 2),
                  shift = *rc::gen::inRange<int64_t>(0, 3);
    const int64_t ldp = 6 + *rc::gen::inRange<int64_t>(0, 20);
    const auto p = values(random, rows * ldp + shift + 6), v = values(random, rows * ld + shift + 16);
    auto first = values(random, 6 * ld + shift);
    if (*rc::gen::inRange(0, 4) == 0) first[static_cast<size_t>(shift)] = std::nanf("");
    auto twin = first;
    reference_backward().blend_transposed(p.data() + shift, ldp, columns, rows, v.data() + shift, ld, dims,
                                          twin.data() + shift, ld);
    for (const KernelTable* table : fast_tables()) {
      auto fast = first;
      table->backward->blend_transposed(p.data() + shift, ldp, columns, rows, v.data() + shift, ld, dims,
                                        fast.data() + shift, ld);
      // Vectors past dims are written: only what counts is compared, and no row past `columns`.
      for (int64_t c = 0; c < 6; ++c)
        for (int64_t e = c < columns ? dims : 0; e < ld && c < 6; ++e)
          if (c < columns)
            fast[static_cast<size_t>(shift + c * ld + e)] = twin[static_cast<size_t>(shift + c * ld + e)];
      RC_ASSERT(same(fast, twin));
    }
  }));
}

TEST(BackwardKernels, SoftmaxBackwardEqualsItsTwin) {
  EXPECT_TRUE(rc::check("softmax_backward", [] {
    std::mt19937 random(*rc::gen::arbitrary<uint32_t>());
    const int64_t n = 16 * *rc::gen::inRange<int64_t>(0, 15), shift = *rc::gen::inRange<int64_t>(0, 3);
    auto s = values(random, n + shift, 10), dp = values(random, n + shift);
    const float special[] = {-infinity, infinity, std::nanf(""), -90.0F, 80.0F, -0.0F};
    for (float x : special)
      if (n > 0) s[static_cast<size_t>(shift) + random() % static_cast<size_t>(n)] = x;
    const float lse = *rc::gen::element(3.0F, -infinity, std::nanf(""), 1e5F),
                delta = *rc::gen::element(0.5F, std::nanf(""), infinity);
    auto twin_s = s, twin_dp = dp;
    reference_backward().softmax_backward(twin_s.data() + shift, twin_dp.data() + shift, n, lse, delta);
    for (int64_t i = shift; i < n + shift; ++i)
      if (s[static_cast<size_t>(i)] == -infinity)
        RC_ASSERT(twin_s[static_cast<size_t>(i)] == 0.0F && twin_dp[static_cast<size_t>(i)] == 0.0F);
    for (const KernelTable* table : fast_tables()) {
      auto fast_s = s, fast_dp = dp;
      table->backward->softmax_backward(fast_s.data() + shift, fast_dp.data() + shift, n, lse, delta);
      RC_ASSERT(same(fast_s, twin_s));
      RC_ASSERT(same(fast_dp, twin_dp));
    }
  }));
}

TEST(BackwardKernels, DotEqualsItsTwinAndIsRight) {
  EXPECT_TRUE(rc::check("dot", [] {
    std::mt19937 random(*rc::gen::arbitrary<uint32_t>());
    const int64_t n = 16 * *rc::gen::inRange<int64_t>(0, 20), shift = *rc::gen::inRange<int64_t>(0, 3);
    const auto a = values(random, n + shift), b = values(random, n + shift);
    const float twin = reference_backward().dot(a.data() + shift, b.data() + shift, n);
    double exact = 0, size = 0;
    for (int64_t i = shift; i < n + shift; ++i) {
      exact += static_cast<double>(a[static_cast<size_t>(i)]) * b[static_cast<size_t>(i)];
      size += std::abs(static_cast<double>(a[static_cast<size_t>(i)]) * b[static_cast<size_t>(i)]);
    }
    RC_ASSERT(std::abs(twin - exact) <= size * 0x1p-24 * (static_cast<double>(n) / 16 + 4));
    for (const KernelTable* table : fast_tables()) {
      const float fast = table->backward->dot(a.data() + shift, b.data() + shift, n);
      RC_ASSERT(std::memcmp(&fast, &twin, 4) == 0);
    }
  }));
}

TEST(BackwardKernels, ScaleRowAndAddScaledEqualTheirTwins) {
  EXPECT_TRUE(rc::check("scale_row, add_scaled", [] {
    std::mt19937 random(*rc::gen::arbitrary<uint32_t>());
    const auto n = *rc::gen::inRange<int64_t>(0, 150), shift = *rc::gen::inRange<int64_t>(0, 3);
    const float scale = *rc::gen::element(1.0F, 0.125F, -3.3F, 1e30F);
    auto from = values(random, n + shift);
    const float special[] = {infinity, std::nanf(""), 3e38F};
    if (n > 0 && random() % 2 != 0)
      from[static_cast<size_t>(shift) + random() % static_cast<size_t>(n)] = special[random() % 3];
    const auto to = values(random, n + shift);
    auto twin = to, twin_sum = to;
    const bool finite = reference_backward().scale_row(from.data() + shift, n, scale, twin.data() + shift);
    reference_backward().add_scaled(from.data() + shift, n, scale, twin_sum.data() + shift);
    for (const KernelTable* table : fast_tables()) {
      auto fast = to, fast_sum = to, self = from;
      RC_ASSERT(table->backward->scale_row(from.data() + shift, n, scale, fast.data() + shift) == finite);
      RC_ASSERT(same(fast, twin));
      table->backward->scale_row(self.data() + shift, n, scale, self.data() + shift);
      for (int64_t i = 0; i < shift; ++i) self[static_cast<size_t>(i)] = twin[static_cast<size_t>(i)];
      RC_ASSERT(same(self, twin));
      table->backward->add_scaled(from.data() + shift, n, scale, fast_sum.data() + shift);
      RC_ASSERT(same(fast_sum, twin_sum));
    }
  }));
}

}  // namespace
}  // namespace bareattn::kernels
