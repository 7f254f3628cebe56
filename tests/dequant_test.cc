// What stored bytes mean: a file with every type, each weight bit for bit as the `gguf` Python package reads it, the
// edges of each block, and blocks of 256 written and read again within an error that is derived.
#include "files/dequant.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "bareattn/error.h"
#include "base/sha256.h"
#include "files/dequant_k.h"
#include "files/gguf.h"
#include "files/quantize_blocks.h"
#include "gguf_builder.h"
#include "golden_json.h"

namespace bareattn::model {
namespace {

std::vector<float> read(const GgufFile& file, const TensorInfo& tensor) {
  std::vector<std::byte> bytes(tensor.bytes + 1);
  // One byte further on, so that no field of a block is aligned.
  file.file().read_at(tensor.offset, std::span(bytes).subspan(1));
  std::vector<float> values(static_cast<size_t>(tensor.rows() * tensor.columns()));
  dequantize(tensor.type, std::span(bytes).subspan(1), static_cast<int64_t>(values.size()), values.data());
  return values;
}

TEST(Dequantize, EveryTypeOfAWholeFileIsThatOfTheReference) {
  const auto golden = test::golden_json("dequant_golden.json");
  const GgufFile file(BAREATTN_SOURCE_DIR "/tests/golden/every_type.gguf");
  ASSERT_EQ(file.tensors().size(), 16U);
  std::string readable;
  for (const TensorInfo& tensor : file.tensors()) {
    EXPECT_EQ(type_name(static_cast<uint32_t>(tensor.type)), tensor.name);
    EXPECT_NE((", " + readable_types() + ", ").find(", " + std::string(tensor.name) + ", "), std::string::npos);
    const std::vector<float> values = read(file, tensor);
    const std::string_view bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    EXPECT_EQ(base::sha256(bytes), golden[std::string(tensor.name)]) << tensor.name;
  }
}

TEST(Dequantize, RowsOfNoWholeBlocksAreRefused) {
  for (const TensorType type :
       {TensorType::q5_0, TensorType::q5_1, TensorType::q2_k, TensorType::q3_k, TensorType::q4_k, TensorType::q5_k,
        TensorType::q6_k, TensorType::iq4_nl, TensorType::iq4_xs, TensorType::mxfp4}) {
    const Storage storage = storage_of(type);
    test::GgufBuilder g;
    g.tensors.push_back({"x",
                         {static_cast<uint64_t>(storage.block) + 16, 2},
                         static_cast<uint32_t>(type),
                         std::string(static_cast<size_t>(4 * storage.bytes), '\0')});
    const test::TemporaryFile file(g.build());
    try {
      GgufFile{file.path()};
      ADD_FAILURE() << type_name(static_cast<uint32_t>(type));
    } catch (const FileError& error) {
      const std::string needed =
          "a multiple of " + std::to_string(storage.block) + " is needed for " + type_name(static_cast<uint32_t>(type));
      EXPECT_NE(std::string(error.what()).find(needed), std::string::npos) << error.what();
    }
  }
}

double rms(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

std::vector<float> there_and_back(TensorType type, const std::vector<float>& weights) {
  std::vector<std::byte> stored(static_cast<size_t>(storage_of(type).bytes) * (weights.size() / 256));
  quantize_blocks(type, weights, stored.data());
  std::vector<float> back(weights.size());
  dequantize(type, stored, static_cast<int64_t>(weights.size()), back.data());
  return back;
}

std::vector<float> drawn_block(int seed) {
  std::mt19937 random(static_cast<uint32_t>(seed));
  std::normal_distribution<float> normal(seed % 3 == 0 ? 0.5F : 0.0F,
                                         std::pow(10.0F, static_cast<float>(seed % 5 - 3)));
  std::vector<float> weights(256);
  for (float& w : weights) w = normal(random);
  if (seed % 4 == 0) std::fill_n(weights.begin() + 64, 32, 0.0F);
  if (seed % 7 == 0) weights[100] *= 20;
  return weights;
}

// The fit never has a larger squared error than the rule it begins with: at most half a step of each weight. Then scale
// and minimum move by at most half of their own steps (a 63rd of the block's largest, and a little for d as f16), and
// rounding anew is no worse than the old levels with the new scale.
TEST(QuantizeK, Q4KStaysWithinItsBound) {
  for (int seed = 0; seed < 60; ++seed) {
    const std::vector<float> weights = drawn_block(seed), back = there_and_back(TensorType::q4_k, weights);
    float most_range = 0, most_minimum = 0;
    for (size_t s = 0; s < 8; ++s) {
      const auto [least, most] = std::minmax_element(weights.begin() + 32 * s, weights.begin() + 32 * (s + 1));
      most_range = std::max(most_range, *most + std::max(0.0F, -*least));
      most_minimum = std::max(most_minimum, -*least);
    }
    for (size_t s = 0; s < 8; ++s) {
      const std::span x = std::span(weights).subspan(32 * s, 32), y = std::span(back).subspan(32 * s, 32);
      const auto [least, most] = std::minmax_element(x.begin(), x.end());
      const double step = (*most + std::max(0.0F, -*least)) / 15.0;
      // The fit may choose a scale up to twice that of the range, and a minimum as far below.
      const double bound = step / 2 + 2 * (15 * most_range / 15.0 + most_minimum) / 126 + 1e-7;
      EXPECT_LE(rms(x, y), bound * (1 + 0x1p-9)) << seed << ' ' << s;
    }
  }
}

TEST(QuantizeK, Q6KStaysWithinItsBound) {
  for (int seed = 0; seed < 60; ++seed) {
    const std::vector<float> weights = drawn_block(seed), back = there_and_back(TensorType::q6_k, weights);
    float extreme = 0;
    for (const float w : weights) extreme = std::max(extreme, std::abs(w));
    for (size_t s = 0; s < 16; ++s) {
      const std::span x = std::span(weights).subspan(16 * s, 16), y = std::span(back).subspan(16 * s, 16);
      float largest = 0;
      for (const float w : x) largest = std::max(largest, std::abs(w));
      // A step where the opposite sign is cut at 31, and the scale's own step, a 128th of the block's largest.
      const double bound = largest / 32 + 32 * (extreme / 32) / 128 * 1.1 + 1e-7;
      EXPECT_LE(rms(x, y), bound) << seed << ' ' << s;
    }
  }
}

TEST(QuantizeK, BlocksOfOneValueAndExtremesAreDefined) {
  for (const TensorType type : {TensorType::q4_k, TensorType::q6_k}) {
    EXPECT_EQ(there_and_back(type, std::vector<float>(256, 0.0F)), std::vector<float>(256, 0.0F));
    for (const float value : {0.25F, -3.0F}) {
      for (const float back : there_and_back(type, std::vector<float>(256, value)))
        EXPECT_NEAR(back, value, std::abs(value) * 0x1p-9);
    }
    for (const float size : {1e-44F, 1e-38F, 3e38F}) {
      std::vector<float> weights(256, -size);
      weights[3] = size;
      std::vector<std::byte> a(static_cast<size_t>(storage_of(type).bytes)), b = a;
      quantize_blocks(type, weights, a.data());
      quantize_blocks(type, weights, b.data());
      EXPECT_EQ(a, b);
    }
  }
}

TEST(QuantizeK, LevelsOfAnExactGridComeBackExactly) {
  std::vector<float> weights(256);
  for (size_t i = 0; i < 256; ++i) weights[i] = static_cast<float>(static_cast<int>(i % 16)) * 0.25F - 1.75F;
  weights[0] = -1.75F;
  EXPECT_LT(rms(weights, there_and_back(TensorType::q4_k, weights)), 2e-3);
  for (size_t i = 0; i < 256; ++i) weights[i] = static_cast<float>(static_cast<int>(i % 16) * 4 - 32) * 0.25F;
  EXPECT_LT(rms(weights, there_and_back(TensorType::q6_k, weights)), 2e-3);
}

}  // namespace
}  // namespace bareattn::model
