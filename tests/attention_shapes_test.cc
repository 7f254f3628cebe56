// Sizes, strides, positions: items B20 to B32 of the numerics list (docs/numerics.md), B29 aside (masks).
#include <sys/mman.h>

#include "attention_support.h"

namespace bareattn::testing {
namespace {

TEST(AttentionShapes, B20EmptySizes) {
  for (int axis = 0; axis < 7; ++axis) {
    Sizes n;
    int64_t* sizes[] = {&n.batch, &n.heads, &n.kv_heads, &n.rows, &n.keys, &n.dim, &n.value_dim};
    *sizes[axis] = 0;
    if (axis == 2) n.heads = 0;
    Problem p(n, 1);
    const std::vector<float> o = p.run();
    if (axis == 4) {
      EXPECT_TRUE(same_bits(o, std::vector<float>(o.size(), 0.0F))) << "no key: 0";
    }
    if (axis == 5) expect_within_bound(p, o);  // D = 0: every score is 0, the mean of the values
    if (axis != 4 && axis != 5) {
      EXPECT_TRUE(o.empty());
    }
  }
}

TEST(AttentionShapes, B21OneRowOrOneKey) {
  for (int64_t keys : {1, 5, 512, 513}) {
    const Problem p({2, 4, 2, 1, keys, 16, 16}, 2);
    expect_within_bound(p, p.run());
  }
  for (int64_t rows : {1, 6, 7, 48, 49, 100}) {
    const Problem p({2, 4, 2, rows, 1, 16, 16}, 3);
    const std::vector<float> o = p.run();
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t h = 0; h < 4; ++h)
        for (int64_t i = 0; i < rows; ++i)
          for (int64_t e = 0; e < 16; ++e)
            EXPECT_EQ(o[static_cast<size_t>(((b * 4 + h) * rows + i) * 16 + e)], p.v.at(b, h / 2, 0, e));
  }
}

TEST(AttentionShapes, B22HeadDims) {
  for (int64_t dim : {1, 3, 7, 33, 63, 65, 80, 96, 127, 129, 192, 256, 320, 576})
    for (int64_t value_dim : {dim, int64_t{1}, int64_t{33}, int64_t{512}}) {
      const Problem p({1, 2, 1, 8, 70, dim, value_dim}, 4);
      with_every_table([&](const kernels::KernelTable&) { expect_within_bound(p, p.run()); });
    }
}

TEST(AttentionShapes, B23EveryKeyCount) {
  const auto check = [](int64_t keys) {
    Problem p({1, 1, 1, 3, keys, 8, 8}, 5);
    const std::vector<float> o = p.run();
    expect_within_bound(p, o);
    kernels::set_table_for_test(&kernels::reference_table());
    EXPECT_TRUE(same_bits(o, p.run())) << keys << " keys";
    kernels::set_table_for_test(nullptr);
  };
  for (int64_t keys = 1; keys <= 300; ++keys) check(keys);
  for (int64_t block : {512, 1024, 1536})
    for (int64_t keys : {block - 1, block, block + 1}) check(keys);
}

TEST(AttentionShapes, B24MoreRowsThanKeysAndBothAlignments) {
  for (const auto& [rows, keys] : {std::pair<int64_t, int64_t>{20, 7}, {7, 20}, {60, 700}, {100, 99}, {1, 600}})
    for (CausalAlign align : {CausalAlign::top_left, CausalAlign::bottom_right}) {
      Problem p({1, 2, 1, rows, keys, 8, 8}, 6);
      p.params.is_causal = true;
      p.params.causal_align = align;
      const std::vector<float> o = p.run();
      expect_within_bound(p, o);
      Problem masked = p;  // the definition, as a mask
      masked.params = {};
      masked.seen = Array<uint8_t>(1, 1, rows, keys);
      const int64_t shift = align == CausalAlign::top_left ? 0 : keys - rows;
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < keys; ++j) masked.seen.at(0, 0, i, j) = j <= i + shift;
      EXPECT_TRUE(same_bits(o, masked.run())) << rows << " rows, " << keys << " keys";
    }
}

