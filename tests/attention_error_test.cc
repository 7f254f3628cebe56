// The stated error bound, enforced on random and adversarial input, and the promise that it is never worse than plain
// two-pass f32 attention: the same sums in the textbook order. Prints how much of the bound is used.
#include "attention_support.h"

namespace bareattn::testing {
namespace {

// Scores, maximum, exp, sum, blend, each one loop of f32 in order.
std::vector<float> two_pass(const Problem& p) {
  std::vector<float> out;
  const int64_t dims = p.q.shape[3], keys = p.k.shape[2], group = p.q.shape[1] / p.k.shape[1];
  const float scale = p.params.scale ? *p.params.scale : static_cast<float>(1 / std::sqrt(static_cast<double>(dims)));
  std::vector<float> s(static_cast<size_t>(keys));
  for (int64_t b = 0; b < p.q.shape[0]; ++b)
    for (int64_t h = 0; h < p.q.shape[1]; ++h)
      for (int64_t i = 0; i < p.q.shape[2]; ++i) {
        const int64_t end = p.params.is_causal ? std::min(keys, i + 1) : keys;
        float max = -infinity, sum = 0;
        for (int64_t j = 0; j < end; ++j) {
          float dot = 0;
          for (int64_t d = 0; d < dims; ++d) dot += p.q.at(b, h, i, d) * p.k.at(b, h / group, j, d);
          s[static_cast<size_t>(j)] = dot * scale;
          max = std::max(max, dot * scale);
        }
        for (int64_t j = 0; j < end; ++j) sum += s[static_cast<size_t>(j)] = std::exp(s[static_cast<size_t>(j)] - max);
        for (int64_t e = 0; e < p.v.shape[3]; ++e) {
          float value = 0;
          for (int64_t j = 0; j < end; ++j) value += s[static_cast<size_t>(j)] * p.v.at(b, h / group, j, e);
          out.push_back(value / sum);
        }
      }
  return out;
}

struct Errors {
  double square = 0, largest = 0;
};
Errors errors(const std::vector<float>& o, const std::vector<double>& exact, const std::vector<double>& unit) {
  Errors out;
  for (size_t i = 0; i < o.size(); ++i) {
    const double e = std::fabs(o[i] - exact[i]) / (eps * unit[i] + 1e-300);
    out.square += e * e / static_cast<double>(o.size());
    out.largest = std::max(out.largest, e);
  }
  return out;
}

Problem adversarial(int kind, unsigned seed) {
  Problem p({1, 2, 1, 24, 1500, 64, 32}, seed);
  std::mt19937 random(seed);
  switch (kind) {
    case 0:
      break;
    case 1:
      p = Problem({1, 2, 1, 24, 1500, 64, 32}, seed, 3);
      break;  // peaked rows
    case 2:   // long sums of values of one sign
      for (float& x : p.v.data) x = std::fabs(x) + 1;
      break;
    case 3:  // values that cancel
      for (size_t i = 0; i < p.v.data.size(); ++i)
        p.v.data[i] = (i / 32 % 2 != 0 ? 1.0F : -1.0F) * (1 + 1e-4F * p.v.data[i]);
      break;
    case 4:  // scores that cancel: large parts, small sums
      for (size_t i = 0; i < p.k.data.size(); ++i) p.k.data[i] = i % 2 != 0 ? -p.k.data[i - 1] : p.k.data[i];
      for (size_t i = 0; i < p.q.data.size(); ++i)
        p.q.data[i] = i % 2 != 0 ? p.q.data[i - 1] * (1 + 1e-5F) : p.q.data[i] * 10;
      break;
    case 5:  // uniform weights over many keys
      for (float& x : p.q.data) x *= 1e-4F;
      break;
    default:
      break;
  }
  return p;
}

TEST(AttentionError, TheStatedBound) {
  double used = 0;
  for (int kind = 0; kind < 6; ++kind)
    for (unsigned seed = 1; seed <= 3; ++seed) {
      Problem p = adversarial(kind, seed);
      p.params.is_causal = seed == 2;
      const double ratio = expect_within_bound(p, p.run());
      used = std::max(used, ratio / attention_error_factor(64, 1500, largest_score(p)));
      RecordProperty("kind_" + std::to_string(kind), std::to_string(ratio));
      std::printf("kind %d seed %u: error %.1f eps sum p|v| (bound %.0f)\n", kind, seed, ratio,
                  attention_error_factor(64, 1500, largest_score(p)));
    }
  EXPECT_GT(used, 1e-4) << "a bound that is never approached says nothing";
}

TEST(AttentionError, NeverWorseThanTwoPassF32) {
  for (int kind = 0; kind < 6; ++kind)
    for (unsigned seed = 1; seed <= 3; ++seed) {
      Problem p = adversarial(kind, seed + 10);
      const std::vector<double> exact = p.exact(), unit = scale_of_error(p);
      const Errors fast = errors(p.run(), exact, unit), plain = errors(two_pass(p), exact, unit);
      EXPECT_LE(std::sqrt(fast.square), 1.05 * std::sqrt(plain.square) + 0.5) << "kind " << kind << ", seed " << seed;
      // The largest of 1,536 is one draw: where errors come from the scores, whose chains are alike, it goes either
      // way.
      EXPECT_LE(fast.largest, 1.5 * plain.largest + 2) << "kind " << kind << ", seed " << seed;
    }
}

TEST(AttentionError, StatisticsAgainstTheReference) {
  for (unsigned seed = 1; seed <= 4; ++seed) {
    Problem p({2, 4, 2, 37, 700, 32, 16}, seed, seed == 2 ? 3.0F : 1.0F);
    p.params.is_causal = true;
    p.params.causal_align = CausalAlign::bottom_right;
    if (seed == 3) p.sinks = {1, 2, 3, 4};
    if (seed == 4) p.params.left_window = 100;
    Collected fast(p), exact(p);
    AttentionParams params = p.full_params();
    params.returns.statistics = fast.list;
    p.run(params);
    params.returns.statistics = exact.list;
    Array<float> o = p.output();
    reference_attention(p.q.view(), p.k.view(), p.v.view(), o.view(), params);
    auto a = fast.fields(), b = exact.fields();
    for (size_t i = 0; i < fast.distance_spread.size(); ++i)  // its bound is of the square: see attention.h
      EXPECT_NEAR(std::pow(fast.distance_spread[i], 2), std::pow(exact.distance_spread[i], 2),
                  0.05 + 1e-5 * std::pow(exact.distance_spread[i], 2));
    for (size_t f = 0; f < a.size(); ++f)
      for (size_t i = 0; a[f] != &fast.distance_spread && i < a[f]->size(); ++i)
        EXPECT_NEAR((*a[f])[i], (*b[f])[i], 1e-5 * (1 + std::fabs((*b[f])[i]))) << "field " << f << ", row " << i;
    for (size_t i = 0; i < fast.column_sums.size(); ++i)
      EXPECT_NEAR(fast.column_sums[i], exact.column_sums[i], 1e-5 * (1 + std::fabs(exact.column_sums[i])));
    EXPECT_EQ(fast.max_key, exact.max_key);
    for (size_t i = 0; i < fast.received.size(); ++i)
      EXPECT_NEAR(from_fixed(fast.received[i]), from_fixed(exact.received[i]), 1e-5);
  }
}

}  // namespace
}  // namespace bareattn::testing
