// What this machine can do at most: fused multiply-adds in f32, pair dots in bf16, and reading memory, on one thread
// and on all. Every percentage in the figures is of these, measured in the same run. The loops are those of
// bench/peak.h;
// `./x bench attention` and `./x bench look` run this program.
#include "peak.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

namespace bench = bareattn::bench;

namespace {

// Work per second over `threads` threads at once: the best of five, since anything slower was somebody else's time.
double rate(int threads, const std::function<double(int)>& work) {
  double best = 0;
  for (int repeat = 0; repeat < 5; ++repeat) {
    std::vector<double> done(static_cast<size_t>(threads));
    std::vector<std::thread> crew;
    const double start = bench::seconds();
    for (int t = 0; t < threads; ++t) crew.emplace_back([&, t] { done[static_cast<size_t>(t)] = work(t); });
    for (auto& thread : crew) thread.join();
    double sum = 0;
    for (double d : done) sum += d;
    best = std::max(best, sum / (bench::seconds() - start));
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
      row["f32_gflops"] = rate(threads, [](int) { return bench::fma512(20'000'000); }) / 1e9;
    else if (__builtin_cpu_supports("fma"))
      row["f32_gflops"] = rate(threads, [](int) { return bench::fma256(40'000'000); }) / 1e9;
    if (__builtin_cpu_supports("avx512bf16"))
      row["bf16_gflops"] = rate(threads, [](int) { return bench::dot512(20'000'000); }) / 1e9;
#endif
    row["read_gbytes"] = rate(threads,
                              [&](int t) {
                                const auto& mine = memory[static_cast<size_t>(t)];
                                uint64_t sum[16] = {};
                                for (size_t i = 0; i < mine.size(); i += 16)
                                  for (size_t k = 0; k < 16; ++k) sum[k] += mine[i + k];
                                uint64_t total = 0;
                                for (uint64_t s : sum) total += s;
                                return total == 0 ? 0.0 : static_cast<double>(mine.size() * 8);
                              }) /
                         1e9;
    out.push_back(row);
    if (threads == all) break;
  }
  fmt::print("{}\n", out.dump(1));
}
