// attention_backward() against the definition in f64, against finite differences, against itself on other threads and
// instruction sets, and with NaN where it must and must not show.
#include "bareattn/attention_backward.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <array>
#include <cstring>
#include <stdexcept>
#include <string>

#include "attention_backward_problem.h"
#include "kernels/kernels.h"

namespace bareattn {
namespace {

using testing::BackwardProblem;
using testing::BackwardShape;
using testing::Exact;

constexpr float nan = std::numeric_limits<float>::quiet_NaN();

// All elements of a gradient within factor * 2^-24 of the exact ones, relative to what the bound is made of.
void expect_near(const char* name, const TensorView<float>& given, const Exact& exact, double factor) {
  if (given.data == nullptr) return;
  const auto n = given.shape;
  size_t at = 0;
  for (int64_t a = 0; a < n[0]; ++a)
    for (int64_t b = 0; b < (given.rank > 1 ? n[1] : 1); ++b)
      for (int64_t c = 0; c < (given.rank > 2 ? n[2] : 1); ++c)
        for (int64_t d = 0; d < (given.rank > 3 ? n[3] : 1); ++d, ++at) {
          const double error = std::abs(given.at(a, b, c, d) - exact.value[at]);
          ASSERT_LE(error, factor * 0x1p-24 * exact.size[at] + 1e-37)
              << name << "[" << a << ", " << b << ", " << c << ", " << d << "] is " << given.at(a, b, c, d)
              << ", exact " << exact.value[at];
        }
  ASSERT_EQ(at, exact.value.size());
}

void expect_exact(BackwardProblem& problem, bool bshd) {
  problem.forward();
  const AttentionGradients given = problem.backward(bshd);
  const testing::ExactGradients exact = testing::exact_gradients(problem);
  const BackwardShape& n = problem.n;
  const double factor =
      attention_backward_error_factor({n.dim, n.value_dim, n.rows * n.heads / n.kv_heads, n.keys, exact.largest});
  expect_near("d_q", given.d_q, exact.d_q, factor);
  expect_near("d_k", given.d_k, exact.d_k, factor);
  expect_near("d_v", given.d_v, exact.d_v, factor);
  expect_near("d_bias", given.d_bias, exact.d_bias, factor);
  expect_near("d_sinks", given.d_sinks, exact.d_sinks, factor);
  expect_near("d_mask", given.d_mask, exact.d_mask, factor);
}

// Shapes that cross the blocks (256 keys), tiles (96 rows) and cuts (384 rows); terms by the bits of `terms`.
BackwardShape random_shape() {
  BackwardShape n;
  n.batch = *rc::gen::inRange<int64_t>(1, 3);
  n.kv_heads = *rc::gen::inRange<int64_t>(1, 3);
  n.heads = n.kv_heads * *rc::gen::inRange<int64_t>(1, 4);
  n.rows = *rc::gen::element<int64_t>(0, 1, 2, 5, 6, 7, 95, 96, 97, 130, 384, 400);
  n.keys = *rc::gen::element<int64_t>(0, 1, 3, 16, 63, 65, 255, 256, 257, 300, 520);
  n.dim = *rc::gen::element<int64_t>(1, 3, 8, 16, 33, 64, 80);
  n.value_dim = *rc::gen::element<int64_t>(1, 5, 16, 40, 64, 96);
  return n;
}

void add_terms(BackwardProblem& problem, int terms) {
  const BackwardShape& n = problem.n;
  problem.params.is_causal = (terms & 1) != 0;
  if ((terms & 2) != 0) problem.params.left_window = problem.draw(100);
  if ((terms & 4) != 0) problem.params.right_window = problem.draw(100);
  if ((terms & 8) != 0) problem.params.softcap = 1.5F;
  if ((terms & 16) != 0) problem.add_alibi();
  if ((terms & 32) != 0) problem.add_sinks();
  if ((terms & 64) != 0) problem.add_boolean_mask();
  if ((terms & 64) == 0 && (terms & 128) != 0) problem.add_additive_mask();
  if ((terms & 256) != 0) problem.add_lengths();
  if ((terms & 512) != 0)
    problem.params.offset = problem.draw(50);
  else if ((terms & 1024) != 0 && (terms & 2048) == 0)
    problem.params.causal_align = CausalAlign::bottom_right;
  if ((terms & 2048) != 0) problem.add_bias(n.rows + n.keys + 50);
}

TEST(AttentionBackward, IsWithinItsBoundOfTheDefinition) {
  int checked = 0;
  EXPECT_TRUE(rc::check("random shapes and terms", [&] {
    BackwardProblem problem(random_shape(), *rc::gen::arbitrary<uint32_t>());
    add_terms(problem, *rc::gen::inRange(0, 4096));
    problem.params.threads = *rc::gen::inRange(1, 4);
    expect_exact(problem, *rc::gen::arbitrary<bool>());
    RC_ASSERT(!::testing::Test::HasFailure());
    ++checked;
  }));
  EXPECT_GE(checked, 100);
}

// Measured 3.6e-7, 5.3e-7 and 5.0e-7, most of it the one rounding of the LSE (0.5 ulp of about 6).
TEST(AttentionBackward, ErrorIsTypicallyBelowAMillionth) {
  BackwardProblem problem({1, 3, 1, 512, 512, 64, 64}, 5);
  problem.params.is_causal = true;
  problem.forward();
  problem.backward();
  const testing::ExactGradients exact = testing::exact_gradients(problem);
  const auto rms = [](const std::vector<float>& given, const Exact& x) {
    double error = 0, size = 0;
    for (size_t i = 0; i < given.size(); ++i) {
      error += (given[i] - x.value[i]) * (given[i] - x.value[i]);
      size += x.value[i] * x.value[i];
    }
    return std::sqrt(error / size);
  };
  EXPECT_LT(rms(problem.d_q, exact.d_q), 8e-7);
  EXPECT_LT(rms(problem.d_k, exact.d_k), 8e-7);
  EXPECT_LT(rms(problem.d_v, exact.d_v), 8e-7);
}

// Only the forward in f64 and no calculus: (loss(x + h) - loss(x - h)) / 2 h, loss = sum dO O.
TEST(AttentionBackward, AgreesWithFiniteDifferences) {
  BackwardProblem problem({1, 4, 2, 9, 11, 6, 5}, 3);
  problem.params.is_causal = true;
  problem.params.offset = 2;
  problem.params.left_window = 7;
  problem.params.softcap = 2;
  problem.add_alibi();
  problem.add_sinks();
  problem.add_additive_mask();
  problem.add_bias(20);
  problem.forward();
  problem.backward();
  const BackwardShape& n = problem.n;
  std::vector<double> q(problem.q.begin(), problem.q.end()), k(problem.k.begin(), problem.k.end()),
      v(problem.v.begin(), problem.v.end()), o(problem.o.size());
  const auto loss = [&] {
    reference_attention(TensorView<const double>(q.data(), {1, n.heads, n.rows, n.dim}),
                        TensorView<const double>(k.data(), {1, n.kv_heads, n.keys, n.dim}),
                        TensorView<const double>(v.data(), {1, n.kv_heads, n.keys, n.value_dim}),
                        TensorView<double>(o.data(), {1, n.heads, n.rows, n.value_dim}), problem.params);
    double sum = 0;
    for (size_t i = 0; i < o.size(); ++i) sum += o[i] * problem.d_o[i];
    return sum;
  };
  const auto check = [&](const char* name, auto& values, const std::vector<float>& gradient, double h, double limit) {
    ASSERT_EQ(values.size(), gradient.size());
    int moved = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      const auto kept = values[i];
      if (std::isinf(kept)) {
        EXPECT_EQ(gradient[i], 0.0F) << name << " of a cut edge";
        continue;
      }
      using T = std::remove_reference_t<decltype(values[i])>;
      const T above = static_cast<T>(kept + h), below = static_cast<T>(kept - h);
      values[i] = above;
      const double more = loss();
      values[i] = below;
      const double less = loss();
      values[i] = kept;
      EXPECT_NEAR(gradient[i], (more - less) / (static_cast<double>(above) - below), limit) << name << " " << i;
      moved += more != less;
    }
    EXPECT_GT(moved, 0) << name;
  };
  check("q", q, problem.d_q, 1e-5, 3e-6);
  check("k", k, problem.d_k, 1e-5, 3e-6);
  check("v", v, problem.d_v, 1e-5, 3e-6);
  check("mask", problem.mask, problem.d_mask, 1.0 / 512, 1e-4);  // f32 arguments: larger steps, h^2 errors
  check("bias", problem.bias_value, problem.d_bias, 1.0 / 512, 1e-4);
  check("sinks", problem.sinks, problem.d_sinks, 1.0 / 512, 1e-4);
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * 4) == 0);
}

