// Prefill of a whole model, with everything observed and with nothing, in both precisions of the projections and of
// attention: tokens a second.
// prefill MODEL [-t THREADS] [TOKENS...]; JSON on standard output; without -t on one thread and on all. The rest
// (peers, whole-process time and memory) is look.py's.
#include <bareattn/bareattn.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Blind final : bareattn::Observer {
  bool wants(bareattn::Point, int) override { return false; }
  void see(const bareattn::Event&) override {}
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return fmt::print(stderr, "prefill MODEL [-t THREADS] [TOKENS...]\n"), 2;
  std::vector<int> crews{1, static_cast<int>(std::thread::hardware_concurrency())};
  std::vector<int64_t> lengths;
  for (int i = 2; i < argc; ++i)
    if (std::string_view(argv[i]) == "-t" && i + 1 < argc)
      crews = {std::atoi(argv[++i])};
    else
      lengths.push_back(std::atoll(argv[i]));
  if (lengths.empty()) lengths = {512, 2048};
  nlohmann::json out;
  using bareattn::Precision;
  for (const auto [precision, attention] : {std::pair(Precision::f32, Precision::f32),
                                            {Precision::bf16, Precision::f32},
                                            {Precision::bf16, Precision::bf16}}) {
    bareattn::LoadOptions load;
    load.precision = precision;
    load.attention = attention;
    const double start = now();
    const auto model = bareattn::Model::load(argv[1], load);
    const double loaded = now() - start;
    for (const int64_t length : lengths) {
      std::vector<int32_t> tokens;
      for (int64_t i = 0; i < length; ++i) tokens.push_back(static_cast<int32_t>(1000 + i * 7919 % 40000));
      for (const int threads : crews) {
        std::vector<double> bare, layered, observed, kept;
        for (int repeat = 0; repeat < (length > 4096 ? 3 : 5); ++repeat) {  // in turn: a drift of the machine hits both
          bareattn::Session session(model, {.threads = threads});
          double at = now();
          session.run(tokens, bareattn::Logits::last);
          bare.push_back(now() - at);
          at = now();
          Blind nothing;  // what observe() runs: one layer after the other
          bareattn::run_by_layer(model, tokens, nothing, {.threads = threads});
          layered.push_back(now() - at);
          at = now();
          bareattn::ObservationOptions measures;  // of all heads, weight received and the pooled map
          measures.keep_qk = measures.keep_v = false;
          bareattn::observe(model, tokens, measures, threads);
          observed.push_back(now() - at);
          at = now();
          bareattn::observe(model, tokens, {}, threads);  // and Q and K, for any cell later
          kept.push_back(now() - at);
        }
        out.push_back({{"precision", bareattn::precision_name(precision)},
                       {"attention", bareattn::precision_name(attention)},
                       {"tokens", length},
                       {"threads", threads},
                       {"load_seconds", loaded},
                       {"tokens_per_second", static_cast<double>(length) / median(bare)},
                       {"tokens_per_second_layered", static_cast<double>(length) / median(layered)},
                       {"tokens_per_second_observed", static_cast<double>(length) / median(observed)},
                       {"tokens_per_second_kept", static_cast<double>(length) / median(kept)}});
      }
    }
  }
  fmt::print("{}\n", out.dump(1));
}
