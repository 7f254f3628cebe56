// The measure `gathered` of `look` and `measures`: the key after the first that got the largest share of the weight of
// all rows that could see it, received_k / (N - k), against the dense weights in f64. The command makes it, not the
// library, so its source is part of this program.
#include <gtest/gtest.h>

#include "gguf_builder.h"
#include "observe_dense.h"
#include "reports/sweep_json.cc"

namespace bareattn {
namespace {

TEST(Gathered, IsTheLargestShareOfDenseWeights) {
  const test::TemporaryFile file(test::tiny_llama().build());
  const auto model = Model::load(file.path(), {.precision = Precision::f32, .threads = 2});
  constexpr int64_t n = 150;
  const auto tokens = test::byte_tokens(n);
  test::QkRecorder run;
  Session(model).run(tokens, Logits::none, &run);
  const auto observation = observe(model, tokens, {}, 2);
  for (int layer = 0; layer < 2; ++layer)
    for (int head = 0; head < 4; ++head) {
      const auto dense = test::dense_head(run.q.at({layer, head}).data(), run.k.at({layer, head / 2}).data(), n, 16);
      int64_t key = -1;
      double share = -1;
      for (int64_t k = 1; n - k > std::max<int64_t>(16, n / 8); ++k) {  // rows that can see it
        double received = 0;
        for (int64_t i = k; i < n; ++i) received += dense.weights[static_cast<size_t>(i)][static_cast<size_t>(k)];
        if (received / static_cast<double>(n - k) > share) key = k, share = received / static_cast<double>(n - k);
      }
      const cli::Gathered gathered = cli::gathered(*observation, {layer, head});
      EXPECT_EQ(gathered.key, key) << layer << "." << head;
      EXPECT_NEAR(gathered.share, share, 1e-5) << layer << "." << head;
    }
  const auto few = observe(model, test::byte_tokens(16), {}, 1);
  EXPECT_EQ(cli::gathered(*few, {0, 0}).key, -1);
  EXPECT_TRUE(cli::gathered_json(*few, {0, 0}).is_null());
}

}  // namespace
}  // namespace bareattn
