// The f32 multiply-add peak of this machine, measured: what GFLOP/s are compared with. The probe's accumulators stay in
// registers (24 of them hide the latency of two pipes); a probe that spills reads a third of the truth.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bareattn::bench {

inline double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Processor time of all threads: what remains comparable when others use the machine too.
inline double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

#if defined(__x86_64__)
__attribute__((target("avx512f"), noinline)) inline float fma_loop_512(int64_t steps) {
  __m512 sum[24], x = _mm512_set1_ps(0.999F), y = _mm512_set1_ps(1e-3F);
  for (auto& s : sum) s = y;
  for (int64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 24
    for (auto& s : sum) s = _mm512_fmadd_ps(s, x, y);
  }
  for (int i = 1; i < 24; ++i) sum[0] = _mm512_add_ps(sum[0], sum[i]);
  return _mm512_reduce_add_ps(sum[0]);
}
__attribute__((target("avx2,fma"), noinline)) inline float fma_loop_256(int64_t steps) {
  __m256 sum[12], x = _mm256_set1_ps(0.999F), y = _mm256_set1_ps(1e-3F);
  for (auto& s : sum) s = y;
  for (int64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 12
    for (auto& s : sum) s = _mm256_fmadd_ps(s, x, y);
  }
  for (int i = 1; i < 12; ++i) sum[0] = _mm256_add_ps(sum[0], sum[i]);
  return _mm256_cvtss_f32(sum[0]);
}
/// Runs the loop; flops per step.
inline int64_t fma_steps(int64_t steps) {
  [[maybe_unused]] static volatile float kept;
  if (__builtin_cpu_supports("avx512f")) {
    kept = fma_loop_512(steps);
    return 24 * 16 * 2;
  }
  if (!__builtin_cpu_supports("fma")) return 0;
  kept = fma_loop_256(steps);
  return 12 * 8 * 2;
}
#else
inline int64_t fma_steps(int64_t) { return 0; }  // no probe yet: shares of the peak are not reported
#endif

/// GFLOP/s of `threads` threads at once, about 2 ms, by the clock and by processor time; 0 where there is no probe.
struct Speed {
  double clock, cpu;
};
inline Speed fma_peak(int threads) {
  constexpr int64_t steps = 500000;
  std::vector<std::thread> others;
  const double start = seconds(), start_cpu = cpu_seconds();
  for (int i = 1; i < threads; ++i) others.emplace_back([] { fma_steps(steps); });
  const int64_t flops = fma_steps(steps);
  for (auto& thread : others) thread.join();
  const double work = static_cast<double>(flops * steps * threads) * 1e-9;
  return {work / (seconds() - start), work * threads / (cpu_seconds() - start_cpu)};
}

inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

}  // namespace bareattn::bench
