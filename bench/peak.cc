// What this machine can do at most: fused multiply-adds in f32, pair dots in bf16, and reading memory, on one thread and
// on all. Every percentage in the figures is of these, measured in the same run. Accumulators stay in registers (a probe
// that spills reads a third of the truth and flatters everything measured against it): hence the assembly.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string_view>
#include <thread>
#include <vector>

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

#if defined(__x86_64__)
#define TWENTY_FOUR(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23)
#define TWELVE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define CLEAR(i) "vpxorq %%zmm" #i ", %%zmm" #i ", %%zmm" #i "\n\t"
#define FMA(i) "vfmadd231ps %%zmm30, %%zmm31, %%zmm" #i "\n\t"
#define DOT(i) "vdpbf16ps %%zmm30, %%zmm31, %%zmm" #i "\n\t"
#define CLEAR_Y(i) "vpxor %%ymm" #i ", %%ymm" #i ", %%ymm" #i "\n\t"
#define FMA_Y(i) "vfmadd231ps %%ymm14, %%ymm15, %%ymm" #i "\n\t"

// Floating-point operations of `rounds` loops.
double fma512(int64_t rounds) {
  int64_t left = rounds;
  asm volatile(TWENTY_FOUR(CLEAR) CLEAR(30) CLEAR(31) "1:\n\t" TWENTY_FOUR(FMA) "dec %0\n\tjnz 1b" : "+r"(left)::"cc", "memory");
  return static_cast<double>(rounds) * 24 * 16 * 2;
}
double dot512(int64_t rounds) {
  int64_t left = rounds;
  asm volatile(TWENTY_FOUR(CLEAR) CLEAR(30) CLEAR(31) "1:\n\t" TWENTY_FOUR(DOT) "dec %0\n\tjnz 1b" : "+r"(left)::"cc", "memory");
  return static_cast<double>(rounds) * 24 * 32 * 2;
}
double fma256(int64_t rounds) {
  int64_t left = rounds;
  asm volatile(TWELVE(CLEAR_Y) CLEAR_Y(14) CLEAR_Y(15) "1:\n\t" TWELVE(FMA_Y) "dec %0\n\tjnz 1b" : "+r"(left)::"cc", "memory");
  return static_cast<double>(rounds) * 12 * 8 * 2;
}
#endif

// Work per second over `threads` threads at once: the best of five, since anything slower was somebody else's time.
double rate(int threads, const std::function<double(int)>& work) {
  double best = 0;
  for (int repeat = 0; repeat < 5; ++repeat) {
    std::vector<double> done(static_cast<size_t>(threads));
    std::vector<std::thread> crew;
    const double start = now();
    for (int t = 0; t < threads; ++t) crew.emplace_back([&, t] { done[static_cast<size_t>(t)] = work(t); });
    for (auto& thread : crew) thread.join();
    double sum = 0;
    for (double d : done) sum += d;
    best = std::max(best, sum / (now() - start));
  }
  return best;
}

}  // namespace

int main() {
  nlohmann::json out;
  const int all = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  std::vector<std::vector<uint64_t>> memory(static_cast<size_t>(all), std::vector<uint64_t>(size_t{256} << 17, 1));
  for (const int threads : {1, all}) {
    nlohmann::json row;
    row["threads"] = threads;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
      row["f32_gflops"] = rate(threads, [](int) { return fma512(20'000'000); }) / 1e9;
    else if (__builtin_cpu_supports("fma"))
      row["f32_gflops"] = rate(threads, [](int) { return fma256(40'000'000); }) / 1e9;
    if (__builtin_cpu_supports("avx512bf16"))
      row["bf16_gflops"] = rate(threads, [](int) { return dot512(20'000'000); }) / 1e9;
#endif
    row["read_gbytes"] = rate(threads, [&](int t) {
                           const auto& mine = memory[static_cast<size_t>(t)];
                           uint64_t sum[16] = {};
                           for (size_t i = 0; i < mine.size(); i += 16)
                             for (size_t k = 0; k < 16; ++k) sum[k] += mine[i + k];
                           uint64_t total = 0;
                           for (uint64_t s : sum) total += s;
                           return total == 0 ? 0.0 : static_cast<double>(mine.size() * 8);
                         }) / 1e9;
    out.push_back(row);
    if (threads == all) break;
  }
  fmt::print("{}\n", out.dump(1));
}