TEST(AttentionShapes, B25Windows) {
  const int64_t rows = 90, keys = 620;
  for (int64_t left : {int64_t{-1}, int64_t{0}, int64_t{1}, int64_t{63}, int64_t{512}, keys - 1, keys})
    for (int64_t right : {int64_t{-1}, int64_t{0}, int64_t{1}, int64_t{17}, keys})
      for (int64_t offset : {int64_t{0}, int64_t{530}, int64_t{-40}}) {
        Problem p({1, 1, 1, rows, keys, 8, 8}, 7);
        p.params.left_window = left;
        p.params.right_window = right;
        p.params.offset = offset;
        Problem masked = p;
        masked.params = {};
        masked.seen = Array<uint8_t>(1, 1, rows, keys);
        for (int64_t i = 0; i < rows; ++i)
          for (int64_t j = 0; j < keys; ++j)
            masked.seen.at(0, 0, i, j) = (left < 0 || j >= i + offset - left) && (right < 0 || j <= i + offset + right);
        EXPECT_TRUE(same_bits(p.run(), masked.run())) << left << " " << right << " " << offset;
      }
}

TEST(AttentionShapes, B26HeadGroups) {
  for (const auto& [heads, kv_heads] : {std::pair<int64_t, int64_t>{4, 4}, {9, 3}, {8, 1}, {16, 2}, {60, 1}}) {
    const Problem p({1, heads, kv_heads, 5, 530, 16, 16}, 8);
    const std::vector<float> o = p.run();
    expect_within_bound(p, o);
    Problem repeated({1, heads, heads, 5, 530, 16, 16}, 8);  // each head with keys of its own
    repeated.q = p.q;
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t j = 0; j < 530; ++j)
        for (int64_t d = 0; d < 16; ++d) {
          repeated.k.at(0, h, j, d) = p.k.at(0, h / (heads / kv_heads), j, d);
          repeated.v.at(0, h, j, d) = p.v.at(0, h / (heads / kv_heads), j, d);
        }
    EXPECT_TRUE(same_bits(o, repeated.run()));
  }
  EXPECT_THROW(Problem({1, 4, 3, 2, 2, 8, 8}, 8).run(), std::invalid_argument);
}

TEST(AttentionShapes, B27Strides) {
  const Problem p({2, 4, 2, 9, 530, 6, 10}, 9);
  const std::vector<float> expected = p.run();
  // Every axis order, and each axis backwards.
  std::array<int, 4> order = {0, 1, 2, 3};
  do {
    for (int flips = 0; flips < 16; flips += order[0] == 0 ? 1 : 5) {
      std::vector<float> memory[3];
      const auto arranged = [&](const Array<float>& array, std::vector<float>& to) {
        TensorView<float> view;
        view.rank = 4;
        view.shape = array.shape;
        int64_t step = 1;
        for (int place = 3; place >= 0; --place) {
          view.stride[order[place]] = step;
          step *= array.shape[order[place]];
        }
        to.assign(static_cast<size_t>(step), nan);
        view.data = to.data();
        for (int axis = 0; axis < 4; ++axis)
          if (flips >> axis & 1) {
            view.data += (view.shape[axis] - 1) * view.stride[axis];
            view.stride[axis] = -view.stride[axis];
          }
        for (int64_t i = 0; i < array.shape[0]; ++i)
          for (int64_t j = 0; j < array.shape[1]; ++j)
            for (int64_t k = 0; k < array.shape[2]; ++k)
              for (int64_t l = 0; l < array.shape[3]; ++l) view.at(i, j, k, l) = array.at(i, j, k, l);
        return view;
      };
      std::vector<float> out;
      Array<float> o = p.output();
      TensorView<float> to = arranged(o, out);
      attention(arranged(p.q, memory[0]), arranged(p.k, memory[1]), arranged(p.v, memory[2]), to);
      for (int64_t i = 0; i < 2; ++i)
        for (int64_t j = 0; j < 4; ++j)
          for (int64_t k = 0; k < 9; ++k)
            for (int64_t l = 0; l < 10; ++l) o.at(i, j, k, l) = to.at(i, j, k, l);
      ASSERT_TRUE(same_bits(expected, o.data)) << "flips " << flips;
    }
  } while (std::next_permutation(order.begin(), order.end()));
  // Zero strides: one key-value head and one batch entry, repeated.
  Problem one({1, 4, 1, 9, 530, 6, 10}, 10), four({1, 4, 4, 9, 530, 6, 10}, 10);
  four.q = one.q;
  auto k = one.k.view(), v = one.v.view();
  k.shape[1] = v.shape[1] = 4;
  k.stride[1] = v.stride[1] = 0;
  Array<float> o = one.output();
  attention(four.q.view(), k, v, o.view());
  EXPECT_TRUE(same_bits(o.data, one.run()));
}

