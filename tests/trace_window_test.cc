// Traces of runs with a window: what a row does not see is nothing, in weights and in scores, on both sides of every
// slice of 2,048 keys; what it sees is its definition in f64.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "bareattn/trace.h"
#include "folder.h"
#include "gguf_builder.h"

namespace bareattn {
namespace {

constexpr int layer = 1, head_index = 1, kv_head = 0;

class OneHead final : public Observer {
 public:
  bool wants(Point point, int at) override { return at == layer && (point == Point::rot_q || point == Point::rot_k); }
  void see(const Event& event) override {
    const bool is_q = event.point == Point::rot_q;
    for (int64_t i = 0; i < event.values.shape[0]; ++i)
      for (int64_t d = 0; d < event.values.shape[2]; ++d)
        (is_q ? q : k).push_back(event.values.at(i, is_q ? head_index : kv_head, d));
  }
  std::vector<float> q, k;  // [N, D]
};

// A row of a long text sees its window and the sinks alone, whatever part of it is asked for.
TEST(TraceWindow, HoldsAcrossSlices) {
  const test::Folder folder;
  constexpr int64_t n = 5000, window = 300, sinks = 3;
  const Reach reach{.beyond = Beyond::extrapolate, .window = window, .sinks = sinks};
  const auto tokens = test::byte_tokens(n);
  const test::TemporaryFile file(test::tiny_llama().build());
  const auto model = Model::load(file.path(), {.precision = Precision::f32, .threads = 2});
  write_trace(folder / "a", model, tokens, {.store = Store::f32}, reach, 2);
  const auto trace = Trace::open(folder / "a");
  OneHead run;
  run_by_layer(model, tokens, run, {.threads = 2, .reach = reach});
  const HeadId head{layer, head_index};
  const int64_t dim = model->config().head_dim;
  const std::vector<float>&q = run.q, &k = run.k;
  const auto seen = [&](int64_t i, int64_t j) { return j <= i && (j < sinks || j >= i - window); };
  for (const int64_t i : {0, 2, 302, 2047, 2048, 2350, 3000, 4999}) {
    std::vector<double> want(static_cast<size_t>(i + 1));
    double sum = 0;
    for (int64_t j = 0; j <= i; ++j) {
      double dot = 0;
      for (int64_t d = 0; d < dim; ++d)
        dot += double{q[static_cast<size_t>(i * dim + d)]} * double{k[static_cast<size_t>(j * dim + d)]};
      sum += want[static_cast<size_t>(j)] = seen(i, j) ? std::exp(dot / std::sqrt(static_cast<double>(dim))) : 0;
    }
    const auto weights = trace->row_weights(head, i);
    const auto scores = trace->scores(head, {i, i + 1}, {0, i + 1});
    const int64_t from = std::max<int64_t>(0, i - 2500);
    const auto part = trace->tile(head, {i, i + 1}, {from, i + 1});
    for (int64_t j = 0; j <= i; ++j) {
      const auto at = static_cast<size_t>(j);
      ASSERT_NEAR(weights[at], want[at] / sum, 1e-4 * want[at] / sum) << i << " " << j;
      ASSERT_EQ(std::isinf(scores[at]), !seen(i, j)) << i << " " << j;
      if (j >= from) {
        ASSERT_EQ(part[static_cast<size_t>(j - from)], weights[at]);
      }
    }
  }
}

}  // namespace
}  // namespace bareattn
