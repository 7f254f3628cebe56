// What is not seen never shows, what is seen always does: items B1 to B7, B15 and B29 of the numerics list
// (docs/numerics.md). Sizes cross blocks of 512 keys and tiles of 6 and 48 rows.
#include "attention_support.h"

namespace bareattn::testing {
namespace {

// Visible as a test says; the rest is masked. f(batch, head, row, key)
template <class F>
Array<uint8_t> mask_of(const Problem& p, F&& f) {
  Array<uint8_t> out(p.q.shape[0], p.q.shape[1], p.q.shape[2], p.k.shape[2]);
  for (int64_t b = 0; b < out.shape[0]; ++b)
    for (int64_t h = 0; h < out.shape[1]; ++h)
      for (int64_t i = 0; i < out.shape[2]; ++i)
        for (int64_t j = 0; j < out.shape[3]; ++j) out.at(b, h, i, j) = f(b, h, i, j) ? 1 : 0;
  return out;
}

std::vector<float> row_of(const Problem& p, const std::vector<float>& o, int64_t b, int64_t h, int64_t i) {
  const int64_t dv = p.v.shape[3], at = ((b * p.q.shape[1] + h) * p.q.shape[2] + i) * dv;
  return {o.begin() + at, o.begin() + at + dv};
}

TEST(AttentionMasking, B1AllKeysMasked) {
  Problem p({2, 2, 1, 9, 1100, 16, 20}, 1);
  Collected seen(p);
  p.seen = mask_of(p, [](int64_t b, int64_t, int64_t i, int64_t j) {
    if (b == 1) return false;   // a whole batch entry
    if (i == 3) return false;   // one row
    return i >= 6 || j >= 512;  // the leading block for rows before 6
  });
  AttentionParams params = p.full_params();
  params.returns.statistics = seen.list;
  const std::vector<float> o = p.run(params);
  const std::vector<float> zero(20, 0.0F);
  for (int64_t h = 0; h < 2; ++h) {
    EXPECT_TRUE(same_bits(row_of(p, o, 0, h, 3), zero));
    EXPECT_EQ(seen.lse[static_cast<size_t>(h * 9 + 3)], -infinity);
    EXPECT_EQ(seen.max_key[static_cast<size_t>(h * 9 + 3)], -1);
    EXPECT_EQ(seen.entropy[static_cast<size_t>(h * 9 + 3)], 0.0F);
    for (int64_t i = 0; i < 9; ++i) EXPECT_TRUE(same_bits(row_of(p, o, 1, h, i), zero));
  }
  expect_within_bound(p, o);
}

TEST(AttentionMasking, B2CausalAndPadding) {
  Problem p({1, 2, 2, 70, 70, 8, 8}, 2);
  p.params.is_causal = true;
  p.seen = mask_of(p, [](int64_t, int64_t, int64_t, int64_t j) { return j >= 10 && j < 60; });
  Collected seen(p);
  AttentionParams params = p.full_params();
  params.returns.statistics = seen.list;
  const std::vector<float> o = p.run(params);
  for (int64_t i = 0; i < 10; ++i) EXPECT_TRUE(same_bits(row_of(p, o, 0, 1, i), std::vector<float>(8, 0.0F)));
  for (int64_t j = 0; j < 70; ++j) EXPECT_EQ(seen.received[static_cast<size_t>(j)] != 0, j >= 10 && j < 60) << j;
  expect_within_bound(p, o);
}

TEST(AttentionMasking, B3OneKeyLeft) {
  for (int64_t keys : {1, 2, 17, 64, 511, 512, 513, 1500})
    for (int64_t left : {int64_t{0}, keys / 2, keys - 1}) {
      Problem p({1, 1, 1, 7, keys, 8, 12}, 3);
      p.seen = mask_of(p, [=](int64_t, int64_t, int64_t, int64_t j) { return j == left; });
      const std::vector<float> o = p.run();
      for (int64_t i = 0; i < 7; ++i)
        for (int64_t e = 0; e < 12; ++e)  // the value itself: its weight is exactly 1
          EXPECT_EQ(o[static_cast<size_t>(i * 12 + e)], p.v.at(0, 0, left, e)) << keys << " keys, " << left << " left";
    }
}

// Every way to hide a key, every poison, at keys in the first, a middle and the last block.
TEST(AttentionMasking, B4PoisonAtMaskedKeys) {
  const int64_t keys = 1300, rows = 50;
  const std::vector<int64_t> hidden = {0, 63, 511, 512, 700, 1299};
  const auto is_hidden = [&](int64_t j) { return std::find(hidden.begin(), hidden.end(), j) != hidden.end(); };
  for (int way = 0; way < 3; ++way) {  // boolean mask, additive mask, span table
    Problem clean({1, 4, 2, rows, keys, 24, 40}, 4);
    SpanBias bias;
    std::vector<uint8_t> row_span(static_cast<size_t>(rows), 0), key_span(static_cast<size_t>(keys), 0);
    std::vector<float> value(8, 0.0F);
    if (way == 0) clean.seen = mask_of(clean, [&](int64_t, int64_t, int64_t, int64_t j) { return !is_hidden(j); });
    if (way == 1) {
      clean.additive = Array<float>(1, 1, 1, keys, 0.25F);
      for (int64_t j : hidden) clean.additive.at(0, 0, 0, j) = -infinity;
    }
    if (way == 2) {
      for (int64_t j : hidden) key_span[static_cast<size_t>(j)] = 1;
      for (size_t h = 0; h < 4; ++h) value[h * 2 + 1] = -infinity;
      bias = {1, 2, row_span, key_span, value, {}};
      clean.params.bias = &bias;
    }
    const std::vector<float> expected = clean.run();
    for (float poison : {nan, infinity, -infinity, 1e38F, -1e38F}) {
      Problem p = clean;
      for (int64_t j : hidden)
        for (int64_t h = 0; h < 2; ++h) {
          for (int64_t d = 0; d < 24; ++d) p.k.at(0, h, j, d) = poison;
          for (int64_t d = 0; d < 40; ++d) p.v.at(0, h, j, d) = poison;
        }
      EXPECT_TRUE(same_bits(expected, p.run())) << "way " << way << ", poison " << poison;
      Collected a(clean), b(p);
      AttentionParams params = clean.full_params();
      params.returns.statistics = a.list;
      clean.run(params);
      params.returns.statistics = b.list;
      EXPECT_TRUE(same_bits(expected, p.run(params)));
      EXPECT_TRUE(a.same(b)) << "statistics, way " << way << ", poison " << poison;
    }
  }
}

// By causality, window and length, where no mask is read.
TEST(AttentionMasking, B4PoisonPastTheWindow) {
  for (float poison : {nan, infinity, -infinity, 1e38F}) {
    Problem p({1, 2, 1, 30, 1100, 16, 16}, 5);
    p.params.is_causal = true;
    p.params.offset = 600;
    p.params.left_window = 80;  // rows see 520 .. 629
    const std::vector<float> expected = p.run();
    for (int64_t j = 0; j < 1100; ++j)
      if (j < 520 || j > 629)
        for (int64_t d = 0; d < 16; ++d) p.k.at(0, 0, j, d) = p.v.at(0, 0, j, d) = poison;
    EXPECT_TRUE(same_bits(expected, p.run())) << poison;
    // Keys inside the group's window that one row does not see: the last key is row 29's alone.
    for (int64_t d = 0; d < 16; ++d) p.v.at(0, 0, 629, d) = poison;
    const std::vector<float> shown = p.run();
    for (int64_t h = 0; h < 2; ++h)
      for (int64_t i = 0; i < 29; ++i)
        EXPECT_TRUE(same_bits(row_of(p, expected, 0, h, i), row_of(p, shown, 0, h, i))) << i << " " << poison;
    const std::vector<int64_t> lengths = {500};
    Problem q({1, 2, 1, 30, 1100, 16, 16}, 5);
    q.params.kv_lengths = lengths;
    const std::vector<float> shorter = q.run();
    for (int64_t j = 500; j < 1100; ++j)
      for (int64_t d = 0; d < 16; ++d) q.k.at(0, 0, j, d) = q.v.at(0, 0, j, d) = poison;
    EXPECT_TRUE(same_bits(shorter, q.run()));
  }
}

TEST(AttentionMasking, B5NanInOneKey) {
  Problem p({1, 4, 2, 60, 1100, 16, 16}, 6);
  p.params.is_causal = true;
  p.params.causal_align = CausalAlign::bottom_right;
  const std::vector<float> clean = p.run();
  const int64_t bad = 1070;  // rows from 30 on see it
  p.k.at(0, 1, bad, 3) = nan;
  const std::vector<float> o = p.run();
  for (int64_t h = 0; h < 4; ++h)
    for (int64_t i = 0; i < 60; ++i) {
      const std::vector<float> row = row_of(p, o, 0, h, i);
      if (h >= 2 && i >= 30) {
        for (float x : row) EXPECT_TRUE(std::isnan(x)) << "head " << h << ", row " << i;
      } else {
        EXPECT_TRUE(same_bits(row, row_of(p, clean, 0, h, i))) << "head " << h << ", row " << i;
      }
    }
  Collected seen(p);  // and its measures show it, nothing is zeroed
  AttentionParams params = p.full_params();
  params.returns.statistics = seen.list;
  EXPECT_TRUE(same_bits(o, p.run(params)));
  EXPECT_TRUE(std::isnan(seen.lse[3 * 60 + 59]) && std::isnan(seen.entropy[3 * 60 + 59]) &&
              std::isnan(seen.sum_squares[3 * 60 + 59]));
  EXPECT_FALSE(std::isnan(seen.lse[3 * 60 + 29]));
}

// IEEE arithmetic: inf - inf is no number, so a row with a logit of +inf is NaN, as NumPy and PyTorch have it; no
// other.
TEST(AttentionMasking, B6PlusInfinityLogits) {
  for (int count : {1, 2}) {
    Problem p({1, 1, 1, 8, 600, 4, 4}, 7);
    const std::vector<float> clean = p.run();
    p.additive = Array<float>(1, 1, 8, 600, 0.0F);
    for (int i = 0; i < count; ++i) p.additive.at(0, 0, 2, 5 + i * 590) = infinity;
    const std::vector<float> o = p.run();
    const std::vector<double> exact = p.exact();
    for (int64_t i = 0; i < 8; ++i)
      for (size_t e = 0; e < 4; ++e) {
        const float x = o[static_cast<size_t>(i) * 4 + e];
        EXPECT_EQ(std::isnan(x), i == 2);
        EXPECT_EQ(std::isnan(exact[static_cast<size_t>(i) * 4 + e]), i == 2);
        if (i != 2) {
          EXPECT_EQ(x, clean[static_cast<size_t>(i) * 4 + e]);
        }
      }
  }
}

// A logit that is -inf although no mask says so has weight 0, as a masked one: the two are one thing here.
TEST(AttentionMasking, B7MinusInfinityLogits) {
  Problem p({1, 1, 1, 3, 600, 4, 4}, 8);
  for (int64_t i = 0; i < 3; ++i) {
    p.q.at(0, 0, i, 0) = 3e38F;
    for (int64_t d = 1; d < 4; ++d) p.q.at(0, 0, i, d) = 0;
  }
  for (int64_t j = 0; j < 600; ++j) p.k.at(0, 0, j, 0) = -3e38F;
  const std::vector<float> o = p.run();
  EXPECT_TRUE(same_bits(o, std::vector<float>(12, 0.0F)));
}

TEST(AttentionMasking, B15Sinks) {
  Problem p({2, 3, 1, 9, 700, 8, 8}, 9);
  p.params.is_causal = true;
  p.params.offset = -2;  // the first two rows see nothing
  p.sinks = {0.5F, -infinity, 40};
  Collected seen(p);
  AttentionParams params = p.full_params();
  params.returns.statistics = seen.list;
  const std::vector<float> o = p.run(params);
  expect_within_bound(p, o, 41);
  // Sink only: nothing is blended, the LSE is the sink's.
  EXPECT_TRUE(same_bits(row_of(p, o, 0, 0, 0), std::vector<float>(8, 0.0F)));
  EXPECT_EQ(seen.lse[0], 0.5F);
  EXPECT_EQ(seen.lse[9], -infinity);
  // A sink of -inf is no sink, bit for bit.
  Problem without = p;
  without.sinks.clear();
  const std::vector<float> plain = without.run();
  for (int64_t i = 0; i < 9; ++i) EXPECT_TRUE(same_bits(row_of(p, plain, 0, 1, i), row_of(p, o, 0, 1, i)));
}

TEST(AttentionMasking, B29MaskTypesAndBroadcast) {
  std::mt19937 random(10);
  for (int axes = 0; axes < 8; ++axes) {
    const int64_t b = axes & 1 ? 2 : 1, h = axes & 2 ? 4 : 1, r = axes & 4 ? 13 : 1;
    Problem boolean({2, 4, 2, 13, 530, 8, 8}, 11), additive = boolean, full = boolean;
    boolean.seen = Array<uint8_t>(b, h, r, 530);
    additive.additive = Array<float>(b, h, r, 530, 0.0F);
    for (size_t i = 0; i < boolean.seen.data.size(); ++i) {
      boolean.seen.data[i] = random() % 3 != 0 ? 1 + static_cast<uint8_t>(random() % 2) : 0;  // any byte but 0 is true
      additive.additive.data[i] = boolean.seen.data[i] != 0 ? 0 : -infinity;
    }
    full.seen = mask_of(full, [&](int64_t i, int64_t j, int64_t k, int64_t l) {
      return boolean.seen.at(b == 1 ? 0 : i, h == 1 ? 0 : j, r == 1 ? 0 : k, l) != 0;
    });
    const std::vector<float> expected = full.run();
    EXPECT_TRUE(same_bits(expected, boolean.run())) << axes;
    EXPECT_TRUE(same_bits(expected, additive.run())) << axes;
    // f16 and bf16 masks: widened exactly.
    Problem half = additive;
    for (float& x : half.additive.data)
      if (x == 0) x = static_cast<float>(static_cast<int>(random() % 17)) / 8 - 1;
    const std::vector<float> wide = half.run();
    std::vector<F16> f16;
    std::vector<BF16> bf16;
    for (float x : half.additive.data) {
      uint32_t bits;
      std::memcpy(&bits, &x, 4);
      bf16.push_back({static_cast<uint16_t>(bits >> 16)});
      const auto exponent = static_cast<int>(bits >> 23 & 255);
      const uint32_t sign = bits >> 16 & 0x8000, mantissa = bits >> 13 & 0x3FF;
      f16.push_back(
          {static_cast<uint16_t>(exponent == 255 ? sign | 0x7C00
                                 : exponent == 0 ? sign
                                                 : sign | static_cast<uint32_t>(exponent - 112) << 10 | mantissa)});
    }
    AttentionParams params = half.full_params();
    params.attn_mask = TensorView<const F16>(f16.data(), {b, h, r, 530});
    EXPECT_TRUE(same_bits(wide, half.run(params))) << "f16, " << axes;
    params.attn_mask = TensorView<const BF16>(bf16.data(), {b, h, r, 530});
    EXPECT_TRUE(same_bits(wide, half.run(params))) << "bf16, " << axes;
  }
  // A mask shorter than the keys hides the rest; rank 1.
  Problem p({1, 2, 1, 5, 600, 8, 8}, 12), cut = p;
  const std::vector<uint8_t> ones(520, 1);
  AttentionParams params;
  params.attn_mask = TensorView<const uint8_t>(ones.data(), {520});
  cut.seen = mask_of(cut, [](int64_t, int64_t, int64_t, int64_t j) { return j < 520; });
  EXPECT_TRUE(same_bits(p.run(params), cut.run()));
}

}  // namespace
}  // namespace bareattn::testing
