// Hard numbers: items B8 to B14, B16 to B19 and B40 of the numerics list (docs/numerics.md). Every result is held to
// the stated bound against f64; what has one right answer is held to that.

#include "attention_support.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bareattn::testing {
namespace {

// One head of dim 1 whose logits are given exactly: q = 1, scale = 1, k = logit.
Problem with_logits(const std::vector<float>& logits, int64_t dv = 8, unsigned seed = 1) {
  Problem p({1, 1, 1, 1, static_cast<int64_t>(logits.size()), 1, dv}, seed);
  p.q.data = {1};
  p.k.data = logits;
  p.params.scale = 1.0F;
  return p;
}

TEST(AttentionValues, B8LargeLogits) {
  std::mt19937 random(1);
  for (float size : {88.0F, 104.0F, 1e4F, 6.5e4F, 1e30F, std::numeric_limits<float>::max()})
    for (size_t keys : {3U, 40U, 600U})
      for (int signs = 0; signs < 3; ++signs) {
        std::vector<float> logits(keys);
        for (float& x : logits) x = signs == 0 ? size : signs == 1 ? -size : (random() % 2 != 0 ? size : -size);
        const Problem p = with_logits(logits);
        const std::vector<float> o = p.run();
        const std::vector<double> exact = p.exact();
        // The logits are exact here and so are their differences: only exp, sum and blend round.
        const std::vector<double> unit = scale_of_error(p);
        for (size_t e = 0; e < o.size(); ++e)
          EXPECT_LE(std::fabs(o[e] - exact[e]),
                    attention_error_factor(1, static_cast<int64_t>(keys), 0) * eps * unit[e] + 1e-37)
              << size << ", " << keys << " keys, signs " << signs;
      }
}

TEST(AttentionValues, B9EqualLogits) {
  for (size_t keys : {1U, 2U, 64U, 512U, 1024U, 2048U})  // 1 / n is exact, and so is the sum of n ones
    for (float logit : {0.0F, -3.0F, 77.0F, 1e10F}) {
      Problem p = with_logits(std::vector<float>(keys, logit), 16);
      for (float& x : p.v.data) x = 2.5F;
      for (float x : p.run()) EXPECT_EQ(x, 2.5F) << keys;
      Array<float> w(1, 1, 1, static_cast<int64_t>(keys));
      weights(p.q.view(), p.k.view(), w.view(), {}, p.full_params());
      for (float x : w.data) EXPECT_EQ(x, 1.0F / static_cast<float>(keys));
    }
}

TEST(AttentionValues, B10MaximumInEveryPlace) {
  std::mt19937 random(2);
  for (size_t place = 0; place < 1100; place += place < 70 ? 1 : 61) {
    std::vector<float> logits = random_array(random, 1, 1, 1, 1100).data;
    logits[place] = 60;
    Problem p = with_logits(logits);
    Collected seen(p);
    AttentionParams params = p.full_params();
    params.returns.statistics = seen.list;
    const std::vector<float> o = p.run(params);
    EXPECT_EQ(seen.max_key[0], static_cast<int32_t>(place));
    EXPECT_EQ(seen.max_logit[0], 60.0F);
    expect_within_bound(p, o);
  }
}

TEST(AttentionValues, B11RisingAndFallingLogits) {
  for (int direction : {1, -1})
    for (float step : {0.01F, 0.5F, 30.0F}) {  // the running maximum moves in every block, or all but one key underflow
      std::vector<float> logits(3000);
      for (size_t j = 0; j < logits.size(); ++j)
        logits[j] = static_cast<float>(direction) * step * static_cast<float>(j);
      const Problem p = with_logits(logits);
      const std::vector<float> o = p.run();
      const std::vector<double> exact = p.exact(), unit = scale_of_error(p);
      for (size_t e = 0; e < o.size(); ++e)
        EXPECT_LE(std::fabs(o[e] - exact[e]), attention_error_factor(1, 3000, 0) * eps * unit[e])
            << direction << " " << step;
    }
}

TEST(AttentionValues, B12TinyDifferencesAtALargeOffset) {
  std::vector<float> logits(700);
  for (size_t j = 0; j < logits.size(); ++j)
    logits[j] = 1e6F + 0.0625F * static_cast<float>(j % 5);  // an ulp there is 2^-4
  const Problem p = with_logits(logits);
  std::vector<float> moved(700);
  for (size_t j = 0; j < moved.size(); ++j) moved[j] = logits[j] - 1e6F;
  EXPECT_TRUE(same_bits(p.run(), with_logits(moved).run())) << "only differences to the maximum count";
  expect_within_bound(with_logits(moved), p.run());
}

TEST(AttentionValues, B13Scales) {
  Problem p({1, 2, 1, 5, 520, 8, 8}, 3);
  p.params.scale = 0.0F;  // uniform
  expect_within_bound(p, p.run());
  p.params.scale = -0.7F;
  expect_within_bound(p, p.run());
  p.params.scale = nan;  // every row sees it
  for (float x : p.run()) EXPECT_TRUE(std::isnan(x));
  p.params.scale = infinity;
  for (float x : p.run()) EXPECT_TRUE(std::isnan(x));
  p.params.scale = 1e-40F;  // a denormal
  expect_within_bound(p, p.run());
}

TEST(AttentionValues, B14SoftcapBeforeTheMask) {
  Problem p({1, 2, 1, 6, 600, 8, 8}, 4, 3.0F);
  p.params.softcap = 2;
  p.additive = Array<float>(1, 1, 1, 600, 0.0F);
  for (int64_t j = 0; j < 600; j += 2) p.additive.at(0, 0, 0, j) = -infinity;  // capped afterwards it would be -2
  p.additive.at(0, 0, 0, 1) = 30;                                              // capped afterwards it would be 2
  const std::vector<float> o = p.run();
  expect_within_bound(p, o, 40);
  for (int64_t j = 0; j < 600; j += 2) p.v.at(0, 0, j, 0) = 1e30F;
  EXPECT_TRUE(same_bits(o, p.run()));
  Problem off = p;  // 0 is off, not "all scores 0"
  off.params.softcap = 0;
  EXPECT_FALSE(same_bits(o, off.run()));
}

TEST(AttentionValues, B16Denormals) {
  const Sizes n{1, 2, 1, 64, 512, 64, 64};
  Problem ordinary(n, 5), tiny(n, 5);
  for (Array<float>* array : {&tiny.q, &tiny.k, &tiny.v})
    for (float& x : array->data) x *= 1e-40F;
  const std::vector<float> o = tiny.run();
  const std::vector<double> exact = tiny.exact();
  bool some = false;
  for (size_t i = 0; i < o.size(); ++i) {
    EXPECT_LE(std::fabs(o[i] - exact[i]), 700 * 0x1p-149) << i;  // each of 512 products rounds to a multiple of 2^-149
    some |= o[i] != 0;
  }
  EXPECT_TRUE(some) << "denormal results are kept, not flushed";
}

TEST(AttentionValues, B17FloatingPointEnvironmentOfTheCaller) {
#if defined(__x86_64__)
  Problem p({2, 4, 2, 40, 700, 16, 16}, 6);
  for (float& x : p.v.data) x *= 1e-38F;
  p.params.softcap = 3;
  p.params.threads = 3;
  const std::vector<float> expected = p.run();
  const unsigned saved = _mm_getcsr();
  for (unsigned csr : {0x9FC0U /* FTZ and DAZ */, 0x3F80U /* down */, 0x5F80U /* up */, 0x7F80U /* to zero */}) {
    _mm_setcsr(csr);
    const std::vector<float> o = p.run();
    EXPECT_EQ(_mm_getcsr() & 0xFFC0U, csr & 0xFFC0U) << "the caller's environment is given back";
    _mm_setcsr(saved);
    EXPECT_TRUE(same_bits(expected, o)) << std::hex << csr;
  }
#else
  GTEST_SKIP() << "MXCSR is of x86: the environment of the caller is NOT tested on this CPU";
#endif
}

TEST(AttentionValues, B18SixteenBitEdges) {
  const uint16_t f16[] = {0x0000, 0x8000, 0x0001, 0x03FF, 0x0400, 0x3C00, 0x7BFF, 0xFBFF, 0x3555, 0xB555};
  const uint16_t bf16[] = {0x0000, 0x8000, 0x0001, 0x007F, 0x0080, 0x3F80, 0x4F7F, 0xCF7F, 0x3EAB, 0xBEAB};
  std::mt19937 random(7);
  const auto check = [&](auto tag, const uint16_t* numbers, auto widen) {
    using T = decltype(tag);
    Array<T> q(1, 2, 7, 5), k(1, 1, 530, 5), v(1, 1, 530, 9), o(1, 2, 7, 9);
    Problem wide({1, 2, 1, 7, 530, 5, 9}, 1);
    const auto fill = [&](Array<T>& to, Array<float>& as) {
      for (size_t i = 0; i < to.data.size(); ++i) {
        to.data[i] = {numbers[random() % 10]};
        as.data[i] = widen(to.data[i].bits);
      }
    };
    fill(q, wide.q);
    fill(k, wide.k);
    fill(v, wide.v);
    Array<float> o32 = wide.output();
    attention(q.view(), k.view(), v.view(), o32.view());
    EXPECT_TRUE(same_bits(o32.data, wide.run())) << "widening is exact";
    attention(q.view(), k.view(), v.view(), o.view());
    for (size_t i = 0; i < o.data.size(); ++i) {
      const float back = widen(o.data[i].bits), exact = o32.data[i];
      const double ulp = std::is_same_v<T, F16> ? std::max(0x1p-24, std::fabs(exact) * 0x1p-10)
                                                : std::max(0x1p-133, std::fabs(exact) * 0x1p-7);
      EXPECT_LE(std::fabs(back - exact), ulp / 2 + 1e-45) << i;
    }
  };
  check(F16{}, f16, [](uint16_t h) {
    const int exponent = h >> 10 & 31, mantissa = h & 1023;
    const float value = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                      : std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
    return h & 0x8000 ? -value : value;
  });
  check(BF16{}, bf16, [](uint16_t h) {
    const uint32_t bits = static_cast<uint32_t>(h) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
  });
}

TEST(AttentionValues, B19ValuesAtTheEdge) {
  constexpr float top = std::numeric_limits<float>::max();
  std::mt19937 random(8);
  // The sum of weights is 1 only to rounding, so the hull is left by that much; two ulps below the top it is kept.
  const float edge = top * (1 - 0x1p-10F);
  for (size_t keys : {2U, 100U, 1100U}) {
    Problem p = with_logits(random_array(random, 1, 1, 1, static_cast<int64_t>(keys), 0.01F).data, 16);
    for (float& x : p.v.data) x = random() % 2 != 0 ? edge : -edge;
    // Partial sums before the division reach keys * edge: the running sum may overflow to infinity; docs/numerics.md
    // says so. Up to top / keys it stays in the hull.
    for (float& x : p.v.data) x /= static_cast<float>(2 * keys);
    float largest = 0;
    for (float x : p.v.data) largest = std::max(largest, std::fabs(x));
    for (float x : p.run()) EXPECT_LE(std::fabs(x), largest * (1 + 0x1p-20F));
    expect_within_bound(p, p.run());
  }
  Problem one = with_logits({5.0F});  // alone, the largest number itself
  for (float& x : one.v.data) x = top;
  for (float x : one.run()) EXPECT_EQ(x, top);
}

TEST(AttentionValues, B40Metamorphic) {
  const Sizes n{1, 2, 1, 7, 900, 16, 16};
  Problem p(n, 9);
  const std::vector<float> o = p.run();
  const double c = 2 * attention_error_factor(16, 900, largest_score(p));
  const std::vector<double> unit = scale_of_error(p);
  const auto close = [&](const std::vector<float>& other, double factor, const char* what) {
    for (size_t i = 0; i < o.size(); ++i)
      EXPECT_LE(std::fabs(factor * o[i] - other[i]), c * eps * unit[i] * std::fabs(factor) + 1e-37) << what << " " << i;
  };
  Problem permuted = p;  // keys with their values
  for (int64_t j = 0; j < 900; ++j)
    for (int64_t d = 0; d < 16; ++d) {
      permuted.k.at(0, 0, j, d) = p.k.at(0, 0, (j * 7 + 3) % 900, d);
      permuted.v.at(0, 0, j, d) = p.v.at(0, 0, (j * 7 + 3) % 900, d);
    }
  close(permuted.run(), 1, "permuted");
  Problem shifted = p;  // a constant added to a row's scores; a power of two rounds them differently, no more
  shifted.additive = Array<float>(1, 1, 7, 1, 0.0F);
  Array<float> constant(1, 1, 7, 900);
  for (int64_t i = 0; i < 7; ++i)
    for (int64_t j = 0; j < 900; ++j) constant.at(0, 0, i, j) = static_cast<float>(i) - 3;
  shifted.additive = constant;
  close(shifted.run(), 1, "shifted");
  Problem scaled = p;  // V by a power of two: exactly
  for (float& x : scaled.v.data) x *= 4;
  const std::vector<float> four = scaled.run();
  for (size_t i = 0; i < o.size(); ++i) EXPECT_EQ(four[i], 4 * o[i]);
  Problem doubled({1, 2, 1, 7, 1800, 16, 16}, 9);  // every key twice
  doubled.q = p.q;
  for (int64_t j = 0; j < 1800; ++j)
    for (int64_t d = 0; d < 16; ++d) {
      doubled.k.at(0, 0, j, d) = p.k.at(0, 0, j / 2, d);
      doubled.v.at(0, 0, j, d) = p.v.at(0, 0, j / 2, d);
    }
  close(doubled.run(), 1, "doubled");
  Problem padded({1, 2, 1, 7, 1200, 16, 16}, 77);  // masked keys behind: exactly
  padded.q = p.q;
  for (int64_t j = 0; j < 900; ++j)
    for (int64_t d = 0; d < 16; ++d) {
      padded.k.at(0, 0, j, d) = p.k.at(0, 0, j, d);
      padded.v.at(0, 0, j, d) = p.v.at(0, 0, j, d);
    }
  padded.seen = Array<uint8_t>(1, 1, 1, 1200, 0);
  std::fill_n(padded.seen.data.begin(), 900, uint8_t{1});
  EXPECT_TRUE(same_bits(o, padded.run()));
}

}  // namespace
}  // namespace bareattn::testing