using All = std::array<std::vector<float>, 6>;
All all(const BackwardProblem& x) { return {x.d_q, x.d_k, x.d_v, x.d_bias, x.d_sinks, x.d_mask}; }

TEST(AttentionBackward, BitsDoNotDependOnThreadsLayoutOrCompany) {
  EXPECT_TRUE(rc::check("threads", [] {
    BackwardProblem problem(random_shape(), *rc::gen::arbitrary<uint32_t>());
    add_terms(problem, *rc::gen::inRange(0, 4096));
    problem.params.threads = 1;
    problem.forward();
    problem.backward();
    const All one = all(problem);
    for (const int threads : {2, 3, 7}) {
      problem.params.threads = threads;
      problem.backward();
      const All more = all(problem);
      for (size_t i = 0; i < one.size(); ++i) RC_ASSERT(same_bits(one[i], more[i]));
    }
    const AttentionGradients strided = problem.backward(true);
    size_t at = 0;
    const auto n = strided.d_q.shape;
    for (int64_t a = 0; a < n[0]; ++a)
      for (int64_t b = 0; b < n[1]; ++b)
        for (int64_t c = 0; c < n[2]; ++c)
          for (int64_t d = 0; d < n[3]; ++d, ++at) RC_ASSERT(strided.d_q.at(a, b, c, d) == one[0][at]);
    // Each gradient alone is what it is beside the others.
    const AttentionForward given{
        problem.q_view(), problem.k_view(), problem.v_view(), problem.o_view(),
        TensorView<const float>(problem.lse.data(), {problem.n.batch, problem.n.heads, problem.n.rows})};
    AttentionGradients only = problem.gradients(false);
    only.d_q.data = only.d_v.data = only.d_bias.data = only.d_sinks.data = only.d_mask.data = nullptr;
    attention_backward(given, problem.d_o_view(), only, problem.params);
    RC_ASSERT(same_bits(problem.d_k, one[1]));
  }));
}

