// Storage types written: every block bit for bit what ggml's own Python package makes (tests/golden), whole files that
// load and say the same as before, and what is refused with nothing left behind.
#include "bareattn/quantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "bareattn/error.h"
#include "files/gguf.h"
#include "files/quantize_blocks.h"
#include "gguf_builder.h"
#include "golden_json.h"

namespace bareattn {
namespace {

using model::TensorType;

std::string bytes_of_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

TEST(Quantize, BlocksAreThoseOfTheReference) {
  const auto golden = test::golden_json("quantize_golden.json");
  const std::string raw = bytes_of_hex(golden["weights"]);
  std::vector<float> weights(raw.size() / 4);
  std::memcpy(weights.data(), raw.data(), raw.size());
  ASSERT_GT(weights.size(), 32U * 50);
  const std::pair<const char*, TensorType> types[] = {
      {"f16", TensorType::f16},   {"bf16", TensorType::bf16}, {"q8_0", TensorType::q8_0}, {"q4_0", TensorType::q4_0},
      {"q4_1", TensorType::q4_1}, {"q5_0", TensorType::q5_0}, {"q5_1", TensorType::q5_1}};
  for (const auto& [name, type] : types) {
    const auto storage = model::storage_of(type);
    const size_t blocks = weights.size() / static_cast<size_t>(storage.block);
    std::string made(blocks * static_cast<size_t>(storage.bytes), '\0');
    model::quantize_blocks(type, weights, reinterpret_cast<std::byte*>(made.data()));
    const std::string wanted = bytes_of_hex(golden[name]);
    ASSERT_EQ(made.size(), wanted.size()) << name;
    for (size_t block = 0; block < blocks; ++block) {
      const auto at = block * static_cast<size_t>(storage.bytes), size = static_cast<size_t>(storage.bytes);
      ASSERT_EQ(made.substr(at, size), wanted.substr(at, size)) << name << ", block " << block;
    }
  }
}

// A scale that cannot be inverted, and the largest numbers: defined bytes, no trap.
TEST(Quantize, ExtremeBlocksAreDefined) {
  for (const float size : {1e-44F, 1e-38F, 3e38F}) {
    std::vector<float> weights(32, -size);
    weights[3] = size;
    for (const TensorType type :
         {TensorType::q8_0, TensorType::q4_0, TensorType::q4_1, TensorType::q5_0, TensorType::q5_1}) {
      std::vector<std::byte> a(static_cast<size_t>(model::storage_of(type).bytes)), b = a;
      model::quantize_blocks(type, weights, a.data());
      model::quantize_blocks(type, weights, b.data());
      EXPECT_EQ(a, b);
    }
  }
}

struct Target {
  std::string path =
      (std::filesystem::temp_directory_path() / ("bareattn-quantize-" + std::to_string(getpid()))).string();
  ~Target() { std::filesystem::remove(path); }
};

TEST(Quantize, AWholeFileSaysTheSame) {
  auto builder = test::tiny_llama();
  builder.u32("general.file_type", 0);
  const test::TemporaryFile source(builder.build());
  const model::GgufFile before(source.path());
  for (const auto type : weight_types) {
    const Target target;
    const Quantized made = quantize(source.path(), target.path, type);
    const model::GgufFile after(target.path);
    SCOPED_TRACE(weight_type_name(type));
    EXPECT_EQ(made.bytes_after, static_cast<int64_t>(std::filesystem::file_size(target.path)));
    EXPECT_EQ(made.converted + made.fallen_back + made.kept_f32, static_cast<int64_t>(after.tensors().size()));
    // The model's rows of 64 are no blocks of 256.
    EXPECT_GT(type < WeightType::q4_k ? made.converted : made.fallen_back, 5);
    EXPECT_EQ(type < WeightType::q4_k ? made.fallen_back : made.converted, 0);
    ASSERT_EQ(before.tensors().size(), after.tensors().size());
    EXPECT_EQ(after.strings("tokenizer.ggml.tokens"), before.strings("tokenizer.ggml.tokens"));
    const uint64_t numbers[] = {0, 1, 32, 7, 2, 3, 8, 9, 14, 18};
    EXPECT_EQ(after.integer("general.file_type"), numbers[static_cast<int>(type)]);
    // Rounding of the largest weight of a block: half a step of its type.
    const double q8 = 0.5 / 127 + 0x1p-10, q5 = 1.0 / 16;
    const double steps[] = {0, 0x1p-11, 0x1p-8, q8, 1.0 / 8, 1.0 / 15 + 0x1p-9, q5, 1.0 / 31 + 0x1p-9, q5, q8};
    for (size_t t = 0; t < before.tensors().size(); ++t) {
      const auto &a = before.tensors()[t], &b = after.tensors()[t];
      ASSERT_EQ(a.name, b.name);
      ASSERT_EQ(a.shape, b.shape);
      const auto count = static_cast<size_t>(a.columns() * a.rows());
      std::vector<float> x(count), y(count);
      const auto all = [](const model::GgufFile& file, const model::TensorInfo& tensor) {
        return std::as_bytes(std::span(file.file().text())).subspan(tensor.offset, tensor.bytes);
      };
      model::dequantize(a.type, all(before, a), static_cast<int64_t>(count), x.data());
      model::dequantize(b.type, all(after, b), static_cast<int64_t>(count), y.data());
      float largest = 0;
      for (const float w : x) largest = std::max(largest, std::abs(w));
      for (size_t i = 0; i < count; ++i)
        ASSERT_LE(std::abs(x[i] - y[i]), largest * steps[static_cast<int>(type)] * 1.01) << a.name << " " << i;
    }
    EXPECT_NE(Model::load(target.path, {.precision = Precision::f32, .threads = 1}), nullptr);
  }
  const Target same;
  quantize(source.path(), same.path, WeightType::f32);
  std::ifstream a(source.path(), std::ios::binary), b(same.path, std::ios::binary);
  const std::string first{std::istreambuf_iterator<char>(a), {}}, second{std::istreambuf_iterator<char>(b), {}};
  EXPECT_EQ(first, second.substr(0, first.size())) << "f32 to f32 changes nothing but the padding at the end";
}

TEST(Quantize, RowsOf256AreKBlocksAndOthersTheNextType) {
  test::GgufBuilder g;
  for (const uint64_t columns : {512, 96, 40})
    g.tensors.push_back(
        {"rows of " + std::to_string(columns), {columns, 3}, 0, test::random_weights(columns * 3, 5, 1)});
  const test::TemporaryFile source(g.build());
  for (const auto& [type, block, next] : {std::tuple{WeightType::q4_k, TensorType::q4_k, TensorType::q5_0},
                                          std::tuple{WeightType::q6_k, TensorType::q6_k, TensorType::q8_0}}) {
    const Target target;
    const Quantized made = quantize(source.path(), target.path, type);
    EXPECT_EQ(made.converted, 1);
    EXPECT_EQ(made.fallen_back, 1);
    EXPECT_EQ(made.kept_f32, 1);
    const model::GgufFile file(target.path);
    EXPECT_EQ(file.find_tensor("rows of 512")->type, block);
    EXPECT_EQ(file.find_tensor("rows of 96")->type, next);
    EXPECT_EQ(file.find_tensor("rows of 40")->type, TensorType::f32);
  }
}

TEST(Quantize, RefusesAndLeavesNothing) {
  auto builder = test::tiny_llama();
  std::string& data = builder.tensor("token_embd.weight").data;
  const float bad = NAN;
  std::memcpy(data.data() + 4 * 70, &bad, 4);
  const test::TemporaryFile source(builder.build());
  const Target target;
  try {
    quantize(source.path(), target.path, WeightType::q8_0);
    FAIL();
  } catch (const FileError& error) {
    EXPECT_NE(std::string(error.what()).find("token_embd.weight"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(std::filesystem::exists(target.path));
  EXPECT_NO_THROW(quantize(source.path(), target.path, WeightType::f16));  // f16 holds NaN
  std::filesystem::remove(target.path);
  const auto stop = [](int64_t, int64_t) { return false; };
  EXPECT_THROW(quantize(source.path(), target.path, WeightType::f16, stop), Cancelled);
  EXPECT_FALSE(std::filesystem::exists(target.path));
  EXPECT_THROW(quantize("/nowhere/model.gguf", target.path, WeightType::f16), FileError);
}

}  // namespace
}  // namespace bareattn