TEST(AttentionShapes, B27OverlappingOutput) {
  Problem p({1, 2, 2, 9, 9, 8, 8}, 11);
  const auto refused = [&](MutableTensor o, const char* word) {
    try {
      attention(p.q.view(), p.k.view(), p.v.view(), o);
      ADD_FAILURE() << "an output that overlaps " << word << " was taken";
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  };
  refused(p.q.view(), "q");
  refused(p.k.view(), "k");
  auto shifted = p.v.view();
  shifted.data += 40;  // reaches into v
  refused(shifted, "v");
  Array<float> o = p.output();
  for (int axis = 0; axis < 4; ++axis) {
    auto view = o.view();
    view.stride[axis] = 0;
    if (view.shape[axis] > 1) refused(view, "share memory");
  }
}

TEST(AttentionShapes, B28Unaligned) {
  const Problem p({1, 2, 1, 9, 70, 8, 8}, 12);
  const std::vector<float> expected = p.run();
  for (int shift = 1; shift < 64; ++shift) {
    std::vector<std::byte> memory[4];
    const auto moved = [&](const Array<float>& array, std::vector<std::byte>& to) {
      to.resize(array.data.size() * 4 + 128);
      void* start = to.data();
      size_t space = to.size();
      std::align(64, array.data.size() * 4, start, space);
      std::byte* data = static_cast<std::byte*>(start) + shift;
      std::memcpy(data, array.data.data(), array.data.size() * 4);
      MutableTensor tensor;
      tensor.data = data;
      tensor.rank = 4;
      tensor.shape = array.shape;
      tensor.stride = array.view().stride;
      return tensor;
    };
    Array<float> o = p.output();
    const MutableTensor to = moved(o, memory[3]);
    attention(moved(p.q, memory[0]), moved(p.k, memory[1]), moved(p.v, memory[2]), to);
    std::memcpy(o.data.data(), to.data, o.data.size() * 4);
    EXPECT_TRUE(same_bits(expected, o.data)) << shift;
  }
}

TEST(AttentionShapes, B30AlibiSlopes) {
  for (int64_t heads : {3, 5, 12}) {  // not powers of two
    Problem p({1, heads, 1, 40, 600, 8, 8}, 13);
    p.params.is_causal = true;
    p.params.offset = 560;
    for (int64_t h = 0; h < heads; ++h)
      p.slopes.push_back(static_cast<float>(std::exp2(-8.0 * static_cast<double>(h + 1) / static_cast<double>(heads))));
    const std::vector<float> o = p.run();
    expect_within_bound(p, o, 300);
    Problem masked = p;  // slope * (j - position) is one product, rounded once: the same as an additive mask
    masked.slopes.clear();
    masked.additive = Array<float>(1, heads, 40, 600);
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t i = 0; i < 40; ++i)
        for (int64_t j = 0; j < 600; ++j)
          masked.additive.at(0, h, i, j) = p.slopes[static_cast<size_t>(h)] * static_cast<float>(j - i - 560);
    EXPECT_TRUE(same_bits(o, masked.run()));
  }
}

