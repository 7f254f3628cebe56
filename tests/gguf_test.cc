// The GGUF reader and the dequantiser on well-formed files: values of every type, valid edge cases that must load, and
// weights bit for bit as ggml defines them. Malformed files: gguf_hostile_test.cc.
#include "files/gguf.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "bareattn/error.h"
#include "bareattn/model.h"
#include "gguf_builder.h"
#include "model_under_test.h"

namespace bareattn::model {
namespace {

using test::bytes_of;
using test::GgufBuilder;
using test::TemporaryFile;

TEST(Gguf, ReadsEveryTypeOfValue) {
  GgufBuilder g;
  g.raw("u8", bytes_of<uint32_t>(0) + bytes_of<uint8_t>(200)).raw("i8", bytes_of<uint32_t>(1) + bytes_of<int8_t>(100));
  g.raw("u16", bytes_of<uint32_t>(2) + bytes_of<uint16_t>(60000));
  g.raw("i16", bytes_of<uint32_t>(3) + bytes_of<int16_t>(30000));
  g.u32("u32", 4000000000U).i32("i32", 2000000000).f32("f32", 1.5F).boolean("yes", 1).boolean("no", 0);
  g.string("string", "h\xc3\xa9llo").u64("u64", UINT64_MAX);
  g.raw("i64", bytes_of<uint32_t>(11) + bytes_of<int64_t>(INT64_MAX));
  g.raw("f64", bytes_of<uint32_t>(12) + bytes_of<double>(2.5));
  g.strings("strings", {"a", "", "bc"}).array<int32_t>("ints", 5, {1, -2, 3}).array<float>("floats", 6, {1, 2});
  g.strings("empty", {});
  const TemporaryFile file(g.build());
  const GgufFile gguf(file.path());
  EXPECT_EQ(gguf.version(), 3U);
  EXPECT_EQ(gguf.values(), 17U);
  EXPECT_EQ(gguf.integer("u8"), 200U);
  EXPECT_EQ(gguf.integer("i8"), 100U);
  EXPECT_EQ(gguf.integer("u16"), 60000U);
  EXPECT_EQ(gguf.integer("i16"), 30000U);
  EXPECT_EQ(gguf.integer("u32"), 4000000000U);
  EXPECT_EQ(gguf.integer("i32"), 2000000000U);
  EXPECT_EQ(gguf.integer("u64"), UINT64_MAX);
  EXPECT_EQ(gguf.integer("i64"), static_cast<uint64_t>(INT64_MAX));
  EXPECT_EQ(gguf.number("f32"), 1.5);
  EXPECT_EQ(gguf.number("f64"), 2.5);
  EXPECT_EQ(gguf.boolean("yes"), true);
  EXPECT_EQ(gguf.boolean("no"), false);
  EXPECT_EQ(gguf.string("string"), "h\xc3\xa9llo");
  EXPECT_EQ(gguf.strings("strings"), (std::vector<std::string>{"a", "", "bc"}));
  EXPECT_EQ(gguf.strings("empty"), std::vector<std::string>{});
  EXPECT_EQ(gguf.integers("ints"), (std::vector<int32_t>{1, -2, 3}));
  EXPECT_EQ(gguf.array_length("floats", ValueType::f32), 2U);
  EXPECT_FALSE(gguf.integer("absent"));
  EXPECT_FALSE(gguf.strings("absent"));
  EXPECT_THROW(gguf.integer("f32"), FileError);
  EXPECT_THROW(gguf.integer("string"), FileError);
  EXPECT_THROW(gguf.number("u32"), FileError);
  EXPECT_THROW(gguf.boolean("u8"), FileError);
  EXPECT_THROW(gguf.string("strings"), FileError);
  EXPECT_THROW(gguf.strings("ints"), FileError);
  EXPECT_THROW(gguf.integers("floats"), FileError);
}

TEST(Gguf, EdgeCasesThatAreValidLoad) {
  GgufBuilder nothing;
  EXPECT_NO_THROW(GgufFile(TemporaryFile(nothing.build()).path()));  // 0 tensors, 0 values
  GgufBuilder version2;
  version2.version = 2;
  version2.u32("a", 1);
  EXPECT_NO_THROW(GgufFile(TemporaryFile(version2.build()).path()));
  GgufBuilder g;
  g.string("some.unknown.key", "</script>").string("</script>", "");
  g.tensors.push_back({"scalar", {}, 0, bytes_of(1.0F)});
  g.tensors.push_back({"nothing", {0}, 0, ""});
  g.tensors.push_back({"nothing.wide", {32, 0, 5}, 8, ""});
  g.tensors.push_back({"last", {3}, 0, std::string(12, '\0')});
  const TemporaryFile unpadded(g.build());
  const GgufFile gguf(unpadded.path());
  EXPECT_EQ(gguf.tensors().size(), 4U);
  EXPECT_EQ(gguf.find_tensor("scalar")->bytes, 4U);
  EXPECT_EQ(gguf.find_tensor("nothing")->bytes, 0U);
  EXPECT_EQ(gguf.find_tensor("absent"), nullptr);
  g.tail = std::string(20, '\0');  // the padding of the last tensor
  EXPECT_NO_THROW(GgufFile(TemporaryFile(g.build()).path()));
  for (const uint32_t alignment : {8U, 16U, 64U, 4096U}) {
    GgufBuilder other;
    other.alignment = alignment;
    other.u32("general.alignment", alignment);
    other.tensors.push_back({"a", {3}, 0, std::string(12, 'x')});
    other.tensors.push_back({"b", {3}, 0, std::string(12, 'y')});
    EXPECT_NO_THROW(GgufFile(TemporaryFile(other.build()).path())) << alignment;
  }
}

TEST(Gguf, TensorBytesAreWhereTheyAre) {
  GgufBuilder g;
  g.tensors.push_back({"b", {2, 3}, 0, std::string(24, 'b')});
  g.tensors.push_back({"a", {32}, 8, std::string(34, 'a')});
  const std::string bytes = g.build();
  const TemporaryFile file(bytes);
  const GgufFile gguf(file.path());
  for (const char* name : {"a", "b"}) {
    const TensorInfo* tensor = gguf.find_tensor(name);
    ASSERT_NE(tensor, nullptr);
    EXPECT_EQ(bytes.substr(tensor->offset, tensor->bytes), std::string(tensor->bytes, name[0]));
  }
  EXPECT_EQ(gguf.find_tensor("b")->columns(), 2);
  EXPECT_EQ(gguf.find_tensor("b")->rows(), 3);
}

std::vector<float> dequantized(TensorType type, const std::string& bytes, int64_t count) {
  std::vector<float> to(static_cast<size_t>(count));
  dequantize(type, std::as_bytes(std::span(bytes)), count, to.data());
  return to;
}

TEST(Dequantize, SixteenAndThirtyTwoBitTypes) {
  EXPECT_EQ(dequantized(TensorType::f32, bytes_of(1.25F) + bytes_of(-3e38F), 2), (std::vector<float>{1.25F, -3e38F}));
  const std::string halves =
      bytes_of<uint16_t>(0x3C00) + bytes_of<uint16_t>(0xC000) + bytes_of<uint16_t>(0x0001) + bytes_of<uint16_t>(0x7BFF);
  EXPECT_EQ(dequantized(TensorType::f16, halves, 4), (std::vector<float>{1, -2, 0x1p-24F, 65504}));
  const std::string brains = bytes_of<uint16_t>(0x3F80) + bytes_of<uint16_t>(0xC040);
  EXPECT_EQ(dequantized(TensorType::bf16, brains, 2), (std::vector<float>{1, -3}));
}

// Two blocks of each type with different scales; expected values by ggml's formulas, element by element.
TEST(Dequantize, BlocksAsGgmlDefinesThem) {
  const uint16_t half = 0x3800, quarter = 0x3400, minus_three = 0xC200;  // 0.5, 0.25, -3
  std::string q8, q4_0, q4_1;
  for (int block = 0; block < 2; ++block) {
    q8 += bytes_of(block ? quarter : half);
    q4_0 += bytes_of(block ? quarter : half);
    q4_1 += bytes_of(block ? quarter : half) + bytes_of(minus_three);
    for (int i = 0; i < 32; ++i) q8 += static_cast<char>(i * 8 - 128 + block);
    for (int i = 0; i < 16; ++i) {
      q4_0 += static_cast<char>(i | (15 - i) << 4);
      q4_1 += static_cast<char>(i | (15 - i) << 4);
    }
  }
  const auto w8 = dequantized(TensorType::q8_0, q8, 64);
  const auto w4 = dequantized(TensorType::q4_0, q4_0, 64);
  const auto w41 = dequantized(TensorType::q4_1, q4_1, 64);
  for (int block = 0; block < 2; ++block) {
    const float d = block ? 0.25F : 0.5F;
    for (int i = 0; i < 32; ++i) {
      const auto at = static_cast<size_t>(32 * block + i);
      const int nibble = i < 16 ? i : 15 - (i - 16);
      EXPECT_EQ(w8[at], static_cast<float>(i * 8 - 128 + block) * d);
      EXPECT_EQ(w4[at], static_cast<float>(nibble - 8) * d);
      EXPECT_EQ(w41[at], static_cast<float>(nibble) * d - 3.0F);
    }
  }
}

TEST(Model, ReadsItsConfigurationAndTokenizer) {
  const TemporaryFile file(test::tiny_llama().build());
  const auto model = Model::load(file.path(), {.precision = Precision::bf16, .threads = 2});
  const ModelConfig& c = model->config();
  EXPECT_EQ(c.architecture, "llama");
  EXPECT_EQ(c.name, "tiny");
  EXPECT_EQ(c.file_type, "F32");
  EXPECT_EQ(c.layers, 2);
  EXPECT_EQ(c.heads, 4);
  EXPECT_EQ(c.kv_heads, 2);
  EXPECT_EQ(c.head_dim, 16);
  EXPECT_EQ(c.width, 64);
  EXPECT_EQ(c.mlp_width, 100);
  EXPECT_EQ(c.vocab_size, 260);
  EXPECT_EQ(c.context_length, 2048);
  EXPECT_EQ(c.rope_dim, 16);
  EXPECT_EQ(c.rope_base, 10000.0F);
  EXPECT_EQ(c.norm_epsilon, 1e-5F);
  EXPECT_EQ(model->precision(), Precision::bf16);
  EXPECT_EQ(model->path(), file.path());
  EXPECT_TRUE(model->warnings().empty());
  EXPECT_EQ(model->parameters(), 260 * 64 + 64 + 2 * (64 * (64 + 32 + 32 + 64 + 100 + 100) + 100 * 64 + 128));
  EXPECT_EQ(model->tokenizer().spec().eos_id, 259);
  EXPECT_EQ(model->tokenizer().decode(model->tokenizer().encode("the")), "the");
  EXPECT_EQ(model->sha256().size(), 64U);
  EXPECT_STREQ(precision_name(Precision::f32), "f32");
  EXPECT_STREQ(precision_name(Precision::bf16), "bf16");
}

TEST(Model, UntiedOutputAndRotationFactorsAreUsed) {
  const std::vector<int32_t> tokens = {1, 2, 3, 4, 5};
  const auto logits = [&](const GgufBuilder& g) {
    const TemporaryFile file(g.build());
    Session session(Model::load(file.path(), {.precision = Precision::f32, .threads = 1}));
    const auto view = session.run(tokens);
    return std::vector<float>(view.data, view.data + view.size());
  };
  auto g = test::tiny_llama();
  const auto tied = logits(g);
  auto twice = g.tensor("token_embd.weight");
  std::vector<float> weights(twice.data.size() / 4);
  std::memcpy(weights.data(), twice.data.data(), twice.data.size());
  for (float& w : weights) w *= 2;
  std::memcpy(twice.data.data(), weights.data(), twice.data.size());
  twice.name = "output.weight";
  g.tensors.push_back(twice);
  const auto untied = logits(g);
  for (size_t i = 0; i < tied.size(); ++i) ASSERT_EQ(untied[i], 2 * tied[i]);

  auto h = test::tiny_llama();
  std::string ones;
  for (int i = 0; i < 8; ++i) ones += bytes_of(1.0F);
  h.tensors.push_back({"rope_freqs.weight", {8}, 0, ones});
  EXPECT_EQ(logits(h), tied);
  h.tensor("rope_freqs.weight").data = std::string();
  for (int i = 0; i < 8; ++i) h.tensor("rope_freqs.weight").data += bytes_of(4.0F);
  EXPECT_NE(logits(h), tied);
}

TEST(Model, WeightsThatAreNotFiniteLoadWithAWarning) {
  auto g = test::tiny_llama();
  const float nan = std::nanf("");
  std::memcpy(g.tensor("blk.1.ffn_up.weight").data.data() + 400, &nan, 4);
  const TemporaryFile file(g.build());
  const auto model = Model::load(file.path());
  ASSERT_EQ(model->warnings().size(), 1U);
  EXPECT_NE(model->warnings()[0].find("'blk.1.ffn_up.weight'"), std::string::npos);
}

TEST(Model, TheRealFile) {
  const auto model = test::real_model();
  const ModelConfig& c = model->config();
  EXPECT_EQ(c.file_type, "Q4_1");
  EXPECT_EQ(c.layers, 30);
  EXPECT_EQ(c.heads, 9);
  EXPECT_EQ(c.kv_heads, 3);
  EXPECT_EQ(c.head_dim, 64);
  EXPECT_EQ(c.rope_base, 100000.0F);
  EXPECT_EQ(c.context_length, 8192);
  EXPECT_EQ(model->parameters(), 134515008);
}

}  // namespace
}  // namespace bareattn::model
