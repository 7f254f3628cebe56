// head_agreement: a task is a band of 16 rows of one layer. It makes the band's weights of every head, then compares
// each pair. With m = (p + q) / 2 a key adds (p ln(p / m) + q ln(q / m)) / 2: never negative but for rounding, and
// nothing cancels where two heads are alike. Sums of a band are kept apart and added in order, so that the bits do not
// depend on the threads.
#include "bareattn/agreement.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "analyze/bands.h"
#include "attention/shared_pool.h"
#include "bareattn/error.h"
#include "base/float_environment.h"
#include "model/head_outputs.h"

namespace bareattn {
namespace {

constexpr int64_t lanes = 16, chunk_keys = 512;
constexpr int64_t band_memory = int64_t{32} << 20;

// ln x for normal x > 0, within 2^-23 of max(|ln x|, 2^-3): x = 2^e f with f about 1, ln f = 2 atanh((f - 1) / (f +
// 1)). Written so that the compiler makes vectors of it; std::log is three times as slow here.
inline float natural_log(float x) {
  constexpr uint32_t root_half = 0x3F3504F3;  // bits of sqrt(1/2)
  const uint32_t bits = std::bit_cast<uint32_t>(x) - root_half;
  const auto exponent = static_cast<float>(static_cast<int32_t>(bits) >> 23);
  const float f = std::bit_cast<float>((bits & 0x7FFFFFU) + root_half);
  const float s = (f - 1.0F) / (f + 1.0F), z = s * s;
  const float series = 2.0F + z * (2.0F / 3 + z * (2.0F / 5 + z * (2.0F / 7 + z * (2.0F / 9))));
  return exponent * 0.693147181F + s * series;
}

struct Sums {
  double js = 0, product = 0;
};

// One row of two heads, [keys].
Sums compare(const float* p, const float* q, int64_t keys) {
  Sums row;
  for (int64_t begin = 0; begin < keys; begin += chunk_keys) {
    const int64_t count = std::min(chunk_keys, keys - begin);
    float js[lanes] = {}, product[lanes] = {};
    for (int64_t j = 0; j < count; j += lanes) {
      float a[lanes] = {}, b[lanes] = {};
      const int64_t here = std::min(lanes, count - j);
      std::copy_n(p + begin + j, here, a);
      std::copy_n(q + begin + j, here, b);
      for (int64_t i = 0; i < lanes; ++i) {
        const float both = a[i] + b[i];
        // What is less than 1e-30 in both adds less than that. A NaN makes `both` NaN, and so everything after it.
        const float twice = 2.0F / std::max(1e-30F, both);
        const float x = std::max(1e-37F, a[i] * twice), y = std::max(1e-37F, b[i] * twice);
        js[i] += a[i] * natural_log(x) + b[i] * natural_log(y);
        product[i] += a[i] * b[i];
      }
    }
    for (int64_t i = 0; i < lanes; ++i) {
      row.js += static_cast<double>(js[i]);
      row.product += static_cast<double>(product[i]);
    }
  }
  row.js /= 2;
  return row;
}

size_t pairs_of(int heads) { return static_cast<size_t>(heads) * static_cast<size_t>(heads - 1) / 2; }

struct Band {
  std::vector<Sums> pairs;      // [Hq (Hq - 1) / 2]
  std::vector<double> squares;  // [Hq]
};

Band empty_band(int heads) {
  return {std::vector<Sums>(pairs_of(heads)), std::vector<double>(static_cast<size_t>(heads))};
}

void add(Band& to, const Band& band) {
  for (size_t i = 0; i < to.pairs.size(); ++i) {
    to.pairs[i].js += band.pairs[i].js;
    to.pairs[i].product += band.pairs[i].product;
  }
  for (size_t i = 0; i < to.squares.size(); ++i) to.squares[i] += band.squares[i];
}

/// `go_on` is asked before each head's weights and each row of pairs: it throws what shall end everything.
Band compare_band(const Observation& observation, int layer, TokenRange rows, bool value_weighted,
                  const std::function<void()>& go_on) {
  const int heads = observation.model().config().heads;
  Band band = empty_band(heads);
  std::vector<std::vector<float>> weights;
  for (int head = 0; head < heads; ++head) {
    go_on();
    weights.push_back(value_weighted ? value_shares(observation, {layer, head}, rows)
                                     : observation.tile({layer, head}, rows, {0, rows.end}));
  }
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    const auto row = [&](int head) { return weights[static_cast<size_t>(head)].data() + (i - rows.begin) * rows.end; };
    size_t at = 0;
    for (int a = 0; a < heads; ++a) {
      go_on();
      double squares = 0;
      for (int64_t j = 0; j <= i; ++j) squares += static_cast<double>(row(a)[j]) * static_cast<double>(row(a)[j]);
      band.squares[static_cast<size_t>(a)] += squares;
      for (int b = a + 1; b < heads; ++b, ++at) {
        const Sums sums = compare(row(a), row(b), i + 1);
        band.pairs[at].js += sums.js;
        band.pairs[at].product += sums.product;
      }
    }
  }
  return band;
}

}  // namespace