// Elements further than 2^32 apart, in memory that is only reserved, not used; and Sq * Sk beyond 2^31.
TEST(AttentionShapes, B31LargeOffsets) {
  const Problem p({2, 2, 1, 3, 5, 8, 8}, 14);
  const std::vector<float> expected = p.run();
  for (int64_t far : {(int64_t{1} << 31) + 5, (int64_t{1} << 32) + 9}) {
    const size_t bytes = static_cast<size_t>(far + 4096) * 4;
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT_NE(memory, MAP_FAILED) << "no address space of " << bytes << " bytes";
    TensorView<float> k(static_cast<float*>(memory), {2, 1, 5, 8}, {far, 40, 8, 1});
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t j = 0; j < 5; ++j)
        for (int64_t d = 0; d < 8; ++d) k.at(b, 0, j, d) = p.k.at(b, 0, j, d);
    Array<float> o = p.output();
    attention(p.q.view(), k, p.v.view(), o.view());
    EXPECT_TRUE(same_bits(expected, o.data)) << far;
    munmap(memory, bytes);
  }
  // 40,000 x 60,000 pairs, all but 3 keys a row outside the window.
  Problem big({1, 1, 1, 40000, 60000, 4, 4}, 15);
  big.params.is_causal = true;
  big.params.causal_align = CausalAlign::bottom_right;
  big.params.left_window = 2;
  const std::vector<float> o = big.run();
  Problem last({1, 1, 1, 1, 3, 4, 4}, 15);
  for (int64_t d = 0; d < 4; ++d) last.q.at(0, 0, 0, d) = big.q.at(0, 0, 39999, d);
  for (int64_t j = 0; j < 3; ++j)
    for (int64_t d = 0; d < 4; ++d) {
      last.k.at(0, 0, j, d) = big.k.at(0, 0, 59997 + j, d);
      last.v.at(0, 0, j, d) = big.v.at(0, 0, 59997 + j, d);
    }
  expect_within_bound(last, {o.end() - 4, o.end()});
}

TEST(AttentionShapes, B32Positions) {
  // Positions are integers until the ALiBi product; 2^24 + 1 is the first that f32 cannot say.
  for (int64_t position : {int64_t{256}, int64_t{65535}, int64_t{1} << 20, (int64_t{1} << 24) + 1}) {
    const int64_t keys = 600;
    Problem p({1, 2, 1, 7, keys, 8, 8}, 16);
    p.params.is_causal = true;
    p.params.offset = position;
    p.params.left_window = std::max<int64_t>(100, position - 300);  // far out: row i sees keys 300 + i .. 599
    Collected seen(p);
    AttentionParams params = p.full_params();
    params.returns.statistics = seen.list;
    const std::vector<float> o = p.run(params);
    expect_within_bound(p, o);
    Problem masked = p;  // only what a row sees counts, not where it stands
    masked.params = {};
    masked.seen = Array<uint8_t>(1, 1, 7, keys);
    for (int64_t i = 0; i < 7; ++i)
      for (int64_t j = 0; j < keys; ++j)
        masked.seen.at(0, 0, i, j) = j >= position + i - p.params.left_window && j <= position + i;
    EXPECT_TRUE(same_bits(o, masked.run())) << position;
    for (int64_t i = 0; i < 7; ++i) {
      EXPECT_LE(seen.mean_distance[static_cast<size_t>(i)], static_cast<float>(p.params.left_window + 1));
      EXPECT_GE(seen.mean_distance[static_cast<size_t>(i)], static_cast<float>(std::max<int64_t>(0, position - 600)));
    }
  }
}

}  // namespace
}  // namespace bareattn::testing
