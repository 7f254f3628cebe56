// Attention over numbers so small that they are denormal, beside ordinary ones. Denormals are kept, never flushed (the
// contract), and what that costs is the processor's: at most twice the time on the AMD machines this was tried on;
// Intel's cores take an assist for each multiply-add that meets one: 70 times the time on the one that was measured.
#include <bareattn/attention.h>
#include <benchmark/benchmark.h>

#include <random>
#include <vector>

namespace {

void prefill(benchmark::State& state, float size) {
  using namespace bareattn;  // NOLINT: a program
  constexpr int64_t heads = 2, rows = 64, keys = 512, dim = 64;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  const auto values = [&](int64_t n) {
    std::vector<float> out(static_cast<size_t>(n));
    for (float& x : out) x = normal(random) * size;
    return out;
  };
  const auto q = values(heads * rows * dim), k = values(keys * dim), v = values(keys * dim);
  std::vector<float> o(q.size());
  AttentionParams params;
  params.threads = 1;
  for (auto _ : state)
    attention(TensorView<const float>(q.data(), {1, heads, rows, dim}),
              TensorView<const float>(k.data(), {1, 1, keys, dim}),
              TensorView<const float>(v.data(), {1, 1, keys, dim}), TensorView<float>(o.data(), {1, heads, rows, dim}),
              params);
}

BENCHMARK_CAPTURE(prefill, ordinary, 1.0F)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(prefill, denormal, 1e-40F)->Unit(benchmark::kMicrosecond);

}  // namespace

BENCHMARK_MAIN();
