// The pyramid as the page has it, 8 bits a cell, against the dense weights of the same run at every level: the error
// that docs/page-format.md states (half a step of the logarithmic code) and what the fixed point of the sums adds, half
// a unit of 2^-27 per weight. Levels above the base are made by merging, as the page's are.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "bareattn/attention.h"
#include "bareattn/trace.h"
#include "folder.h"
#include "gguf_builder.h"
#include "view/encode.h"
#include "view/page_sections.h"

namespace bareattn {
namespace {

constexpr double weight_step = 0x1p-28;

TEST(Pyramid, EightBitsAreWithinTheStatedErrorOfTheDenseWeights) {
  constexpr int64_t n = 700;  // 44 blocks of 16, the last one short
  const test::TemporaryFile file(test::tiny_llama().build());
  const test::Folder folder;
  const auto model = Model::load(file.path(), {.precision = Precision::f32, .threads = 2});
  write_trace(folder / "run", model, test::byte_tokens(n), {.store = Store::f32}, {}, 2);
  const auto trace = Trace::open(folder / "run");
  double worst = 0;
  int64_t small = 0, cells = 0;
  for (const HeadId head : {HeadId{0, 0}, HeadId{0, 3}, HeadId{1, 1}, HeadId{1, 2}}) {
    const std::vector<float> weights = trace->tile(head, {0, n}, {0, n});
    for (const int merge : {1, 2, 4, 16}) {
      const view::PoolLayout layout = view::pool_layout(*trace, merge);
      ASSERT_EQ(layout.block, 16 * merge);
      const view::PooledMap map = view::pooled_map(*trace, head, layout);
      const view::Bytes bytes = view::pool_bytes(map);
      const int64_t squares = layout.blocks * (layout.blocks + 1) / 2;
      for (int64_t r = 0; r < layout.blocks; ++r)
        for (int64_t c = 0; c <= r; ++c) {
          const int64_t row_end = std::min(n, (r + 1) * layout.block), key_end = std::min(n, (c + 1) * layout.block);
          double sum = 0, largest = 0;
          for (int64_t i = r * layout.block; i < row_end; ++i)
            for (int64_t j = c * layout.block; j < key_end; ++j) {
              const double p = static_cast<double>(weights[static_cast<size_t>(i * n + j)]);
              sum += p, largest = std::max(largest, p);
            }
          const double share = sum / static_cast<double>(row_end - r * layout.block);
          const auto at = static_cast<size_t>(r * (r + 1) / 2 + c);
          const auto check = [&](uint8_t code, double value, double lost) {
            ++cells;
            const double shown = view::log_decode(code);
            if (value < 0x1p-20 - lost) {  // below the scale: never more than its smallest step, never nothing
              ++small;
              ASSERT_LE(shown, 0x1p-20 * (1 + view::log_code_relative_error));
              if (value > 0) {
                ASSERT_GT(code, 0);
              }
              return;
            }
            const double allowed = view::log_code_relative_error * value + lost * (1 + view::log_code_relative_error);
            ASSERT_NEAR(shown, value, allowed)
                << "head " << head.layer << "." << head.head << " level " << merge << " cell " << r << ", " << c;
            worst = std::max(worst, std::abs(shown - value) / allowed);
          };
          check(bytes[at], share, static_cast<double>(layout.block) * weight_step + 1e-6 * share);
          check(bytes[static_cast<size_t>(squares) + at], largest, weight_step + 1e-6 * largest);
        }
    }
  }
  EXPECT_GT(worst, 0.9) << "the stated error is too wide to mean anything";
  EXPECT_GT(cells, 1000);
  EXPECT_LT(small, cells / 2) << "most cells say nothing about the error";
}

}  // namespace
}  // namespace bareattn
