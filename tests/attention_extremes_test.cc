// Windows, offsets and counts at the ends of their types, against a count in 128 bits of which keys a row sees: what is
// not refused is right, in the pass, in the reference, in weights() and in the backward pass.
#include <gtest/gtest.h>

#include <limits>
#include <optional>
#include <stdexcept>

#include "attention_support.h"
#include "bareattn/attention_backward.h"

namespace bareattn::testing {
namespace {

using Wide = __int128;
constexpr int64_t most = std::numeric_limits<int64_t>::max(), least = std::numeric_limits<int64_t>::min();
constexpr int64_t rows = 3, keys = 5, dim = 4;

struct Place {
  int64_t left, right, first;  // first: the position of row 0
  bool causal;
};

bool sees(const Place& place, int64_t row, int64_t key) {
  const Wide position = Wide{place.first} + row;
  if (place.left >= 0 && key < position - place.left) return false;
  const int64_t right = place.causal ? 0 : place.right;
  return right < 0 || key <= position + right;
}

Problem problem(const Place& place) {
  Problem p({1, 1, 1, rows, keys, dim, dim}, 11);
  p.params.left_window = place.left;
  p.params.right_window = place.right;
  p.params.is_causal = place.causal;
  p.params.offset = place.first;
  return p;
}

/// The same as a mask, which has no numbers to go wrong.
Problem masked(const Place& place) {
  Problem p({1, 1, 1, rows, keys, dim, dim}, 11);
  p.seen = Array<uint8_t>(1, 1, rows, keys);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < keys; ++j) p.seen.at(0, 0, i, j) = sees(place, i, j) ? 1 : 0;
  return p;
}

std::vector<float> weights_of(const Problem& p) {
  Array<float> out(1, 1, rows, keys);
  weights(p.q.view(), p.k.view(), out.view(), {}, p.full_params());
  return out.data;
}

std::vector<float> gradient_of(const Problem& p) {
  Collected seen(p);
  AttentionParams params = p.full_params();
  params.returns.statistics = seen.list;
  Array<float> o = p.output(), d_k = p.k;
  attention(p.q.view(), p.k.view(), p.v.view(), o.view(), params);
  AttentionGradients out;
  out.d_k = d_k.view();
  const TensorView<const float> lse(seen.lse.data(), {1, 1, rows});
  attention_backward({p.q.view(), p.k.view(), p.v.view(), o.view(), lse}, p.q.view(), out, p.full_params());
  return d_k.data;
}

TEST(AttentionExtremes, WindowsAndOffsets) {
  const int64_t widths[] = {-1, 0, 1, 2, 4, 1 << 20, most / 2, most / 2 + 1, most / 2 + 2, most - 4, most - 1, most};
  const int64_t far = int64_t{1} << 30;
  const int64_t offsets[] = {0, 1, 4, 5, 9, -1, -3, 1 << 20, far - 1, far, -far, -far + 1};
  int64_t some = 0, nothing = 0;
  for (const int64_t left : widths)
    for (const int64_t right : widths)
      for (const int64_t first : offsets)
        for (const bool causal : {false, true}) {
          const Place place{left, right, first, causal};
          const Problem p = problem(place), same = masked(place);
          const auto where = ::testing::Message()
                             << "left " << left << ", right " << right << ", offset " << first << ", causal " << causal;
          const std::vector<float> o = p.run();
          ASSERT_TRUE(same_bits(o, same.run())) << where;
          ASSERT_TRUE(same_bits(p.exact(), same.exact())) << where;
          ASSERT_TRUE(same_bits(weights_of(p), weights_of(same))) << where;
          ASSERT_TRUE(same_bits(gradient_of(p), gradient_of(same))) << where;
          (o == std::vector<float>(o.size()) ? nothing : some) += 1;
        }
  EXPECT_GT(some, 500);
  EXPECT_GT(nothing, 100);
}

TEST(AttentionExtremes, DistancesFarOut) {
  for (const int64_t first : {int64_t{1} << 30, -(int64_t{1} << 30)}) {
    const Problem p = problem({-1, -1, first, false});
    Collected seen(p);
    AttentionParams params = p.full_params();
    params.returns.statistics = seen.list;
    p.run(params);
    for (int64_t i = 0; i < rows; ++i)
      EXPECT_NEAR(seen.mean_distance[static_cast<size_t>(i)], static_cast<double>(first + i), 300) << first;
  }
}

TEST(AttentionExtremes, WhatCannotBeIsRefused) {
  const auto refused = [](const char* argument, const std::function<void(Problem&)>& change) {
    Problem p({1, 2, 1, rows, keys, dim, dim}, 11);
    change(p);
    for (const bool reference : {false, true}) {
      try {
        reference ? static_cast<void>(p.exact()) : static_cast<void>(p.run());
        ADD_FAILURE() << argument << " is taken";
      } catch (const std::invalid_argument& error) {
        EXPECT_EQ(std::string(error.what()).rfind(argument, 0), 0U) << error.what();
      }
    }
  };
  for (const int64_t offset : {least, least + 1, -(int64_t{1} << 30) - 1, (int64_t{1} << 30) + 1, most})
    refused("offset", [=](Problem& p) { p.params.offset = offset; });
  for (const int64_t window : {least, least + 1, int64_t{-2}}) {
    refused("left_window", [=](Problem& p) { p.params.left_window = window; });
    refused("right_window", [=](Problem& p) { p.params.right_window = window; });
  }
  for (const int threads : {std::numeric_limits<int>::min(), -1, std::numeric_limits<int>::max()})
    refused("threads", [=](Problem& p) { p.params.threads = threads; });
  for (const int64_t end : {least, int64_t{-1}, keys + 1, most}) {
    static std::vector<int64_t> lengths, bounds_q, bounds_k;
    refused("kv_lengths", [=](Problem& p) {
      lengths = {end};
      p.params.kv_lengths = lengths;
    });
    refused("cu_seqlens", [=](Problem& p) {
      bounds_q = {0, rows, rows}, bounds_k = {0, end, keys};
      if (end == -1) bounds_k = {least, most, keys};
      p.params.cu_seqlens_q = bounds_q, p.params.cu_seqlens_k = bounds_k;
    });
    refused("full_rows", [=](Problem& p) {
      lengths = {end};
      static float room[64];
      p.params.returns.full_rows = lengths;
      p.params.returns.full_weights = room;
    });
  }
  for (const int spans : {std::numeric_limits<int>::min(), -1, 0, 257, std::numeric_limits<int>::max()}) {
    static SpanBias bias;
    static const float value[2] = {};
    refused("bias.row_spans", [=](Problem& p) {
      bias.row_spans = spans, bias.key_spans = 1, bias.value = value;
      p.params.bias = &bias;
    });
    refused("bias.key_spans", [=](Problem& p) {
      bias.row_spans = 1, bias.key_spans = spans, bias.value = value;
      p.params.bias = &bias;
    });
  }
}

TEST(AttentionExtremes, RectanglesAndCaches) {
  const Problem p = problem({-1, -1, 0, false});
  for (const int64_t end : {least, int64_t{-2}, keys + 1, most}) {
    Array<float> out(1, 1, rows, keys);
    for (const Rectangle& rectangle :
         {Rectangle{0, end, 0, -1}, Rectangle{end, -1, 0, -1}, Rectangle{0, -1, 0, end}, Rectangle{0, -1, end, -1}})
      EXPECT_THROW(weights(p.q.view(), p.k.view(), out.view(), rectangle), std::invalid_argument) << end;
    AttentionCache cache(1, 1, dim, dim);
    const int32_t page = 0;
    const std::vector<int64_t> length = {end};
    EXPECT_THROW(cache.append(PagedKeyValues{p.k.view(), p.v.view(), {&page, {1, 1}}, length}), std::invalid_argument);
    const std::vector<int64_t> counts = {end};
    EXPECT_THROW(cache.append(p.k.view(), p.v.view(), counts), std::invalid_argument) << end;
    EXPECT_THROW(cache.truncate(0, end), std::invalid_argument) << end;
    EXPECT_THROW(cache.truncate(end, 0), std::invalid_argument) << end;
    EXPECT_THROW(AttentionCache(1, end == keys + 1 ? (1 << 24) + 1 : end, dim, dim), std::invalid_argument) << end;
  }
}

}  // namespace
}  // namespace bareattn::testing