TEST(AttentionBackward, BitsAreTheSameOnEveryInstructionSet) {
  const kernels::KernelTable* tables[8];
  const int count = kernels::tables(tables, 8);
  ASSERT_GE(count, 1);
  for (int terms = 0; terms < 4096; terms += 193) {
    BackwardProblem problem({2, 4, 2, 110, 270, 40, 24}, static_cast<uint32_t>(terms));
    add_terms(problem, terms);
    problem.forward();
    All first;
    for (int i = 0; i < count; ++i) {
      kernels::set_table_for_test(tables[i]);
      problem.backward();
      kernels::set_table_for_test(nullptr);
      if (i == 0) first = all(problem);
      const All here = all(problem);
      for (size_t part = 0; part < here.size(); ++part)
        EXPECT_TRUE(same_bits(here[part], first[part])) << tables[i]->name << " terms " << terms << " part " << part;
    }
  }
}

TEST(AttentionBackward, WhatIsNotSeenNeverShows) {
  for (const float poison : {nan, std::numeric_limits<float>::infinity(), 1e38F}) {
    BackwardProblem problem({1, 2, 1, 130, 300, 16, 16}, 11);
    problem.params.is_causal = true;
    problem.params.left_window = 120;
    problem.add_boolean_mask();
    const BackwardShape& n = problem.n;
    for (int64_t pair = 0; pair < n.heads * n.rows * n.keys; ++pair)  // nobody sees key 50, row 70 sees nobody
      if (pair % n.keys == 50 || pair / n.keys % n.rows == 70) problem.seen[static_cast<size_t>(pair)] = 0;
    problem.forward();
    problem.backward();
    const All clean = all(problem);
    const auto put = [&](std::vector<float>& x, int64_t row, int64_t dim) {
      std::fill_n(x.begin() + row * dim, dim, poison);
    };
    for (const int64_t key : {50, 140, 299}) {  // past the causal edge, and masked
      put(problem.k, key, n.dim);
      put(problem.v, key, n.value_dim);
    }
    for (int64_t h = 0; h < n.heads; ++h) {
      put(problem.q, h * n.rows + 70, n.dim);
      put(problem.d_o, h * n.rows + 70, n.value_dim);
    }
    problem.forward();
    problem.backward();
    const All poisoned = all(problem);
    for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(same_bits(clean[i], poisoned[i])) << i << " " << poison;
    for (const int64_t key : {50, 140, 299})
      for (int64_t d = 0; d < n.dim; ++d) EXPECT_EQ(problem.d_k[static_cast<size_t>(key * n.dim + d)], 0.0F);
    for (int64_t d = 0; d < n.dim; ++d) EXPECT_EQ(problem.d_q[static_cast<size_t>(70 * n.dim + d)], 0.0F);
  }
}

