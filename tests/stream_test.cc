// Massive activations and rank collapse against a dense f64 computation from a second run's streams, whatever the chunk
// and threads; and what is known of sinks: the massive activations stand at the first token.
#include "bareattn/stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "bareattn/error.h"
#include "model_under_test.h"

namespace bareattn {
namespace {

class Streams final : public Observer {
 public:
  explicit Streams(int layers) : x(static_cast<size_t>(layers)) {}
  bool wants(Point point, int) override { return point == Point::resid_post; }
  void see(const Event& event) override {
    for (int64_t i = 0; i < event.values.shape[0]; ++i)
      for (int64_t d = 0; d < event.values.shape[1]; ++d)
        x[static_cast<size_t>(event.layer)].push_back(double{event.values.at(i, d)});
  }
  std::vector<std::vector<double>> x;  // [L][N W]
};

TEST(Stream, IsThatOfADenseComputation) {
  const auto model = test::real_model();
  const auto tokens =
      model->tokenizer().encode("The cat sat on the mat because it was tired, and the dog lay there.", false, true);
  const auto n = static_cast<int64_t>(tokens.size()), w = int64_t{model->config().width};
  SessionOptions options;
  options.chunk = 5;
  Session session(model, options);
  Streams streams(model->config().layers);
  session.run(tokens, Logits::none, &streams);
  const auto measured = measure_stream(model, tokens);
  ASSERT_EQ(measured.size(), streams.x.size());
  int64_t massive = 0;
  for (size_t layer = 0; layer < measured.size(); ++layer) {
    const auto& x = streams.x[layer];
    const StreamLayer& ours = measured[layer];
    std::vector<double> sizes;
    for (const double v : x) sizes.push_back(std::abs(v));
    std::sort(sizes.begin(), sizes.end());
    const double median = (sizes[sizes.size() / 2] + sizes[(sizes.size() - 1) / 2]) / 2;
    EXPECT_DOUBLE_EQ(ours.median, median);
    EXPECT_EQ(std::abs(double{ours.largest.value}), sizes.back());
    EXPECT_EQ(double{ours.largest.value}, x[static_cast<size_t>(ours.largest.token * w + ours.largest.dimension)]);
    const auto count =
        std::count_if(sizes.begin(), sizes.end(), [&](double s) { return s > 100 && s > 1000 * median; });
    EXPECT_EQ(ours.massive, count);
    EXPECT_EQ(ours.tokens.empty(), count == 0);
    massive += count;
    // ||X - 1 m||^2 = ||X||^2 - N ||m||^2, another way to the same.
    double all = 0, means = 0;
    for (int64_t d = 0; d < w; ++d) {
      double mean = 0;
      for (int64_t i = 0; i < n; ++i) {
        const double v = x[static_cast<size_t>(i * w + d)];
        mean += v / static_cast<double>(n);
        all += v * v;
      }
      means += mean * mean;
    }
    EXPECT_NEAR(ours.rank_residual * ours.rank_residual, 1 - static_cast<double>(n) * means / all, 1e-12);
  }
  EXPECT_GT(massive, 0);  // SmolLM2 has them, so that the count is tried on something
}

TEST(Stream, TokensThatAreAllAlikeHaveNoRankBeyondOne) {
  const auto model = test::real_model();
  const std::vector<int32_t> one{42};
  for (const StreamLayer& layer : measure_stream(model, one, 1)) EXPECT_EQ(layer.rank_residual, 0);
}

TEST(Stream, Refuses) {
  EXPECT_THROW(measure_stream(test::real_model(), {}), InputError);
  const std::vector<int32_t> bad{1, 999999999};
  EXPECT_THROW(measure_stream(test::real_model(), bad), InputError);
  const std::vector<int32_t> fine{1, 2, 3};
  EXPECT_THROW(measure_stream(test::real_model(), fine, 0, [](int64_t, int64_t) { return false; }), Cancelled);
}

}  // namespace
}  // namespace bareattn