Agreement head_agreement(const Observation& observation, const AgreementOptions& options, const Progress& progress) {
  const base::DefaultFloatEnvironment environment;
  const ModelConfig& config = observation.model().config();
  if (options.layer < -1 || options.layer >= config.layers)
    throw InputError("there is no layer " + std::to_string(options.layer) + "; the model has " +
                     std::to_string(config.layers));
  const int first = std::max(options.layer, 0), layers = options.layer < 0 ? config.layers : 1;
  model::check_head_pairs(config, layers);
  const auto length = static_cast<int64_t>(observation.tokens().size());
  const std::vector<TokenRange> bands = observing::bands_of(length, observing::rows_wanted(options.rows, length));
  if (options.value_weighted) static_cast<void>(observation.carried({0, 0}));  // refuses
  Agreement all;
  all.rows = observing::rows_of(bands);
  const auto count = static_cast<int64_t>(bands.size());
  const attend::PoolLease lease(options.threads);
  // Bands that are held at once: with many heads few, so that memory is bounded; with few, whole layers of them.
  const auto band_bytes = static_cast<int64_t>(pairs_of(config.heads) * sizeof(Sums) + 1);
  const int64_t held =
      std::min(std::max<int64_t>(band_memory / band_bytes, lease.pool().size()), std::max<int64_t>(1, count));
  const bool outputs = observation.measured().agreement;
  const double none = std::numeric_limits<double>::quiet_NaN();
  for (int layer = first; layer < first + layers; ++layer) {
    Band sum = empty_band(config.heads);
    std::atomic<bool> stop = false;
    for (int64_t begin = 0; begin < count; begin += held) {
      const int64_t here = std::min(held, count - begin);
      std::vector<Band> made(static_cast<size_t>(here));
      lease.pool().run(here, [&](int64_t task, int worker) {
        const int64_t band = here - 1 - task;  // the longest rows first
        const auto go_on = [&, worker] {       // worker 0 is the caller's thread, where `progress` may be asked
          if (worker == 0 && progress && !progress(layer - first, layers)) stop = true;
          if (stop) throw Cancelled{};
        };
        made[static_cast<size_t>(band)] =
            compare_band(observation, layer, bands[static_cast<size_t>(begin + band)], options.value_weighted, go_on);
      });
      for (const Band& band : made) add(sum, band);
    }
    if (progress && !progress(layer - first + 1, layers)) throw Cancelled{};
    const std::vector<float> cosines = outputs ? observation.output_cosine(layer) : std::vector<float>();
    size_t at = 0;
    for (int a = 0; a < config.heads; ++a)
      for (int b = a + 1; b < config.heads; ++b, ++at) {
        HeadPair pair{layer, a, b};
        const double js = sum.pairs[at].js;
        pair.js = all.rows == 0 ? none : js < 0 ? 0.0 : js / static_cast<double>(all.rows);  // below 0: of rounding
        pair.weight_cosine = sum.pairs[at].product /
                             std::sqrt(sum.squares[static_cast<size_t>(a)] * sum.squares[static_cast<size_t>(b)]);
        pair.output_cosine = outputs ? static_cast<double>(cosines[static_cast<size_t>(a * config.heads + b)]) : none;
        all.pairs.push_back(pair);
      }
  }
  return all;
}

}  // namespace bareattn