TEST(AttentionBackward, NaNThatIsSeenShowsExactlyThere) {
  const BackwardShape n{1, 2, 2, 130, 130, 16, 16};
  BackwardProblem problem(n, 12);
  problem.params.is_causal = true;
  problem.params.left_window = 60;
  problem.forward();
  problem.backward();
  const All clean = all(problem);
  constexpr int64_t row = 100;
  for (std::vector<float>* input : {&problem.q, &problem.d_o}) {
    const float kept = (*input)[row * 16 + 3];
    (*input)[row * 16 + 3] = nan;
    problem.forward();
    problem.backward();
    for (int64_t h = 0; h < 2; ++h)
      for (int64_t i = 0; i < n.rows; ++i)
        for (int64_t d = 0; d < 16; ++d) {
          const auto at = static_cast<size_t>((h * n.rows + i) * 16 + d);
          const bool seen = h == 0 && i <= row && i >= row - 60, own = h == 0 && i == row;
          EXPECT_EQ(std::isnan(problem.d_q[at]), own) << i;
          EXPECT_EQ(std::isnan(problem.d_k[at]), seen) << i;
          // dV is p^T dO: of a NaN in dO only that element
          EXPECT_EQ(std::isnan(problem.d_v[at]), seen && (input == &problem.q || d == 3)) << i;
          if (!own) {
            EXPECT_EQ(problem.d_q[at], clean[0][at]);
          }
          if (!seen) {
            EXPECT_EQ(problem.d_k[at], clean[1][at]);
          }
          if (!seen) {
            EXPECT_EQ(problem.d_v[at], clean[2][at]);
          }
        }
    (*input)[row * 16 + 3] = kept;
  }
}

