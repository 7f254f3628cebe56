// The backward pass of causal attention in f32: GFLOP/s over visible pairs (10 D per pair and head: five products) and
// the share of the FMA peak, measured before every call of the same run; by the
// clock, and by processor time, which still tells the truth when others use the machine.
// Arguments: Hq, Hkv, D, N, threads. The same shapes in PyTorch: bench/backward_torch.py.
#include <bareattn/attention_backward.h>
#include <benchmark/benchmark.h>

#include <array>
#include <random>
#include <vector>

#include "peak.h"

namespace {

using namespace bareattn;  // NOLINT: a program

std::vector<float> random_values(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& x : values) x = normal(random);
  return values;
}

void backward(benchmark::State& state) {
  const int64_t heads = state.range(0), kv_heads = state.range(1), dim = state.range(2), n = state.range(3);
  const int threads = static_cast<int>(state.range(4));
  const auto q = random_values(heads * n * dim, 1), k = random_values(kv_heads * n * dim, 2),
             v = random_values(kv_heads * n * dim, 3), d_o = random_values(heads * n * dim, 4);
  std::vector<float> o(q.size()), lse(static_cast<size_t>(heads * n)), d_q(q.size()), d_k(k.size()), d_v(v.size());
  using In = TensorView<const float>;
  AttentionStatistics statistics;
  statistics.row_stride = n;
  statistics.lse = lse.data();
  AttentionParams params;
  params.is_causal = true;
  params.threads = threads;
  params.returns.statistics = {&statistics, 1};
  const AttentionForward forward{In(q.data(), {1, heads, n, dim}), In(k.data(), {1, kv_heads, n, dim}),
                                 In(v.data(), {1, kv_heads, n, dim}), In(o.data(), {1, heads, n, dim}),
                                 In(lse.data(), {1, heads, n})};
  attention(forward.q, forward.k, forward.v, TensorView<float>(o.data(), {1, heads, n, dim}), params);
  params.returns = {};
  AttentionGradients gradients;
  gradients.d_q = {d_q.data(), {1, heads, n, dim}};
  gradients.d_k = {d_k.data(), {1, kv_heads, n, dim}};
  gradients.d_v = {d_v.data(), {1, kv_heads, n, dim}};
  const In d_o_view(d_o.data(), {1, heads, n, dim});
  attention_backward(forward, d_o_view, gradients, params);
  const double flops = 10.0 * static_cast<double>(dim * heads * n) * static_cast<double>(n + 1) / 2;
  std::vector<double> speed, speed_cpu, peak, peak_cpu;
  for (auto _ : state) {
    const bench::Speed top = bench::fma_peak(threads);
    const double start = bench::seconds(), start_cpu = bench::cpu_seconds();
    attention_backward(forward, d_o_view, gradients, params);
    const double time = bench::seconds() - start, cpu = bench::cpu_seconds() - start_cpu;
    speed.push_back(flops / time * 1e-9);
    speed_cpu.push_back(flops / cpu * threads * 1e-9);
    peak.push_back(top.clock);
    peak_cpu.push_back(top.cpu);
    state.SetIterationTime(time);
  }
  const auto report = [&](const char* gflops, const char* share, const auto& given, const auto& top) {
    state.counters[gflops] = bench::median(given);
    if (bench::median(top) > 0) state.counters[share] = 100 * bench::median(given) / bench::median(top);
  };
  report("GFLOP/s", "% of peak", speed, peak);
  report("GFLOP/s by CPU time", "% of peak by CPU time", speed_cpu, peak_cpu);
}

void shapes(benchmark::internal::Benchmark* bench) {
  for (const int64_t threads : {1, 2})
    for (const auto& [heads, kv_heads, dim, n] :
         {std::array<int64_t, 4>{9, 3, 64, 512}, {9, 3, 64, 2048}, {9, 3, 64, 8192}, {32, 8, 128, 2048}})
      bench->Args({heads, kv_heads, dim, n, threads});
}
BENCHMARK(backward)
    ->ArgNames({"Hq", "Hkv", "D", "N", "threads"})
    ->Apply(shapes)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
