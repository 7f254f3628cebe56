// A made-up observation for the page's tests: deterministic, plausible (heads that rest on the first token, look back
// one token, at themselves, nearby, everywhere, or at earlier copies of a token), and with hostile token texts where
// asked. Its maps come from its own Q and K in the plainest way, so that what the page recomputes can be checked.
#pragma once
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "bareattn/observation.h"

namespace bareattn::testing {

class SyntheticModel final : public Model {
 public:
  explicit SyntheticModel(ModelConfig config) : architecture_(std::move(config)), tokenizer_(spec()) {}
  const Architecture& architecture() const override { return architecture_; }
  const Tokenizer& tokenizer() const override { return tokenizer_; }
  Precision precision() const override { return Precision::f32; }
  const std::string& path() const override { return path_; }
  int64_t parameters() const override { return 134'515'008; }
  std::string sha256() const override { return std::string(64, '0'); }
  const std::vector<std::string>& warnings() const override { return warnings_; }

 private:
  static TokenizerSpec spec() {
    TokenizerSpec s;
    s.model = "gpt2";
    s.pre = "smollm";
    for (int i = 0; i < 256; ++i) {  // the byte alphabet, so that the tokenizer is whole
      const int c = (i >= 33 && i <= 126) || (i >= 161 && i <= 172) || i >= 174 ? i : 256 + shift_++;
      s.tokens.push_back(c < 128 ? std::string(1, static_cast<char>(c))
                                 : std::string{static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 63))});
    }
    shift_ = 0;
    return s;
  }
  static inline int shift_ = 0;
  Architecture architecture_;
  Tokenizer tokenizer_;
  std::string path_ = "synthetic.gguf";
  std::vector<std::string> warnings_;
};

struct SyntheticOptions {
  int layers = 30, heads = 9, kv_heads = 3, head_dim = 64;
  int64_t tokens = 2000;
  bool hostile = false;
  bool keep_qk = true;
  int pool_block = 16;
};

/// IEEE binary16 of a float, round to nearest even; and back.
inline uint16_t to_half(float value) {
  const float size = std::fabs(value);
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  if (!(size < 65520)) return static_cast<uint16_t>(sign | (std::isnan(value) ? 0x7E00 : 0x7C00));
  int exponent = size > 0 ? std::max(std::ilogb(size), -14) : -14;
  long fraction = std::lrint(std::ldexp(size, 10 - exponent));  // nearest even: the default rounding mode
  if (fraction >= 2048) {
    fraction /= 2;
    ++exponent;
  }
  return static_cast<uint16_t>(sign | (fraction < 1024 ? fraction : (exponent + 15) * 1024L + fraction - 1024));
}
inline float from_half(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const float size = exponent == 31  ? (fraction ? NAN : INFINITY)
                     : exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                                     : std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  return bits & 0x8000 ? -size : size;
}

class SyntheticObservation final : public Observation {
 public:
  explicit SyntheticObservation(const SyntheticOptions& options);

  const Model& model() const override { return *model_; }
  const std::vector<int32_t>& tokens() const override { return ids_; }
  const std::vector<std::string>& token_texts() const override { return texts_; }
  double seconds() const override { return 1.25; }
  int threads() const override { return 2; }
  double mean(Measure measure, HeadId head) const override;
  std::vector<float> rows(Measure measure, HeadId head) const override { return of(head).rows[index(measure)]; }
  std::vector<double> received(HeadId head) const override { return of(head).received; }
  std::vector<int32_t> max_key(HeadId head) const override { return of(head).max_key; }
  int pool_block() const override { return options_.pool_block; }
  int64_t pool_blocks() const override { return (options_.tokens + pool_block() - 1) / pool_block(); }
  std::vector<double> pool_sum(HeadId head) const override { return of(head).pool_sum; }
  std::vector<float> pool_max(HeadId head) const override { return of(head).pool_max; }
  std::vector<uint16_t> q_f16(HeadId head) const override;
  std::vector<uint16_t> k_f16(int layer, int kv_head) const override;
  Role role(HeadId head) const override;
  std::vector<float> row_weights(HeadId head, int64_t row) const override;
  std::vector<std::pair<int32_t, float>> top_keys(HeadId head, int64_t row, int count) const override;

  /// Replaces one weight of a head by NaN in what the maps say (not in Q and K): a damaged model's picture.
  void damage(HeadId head) { damaged_ = head; }

 private:
  struct Head {
    std::vector<std::vector<float>> rows;  // [measure_count][N]
    std::vector<double> received;
    std::vector<int32_t> max_key;
    std::vector<double> pool_sum;
    std::vector<float> pool_max;
  };
  static size_t index(Measure m) { return static_cast<size_t>(m); }
  int kind(int layer, int head) const { return (layer * 7 + head * 5 + layer / 3) % 6; }
  float q_at(HeadId head, int64_t i, int d) const;
  float k_at(int layer, int kv_head, int64_t j, int d) const;
  std::vector<float> q_row(HeadId head, int64_t i) const;
  const Head& of(HeadId head) const;
  void look(HeadId id, Head& head) const;

  SyntheticOptions options_;
  std::shared_ptr<SyntheticModel> model_;
  std::vector<int32_t> ids_;
  std::vector<std::string> texts_;
  std::vector<float> embedding_;  // [words, 16]
  HeadId damaged_{-1, -1};
  mutable std::vector<std::unique_ptr<Head>> cache_;
};

}  // namespace bareattn::testing
