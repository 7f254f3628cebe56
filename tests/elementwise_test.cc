// The vector loops of kernels/elementwise.h give the bits of their scalar twin on every length, alignment and
// instruction set of this CPU, and the twin is right against double.
#include "kernels/elementwise.h"

#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace bareattn::kernels {
namespace {

class OnEveryTarget : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override {
    hwy::SetSupportedTargetsForTest(GetParam());
    hwy::GetChosenTarget().Update(GetParam());
  }
  void TearDown() override {
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
};

std::vector<int64_t> targets() {
  std::vector<int64_t> all;
  for (int64_t bits = hwy::SupportedTargets(); bits != 0; bits &= bits - 1) all.push_back(bits & -bits);
  return all;
}

std::vector<float> random_values(size_t count, uint32_t seed, float scale = 3) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  for (float& x : values) x = normal(random);
  return values;
}

void expect_same_bits(const std::vector<float>& a, const std::vector<float>& b, size_t length) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    ASSERT_EQ(std::bit_cast<uint32_t>(a[i]), std::bit_cast<uint32_t>(b[i]))
        << "element " << i << " of " << length << ": " << a[i] << " and " << b[i];
  }
}

constexpr size_t lengths[] = {1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 576, 577, 1536, 1543};

TEST_P(OnEveryTarget, RmsNormEqualsItsTwin) {
  for (const size_t n : lengths) {
    for (size_t shift = 0; shift < 3; ++shift) {
      const auto x = random_values(n + shift, static_cast<uint32_t>(n));
      const auto weight = random_values(n + shift, 7);
      std::vector<float> fast(n), twin(n);
      const auto width = static_cast<int64_t>(n);
      rms_norm(x.data() + shift, weight.data() + shift, width, 1e-5F, fast.data());
      reference::rms_norm(x.data() + shift, weight.data() + shift, width, 1e-5F, twin.data());
      expect_same_bits(fast, twin, n);
    }
  }
}

TEST_P(OnEveryTarget, RotationEqualsItsTwin) {
  for (const size_t n : {2U, 4U, 6U, 14U, 16U, 18U, 32U, 62U, 64U, 80U, 96U, 128U}) {
    auto fast = random_values(n + 1, static_cast<uint32_t>(n));
    auto twin = fast;
    const auto c = random_values(n, 1), s = random_values(n, 2);
    rotate_pairs(fast.data() + 1, c.data(), s.data(), static_cast<int64_t>(n));
    reference::rotate_pairs(twin.data() + 1, c.data(), s.data(), static_cast<int64_t>(n));
    expect_same_bits(fast, twin, n);
  }
}

TEST_P(OnEveryTarget, SiluEqualsItsTwinOnEveryKindOfNumber) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  const float special[] = {0.0F, -0.0F, 1e-40F, -1e-40F, 86.9F, -86.9F, 87.1F,        -87.1F,
                           1e4F, -1e4F, 3e38F,  -3e38F,  inf,   -inf,   std::nanf("")};
  for (const size_t n : lengths) {
    auto gate = random_values(n, static_cast<uint32_t>(n), 30);
    for (size_t i = 0; i < n && i < std::size(special); ++i) gate[n - 1 - i] = special[i];
    const auto up = random_values(n, 5);
    std::vector<float> fast(n), twin(n);
    silu_multiply(gate.data(), up.data(), static_cast<int64_t>(n), fast.data());
    reference::silu_multiply(gate.data(), up.data(), static_cast<int64_t>(n), twin.data());
    expect_same_bits(fast, twin, n);
  }
}

TEST_P(OnEveryTarget, AddEqualsItsTwin) {
  for (const size_t n : lengths) {
    const auto x = random_values(n, 1);
    auto fast = random_values(n, 2);
    auto twin = fast;
    add(x.data(), static_cast<int64_t>(n), fast.data());
    reference::add(x.data(), static_cast<int64_t>(n), twin.data());
    expect_same_bits(fast, twin, n);
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, OnEveryTarget, testing::ValuesIn(targets()),
                         [](const auto& target) { return std::string(hwy::TargetName(target.param)); });

TEST(Elementwise, RmsNormIsRight) {
  const size_t n = 576;
  const auto x = random_values(n, 1), weight = random_values(n, 2);
  std::vector<float> y(n);
  rms_norm(x.data(), weight.data(), static_cast<int64_t>(n), 1e-5F, y.data());
  double sum = 0;
  for (const float v : x) sum += static_cast<double>(v) * v;
  // 36 terms a lane, 4 levels of tree, root, quotient, two products: well under 16 roundings of 2^-24
  for (size_t i = 0; i < n; ++i) {
    const double exact = x[i] / std::sqrt(sum / static_cast<double>(n) + 1e-5) * weight[i];
    EXPECT_NEAR(y[i], exact, std::abs(exact) * 16 * 0x1p-24);
  }
}

TEST(Elementwise, SiluIsWithinFourUlp) {
  for (float gate = -80; gate < 80; gate += 0.0137F) {
    const float up = 1.0F;
    float y;
    silu_multiply(&gate, &up, 1, &y);
    const double exact = gate / (1 + std::exp(-static_cast<double>(gate)));
    EXPECT_NEAR(y, exact, std::abs(exact) * 4 * 0x1p-23) << gate;
  }
}

TEST(Elementwise, RotationByAQuarterTurn) {
  std::vector<float> x = {1, 2, 3, 4};
  const float c[] = {0, 0, 1, 1}, s[] = {-1, 1, 0, 0};
  rotate_pairs(x.data(), c, s, 4);
  EXPECT_EQ(x, (std::vector<float>{-2, 1, 3, 4}));
}

}  // namespace
}  // namespace bareattn::kernels