TEST(AttentionBackward, PackedSequencesAreEachTheirOwn) {
  BackwardProblem problem({1, 2, 1, 300, 340, 24, 24}, 4);
  problem.params.is_causal = true;
  const int64_t q_bounds[] = {0, 100, 100, 300}, k_bounds[] = {0, 120, 121, 340};
  problem.params.cu_seqlens_q = q_bounds;
  problem.params.cu_seqlens_k = k_bounds;
  problem.forward();
  problem.backward();
  for (int i = 0; i < 3; ++i) {
    const int64_t rows = q_bounds[i + 1] - q_bounds[i], keys = k_bounds[i + 1] - k_bounds[i];
    BackwardProblem one({1, 2, 1, rows, keys, 24, 24}, 4);
    one.params.is_causal = true;
    const auto cut = [](std::vector<float>& to, const std::vector<float>& from, int64_t heads, int64_t total,
                        int64_t first, int64_t count) {
      for (int64_t h = 0; h < heads; ++h)
        std::copy_n(from.begin() + (h * total + first) * 24, count * 24, to.begin() + h * count * 24);
    };
    cut(one.q, problem.q, 2, 300, q_bounds[i], rows);
    cut(one.d_o, problem.d_o, 2, 300, q_bounds[i], rows);
    cut(one.k, problem.k, 1, 340, k_bounds[i], keys);
    cut(one.v, problem.v, 1, 340, k_bounds[i], keys);
    one.forward();
    one.backward();
    std::vector<float> part(one.d_q.size());
    cut(part, problem.d_q, 2, 300, q_bounds[i], rows);
    EXPECT_TRUE(same_bits(part, one.d_q));
    part.resize(one.d_k.size());
    cut(part, problem.d_k, 1, 340, k_bounds[i], keys);
    EXPECT_TRUE(same_bits(part, one.d_k));
  }
}

TEST(AttentionBackward, SixteenBitInputsAreTheirWidenedValues) {
  BackwardProblem problem({1, 2, 1, 40, 50, 24, 20}, 4);
  const auto round = [](std::vector<float>& x) {
    std::vector<BF16> bits;
    for (float& value : x) {
      uint32_t all_bits;
      std::memcpy(&all_bits, &value, 4);
      all_bits &= 0xFFFF0000U;
      std::memcpy(&value, &all_bits, 4);
      bits.push_back({static_cast<uint16_t>(all_bits >> 16)});
    }
    return bits;
  };
  const auto q = round(problem.q), k = round(problem.k), v = round(problem.v);
  problem.forward();
  problem.backward();
  const All wide = all(problem);
  const BackwardShape& n = problem.n;
  using T = TensorView<const BF16>;
  const AttentionForward given{T(q.data(), {1, n.heads, n.rows, n.dim}), T(k.data(), {1, n.kv_heads, n.keys, n.dim}),
                               T(v.data(), {1, n.kv_heads, n.keys, n.value_dim}), problem.o_view(),
                               TensorView<const float>(problem.lse.data(), {1, n.heads, n.rows})};
  attention_backward(given, problem.d_o_view(), problem.gradients(false), problem.params);
  const All narrow = all(problem);
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(same_bits(wide[i], narrow[i]));
}

TEST(AttentionBackward, RefusesWhatDoesNotFit) {
  BackwardProblem problem({1, 2, 1, 4, 5, 3, 3}, 1);
  problem.forward();
  const AttentionGradients out = problem.gradients(false);
  AttentionForward given{problem.q_view(), problem.k_view(), problem.v_view(), problem.o_view(),
                         TensorView<const float>(problem.lse.data(), {1, 2, 4})};
  const auto message = [&](const AttentionForward& f, const AttentionGradients& g) -> std::string {
    try {
      attention_backward(f, problem.d_o_view(), g, problem.params);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message(given, out), "");
  AttentionForward wrong = given;
  wrong.lse.shape[2] = 3;
  EXPECT_EQ(message(wrong, out), "lse: given shape [1, 2, 3]; needed [1, 2, 4]");
  AttentionGradients bad = out;
  bad.d_k.shape[1] = 2;
  EXPECT_EQ(message(given, bad), "d_k: given shape [1, 2, 5, 3]; needed [1, 1, 5, 3]");
  bad = out;
  bad.d_q = problem.o_view();
  EXPECT_NE(message(given, bad).find("overlaps o"), std::string::npos);
  bad = out;
  bad.d_sinks = {problem.d_k.data(), {2}};
  EXPECT_NE(message(given, bad).find("d_sinks"), std::string::npos);
}

}  // namespace
}  // namespace bareattn
