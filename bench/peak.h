// The multiply-add peaks of this machine, measured: what GFLOP/s are compared with. The accumulators stay in registers
// (24 of them hide the latency of two pipes): a probe that spills reads a third of the truth and flatters everything
// measured against it, hence the assembly. Used by backward_bench.cc and parts/peak.cc.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <thread>
#include <vector>

namespace bareattn::bench {

inline double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Processor time of all threads: what remains comparable when others use the machine too.
inline double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

#if defined(__x86_64__)
#define TWENTY_FOUR(X) \
  X(0)                 \
  X(1)                 \
  X(2)                 \
  X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23)
#define TWELVE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define CLEAR(i) "vpxorq %%zmm" #i ", %%zmm" #i ", %%zmm" #i "\n\t"
#define FMA(i) "vfmadd231ps %%zmm30, %%zmm31, %%zmm" #i "\n\t"
#define DOT(i) "vdpbf16ps %%zmm30, %%zmm31, %%zmm" #i "\n\t"
#define CLEAR_Y(i) "vpxor %%ymm" #i ", %%ymm" #i ", %%ymm" #i "\n\t"
#define FMA_Y(i) "vfmadd231ps %%ymm14, %%ymm15, %%ymm" #i "\n\t"

// Floating-point operations of `rounds` loops.
inline double fma512(int64_t rounds) {
  int64_t left = rounds;
  asm volatile(TWENTY_FOUR(CLEAR) CLEAR(30) CLEAR(31) "1:\n\t" TWENTY_FOUR(FMA) "dec %0\n\tjnz 1b"
               : "+r"(left)::"cc", "memory");
  return static_cast<double>(rounds) * 24 * 16 * 2;
}
inline double dot512(int64_t rounds) {
  int64_t left = rounds;
  asm volatile(TWENTY_FOUR(CLEAR) CLEAR(30) CLEAR(31) "1:\n\t" TWENTY_FOUR(DOT) "dec %0\n\tjnz 1b"
               : "+r"(left)::"cc", "memory");
  return static_cast<double>(rounds) * 24 * 32 * 2;
}
inline double fma256(int64_t rounds) {
  int64_t left = rounds;
  asm volatile(TWELVE(CLEAR_Y) CLEAR_Y(14) CLEAR_Y(15) "1:\n\t" TWELVE(FMA_Y) "dec %0\n\tjnz 1b"
               : "+r"(left)::"cc", "memory");
  return static_cast<double>(rounds) * 12 * 8 * 2;
}
#endif

/// Runs the loop that this machine has; its floating-point operations, 0 where there is none.
inline double fma_loops([[maybe_unused]] int64_t rounds) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return fma512(rounds);
  if (__builtin_cpu_supports("fma")) return fma256(rounds);
#endif
  return 0;
}

/// GFLOP/s of `threads` threads at once, about 2 ms, by the clock and by processor time; 0 where there is no probe.
struct Speed {
  double clock, cpu;
};
inline Speed fma_peak(int threads) {
  constexpr int64_t rounds = 500'000;
  std::vector<std::thread> others;
  const double start = seconds(), start_cpu = cpu_seconds();
  for (int i = 1; i < threads; ++i) others.emplace_back([] { fma_loops(rounds); });
  const double work = fma_loops(rounds) * threads * 1e-9;
  for (auto& thread : others) thread.join();
  return {work / (seconds() - start), work * threads / (cpu_seconds() - start_cpu)};
}

inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

}  // namespace bareattn::bench
