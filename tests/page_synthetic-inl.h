// The bodies of page_synthetic.h: how the made-up heads are made, and their maps in the plainest way (f64, row by row).
#pragma once
#include <algorithm>
#include <limits>
#include <numeric>
#include <thread>

#include "page_synthetic.h"

namespace bareattn::testing {
namespace synthetic {

inline constexpr int positions = 12, words_dim = 16, word_count = 96;
inline constexpr int at_word = 2 * positions, at_previous = at_word + words_dim, at_sink = at_previous + words_dim;

/// A number in [-1, 1) that depends on all its arguments.
inline float noise(uint64_t a, uint64_t b, uint64_t c) {
  uint64_t x = a * 0x9E3779B97F4A7C15ULL + b * 0xC2B2AE3D27D4EB4FULL + c * 0x165667B19E3779F9ULL;
  x ^= x >> 29, x *= 0xBF58476D1CE4E5B9ULL, x ^= x >> 32, x *= 0x94D049BB133111EBULL, x ^= x >> 31;
  return static_cast<float>(x >> 40) / static_cast<float>(1 << 23) - 1;
}

inline double frequency(int f) { return 2.2 * std::pow(0.52, f); }

inline const std::vector<std::string>& hostile_texts() {
  static const std::vector<std::string> texts = {"</script>",
                                                 "<!--<script>",
                                                 "]]>",
                                                 "\"'`",
                                                 "javascript:alert(1)",
                                                 "&lt;b&gt;",
                                                 std::string(1, '\0'),
                                                 "\xEF\xBF\xBD",
                                                 "\xE2\x80\xAE"
                                                 "evil\xE2\x80\xAC",
                                                 "\xE2\x81\xA6x\xE2\x81\xA9",
                                                 "\xE2\x80\xA8",
                                                 "\xE2\x80\xA9",
                                                 "\x1b[31m",
                                                 "=cmd|' /C calc'!A0",
                                                 "<img src=x onerror=alert(1)>",
                                                 "\xD7\xA9\xD7\x9C\xD7\x95\xD7\x9D",
                                                 "\xF0\x9F\xA6\x8A",
                                                 "",
                                                 "\r\n",
                                                 "\t",
                                                 "\xEF\xBB\xBF",
                                                 "${7*7}{{7*7}}",
                                                 "\\u003c/script\\u003e",
                                                 "%3Cscript%3E",
                                                 "a\xCC\x81\xCC\x81\xCC\x81",
                                                 "\x7F",
                                                 "</style><style>*{display:none}",
                                                 "--!>"};
  return texts;
}

}  // namespace synthetic

inline SyntheticObservation::SyntheticObservation(const SyntheticOptions& options) : options_(options) {
  using namespace synthetic;
  ModelConfig config;
  config.architecture = "llama";
  config.name = options.hostile ? "Model </title><script>alert(1)</script>" : "Synthetic";
  config.file_type = "F32";
  config.layers = options.layers, config.heads = options.heads, config.kv_heads = options.kv_heads;
  config.head_dim = options.head_dim, config.width = options.heads * options.head_dim;
  config.vocab_size = 256, config.context_length = 8192;
  model_ = std::make_shared<SyntheticModel>(config);
  static const char* const plain[] = {"The",    " cat", " sat", " on",   " the",   " mat",   ".",
                                      " Then",  " a",   " dog", " came", ",",      " and",   " Alice",
                                      " asked", " who", " had", " been", " there", " before"};
  uint64_t state = 7;
  for (int64_t i = 0; i < options.tokens; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    // A passage that comes back every 200 tokens, for heads that look for earlier copies.
    const uint64_t word = i % 200 < 60 ? static_cast<uint64_t>(i % 200 * 7 % 20) : (state >> 33) % word_count;
    ids_.push_back(static_cast<int32_t>(word));
    texts_.push_back(options.hostile && i < static_cast<int64_t>(hostile_texts().size())
                         ? hostile_texts()[static_cast<size_t>(i)]
                     : word < 20 ? plain[word]
                                 : (i % 31 == 30 ? "\n" : " w" + std::to_string(word)));
  }
  for (int w = 0; w < word_count; ++w) {
    for (int d = 0; d < words_dim; ++d)
      embedding_.push_back(noise(static_cast<uint64_t>(w), static_cast<uint64_t>(d), 1));
  }
  cache_.resize(static_cast<size_t>(options.layers * options.heads));
}

inline float SyntheticObservation::k_at(int layer, int kv_head, int64_t j, int d) const {
  using namespace synthetic;
  const auto word = [&](int64_t t, int e) {
    return embedding_[static_cast<size_t>(ids_[static_cast<size_t>(t)] * words_dim + e)];
  };
  if (d < at_word) {
    const double angle = frequency(d / 2) * static_cast<double>(j);
    return static_cast<float>(2 * (d % 2 ? std::sin(angle) : std::cos(angle)));
  }
  if (d < at_previous) return 2 * word(j, d - at_word);
  if (d < at_sink) return j > 0 ? 2 * word(j - 1, d - at_previous) : 0;
  if (d == at_sink) return j == 0 ? 8 : 0;
  return noise(static_cast<uint64_t>(layer * 16 + kv_head), static_cast<uint64_t>(j), static_cast<uint64_t>(d));
}

inline float SyntheticObservation::q_at(HeadId id, int64_t i, int d) const {
  using namespace synthetic;
  const int what = kind(id.layer, id.head);
  const auto key = static_cast<uint64_t>(id.layer * 64 + id.head);
  const float strength = 1 + 0.35F * noise(key, 3, 5);
  const float sink[] = {9, 4, 2, 3, 1, 7};
  if (d < at_word) {
    const int f = d / 2;
    const double back = what == 1 ? 1 : what == 3 ? 4 : 0;
    const double size = what == 1 || what == 2 ? 4.5 : what == 3 ? (f > 2 ? 3.6 : 0) : what == 0 ? 0.6 : 0.25;
    const double angle = frequency(f) * (static_cast<double>(i) - back);
    return strength * static_cast<float>(size * (d % 2 ? std::sin(angle) : std::cos(angle)));
  }
  if (d < at_previous) {
    const float size = what == 4 ? 1.2F : 0.2F;
    return size * embedding_[static_cast<size_t>(ids_[static_cast<size_t>(i)] * words_dim + d - at_word)];
  }
  if (d < at_sink) {
    const float size = what == 5 ? 7.5F : 0.2F;
    return size * embedding_[static_cast<size_t>(ids_[static_cast<size_t>(i)] * words_dim + d - at_previous)];
  }
  if (d == at_sink) return strength * sink[what];
  return 0.8F * noise(key, static_cast<uint64_t>(i) + 77, static_cast<uint64_t>(d));
}

inline std::vector<float> SyntheticObservation::q_row(HeadId id, int64_t i) const {
  std::vector<float> q(static_cast<size_t>(options_.head_dim));
  for (int d = 0; d < options_.head_dim; ++d) q[static_cast<size_t>(d)] = q_at(id, i, d);
  return q;
}

inline void SyntheticObservation::look(HeadId id, Head& head) const {
  const int64_t n = options_.tokens, block = options_.pool_block, blocks = pool_blocks();
  const int dim = options_.head_dim, kv = id.head / (options_.heads / options_.kv_heads);
  std::vector<float> keys(static_cast<size_t>(n * dim));  // [D, N]: columns, so that the compiler can vectorise over j
  for (int d = 0; d < dim; ++d) {
    for (int64_t j = 0; j < n; ++j) keys[static_cast<size_t>(d * n + j)] = k_at(id.layer, kv, j, d);
  }
  head.rows.assign(measure_count, std::vector<float>(static_cast<size_t>(n)));
  head.received.assign(static_cast<size_t>(n), 0);
  head.max_key.assign(static_cast<size_t>(n), 0);
  head.pool_sum.assign(static_cast<size_t>(blocks * (blocks + 1) / 2), 0);
  head.pool_max.assign(head.pool_sum.size(), 0);
  const float scale = 1 / std::sqrt(static_cast<float>(dim));
  std::vector<float> score(static_cast<size_t>(n));
  std::vector<double> weight(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    const std::vector<float> q = q_row(id, i);
    std::fill(score.begin(), score.end(), 0.0F);
    for (int d = 0; d < dim; ++d) {
      const float* column = &keys[static_cast<size_t>(d * n)];
      for (int64_t j = 0; j <= i; ++j) score[static_cast<size_t>(j)] += q[static_cast<size_t>(d)] * column[j];
    }
    float top = -INFINITY;
    for (int64_t j = 0; j <= i; ++j) top = std::max(top, score[static_cast<size_t>(j)] *= scale);
    double sum = 0;
    for (int64_t j = 0; j <= i; ++j) sum += std::exp(static_cast<double>(score[static_cast<size_t>(j)] - top));
    const double lse = static_cast<double>(top) + std::log(sum);
    double entropy = 0, distance = 0, recent = 0, best = -1;
    for (int64_t j = 0; j <= i; ++j) {
      const double p = std::exp(static_cast<double>(score[static_cast<size_t>(j)]) - lse);
      weight[static_cast<size_t>(j)] = p;
      if (p > 0) entropy -= p * std::log(p);
      distance += p * static_cast<double>(i - j);
      if (i - j < 64) recent += p;
      if (p > best) best = p, head.max_key[static_cast<size_t>(i)] = static_cast<int32_t>(j);
      head.received[static_cast<size_t>(j)] += p;
      const int64_t r = i / block;
      const size_t cell = static_cast<size_t>(r * (r + 1) / 2 + j / block);
      head.pool_sum[cell] += p;
      head.pool_max[cell] = std::max(head.pool_max[cell], static_cast<float>(p));
    }
    const auto put = [&](Measure m, double v) { head.rows[index(m)][static_cast<size_t>(i)] = static_cast<float>(v); };
    put(Measure::entropy, entropy);
    put(Measure::normalized_entropy, i > 0 ? entropy / std::log(static_cast<double>(i + 1)) : 0);
    put(Measure::effective_context, std::exp(entropy));
    put(Measure::max_weight, best);
    put(Measure::max_logit, static_cast<double>(top));
    put(Measure::lse, lse);
    put(Measure::mean_distance, distance);
    put(Measure::first_mass, weight[0]);
    put(Measure::self_weight, weight[static_cast<size_t>(i)]);
    put(Measure::previous_weight, i > 0 ? weight[static_cast<size_t>(i - 1)] : 0);
    put(Measure::recent_mass, recent);
  }
  if (id == damaged_) {
    head.pool_sum[1] = head.pool_max[1] = NAN;
    head.rows[index(Measure::entropy)][20] = NAN;
  }
}

inline const SyntheticObservation::Head& SyntheticObservation::of(HeadId id) const {
  if (!cache_[static_cast<size_t>(id.layer * options_.heads + id.head)]) {
    // All at once, half on another thread: the big fixture is thirty billion multiply-adds.
    const auto work = [this](size_t start) {
      for (size_t h = start; h < cache_.size(); h += 2) {
        cache_[h] = std::make_unique<Head>();
        const int flat = static_cast<int>(h);
        look({flat / options_.heads, flat % options_.heads}, *cache_[h]);
      }
    };
    std::thread other(work, 1);
    work(0);
    other.join();
  }
  return *cache_[static_cast<size_t>(id.layer * options_.heads + id.head)];
}

inline double SyntheticObservation::mean(Measure measure, HeadId id) const {
  const std::vector<float>& values = of(id).rows[index(measure)];
  double sum = 0;
  for (size_t i = 1; i < values.size(); ++i) sum += static_cast<double>(values[i]);
  return values.size() > 1 ? sum / static_cast<double>(values.size() - 1) : std::numeric_limits<double>::quiet_NaN();
}

inline std::vector<uint16_t> SyntheticObservation::q_f16(HeadId id) const {
  std::vector<uint16_t> out;
  for (int64_t i = 0; options_.keep_qk && i < options_.tokens; ++i) {
    for (const float v : q_row(id, i)) out.push_back(to_half(v));
  }
  return out;
}

inline std::vector<uint16_t> SyntheticObservation::k_f16(int layer, int kv_head) const {
  std::vector<uint16_t> out;
  for (int64_t j = 0; options_.keep_qk && j < options_.tokens; ++j) {
    for (int d = 0; d < options_.head_dim; ++d) out.push_back(to_half(k_at(layer, kv_head, j, d)));
  }
  return out;
}

inline Role SyntheticObservation::role(HeadId id) const {
  static const char* const names[] = {"first-token", "previous-token", "self", "local", "broad", "mixed"};
  const int what = kind(id.layer, id.head);
  const Measure deciding[] = {Measure::first_mass,  Measure::previous_weight,    Measure::self_weight,
                              Measure::recent_mass, Measure::normalized_entropy, Measure::first_mass};
  const double score = mean(deciding[what], id);
  return {names[what], score, "has a score of " + std::to_string(std::lround(100 * score)) + " %"};
}

inline std::vector<float> SyntheticObservation::row_weights(HeadId id, int64_t row) const {
  const int kv = id.head / (options_.heads / options_.kv_heads);
  const std::vector<float> q = q_row(id, row);
  const double lse = static_cast<double>(of(id).rows[index(Measure::lse)][static_cast<size_t>(row)]);
  std::vector<float> out;
  for (int64_t j = 0; j <= row; ++j) {
    double dot = 0;
    for (int d = 0; d < options_.head_dim; ++d) {
      dot += static_cast<double>(q[static_cast<size_t>(d)]) * static_cast<double>(k_at(id.layer, kv, j, d));
    }
    out.push_back(static_cast<float>(std::exp(dot / std::sqrt(static_cast<double>(options_.head_dim)) - lse)));
  }
  return out;
}

inline std::vector<std::pair<int32_t, float>> SyntheticObservation::top_keys(HeadId id, int64_t row, int count) const {
  const std::vector<float> weights = row_weights(id, row);
  std::vector<std::pair<int32_t, float>> out;
  for (size_t j = 0; j < weights.size(); ++j) out.push_back({static_cast<int32_t>(j), weights[j]});
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  out.resize(std::min(out.size(), static_cast<size_t>(count)));
  return out;
}

}  // namespace bareattn::testing
