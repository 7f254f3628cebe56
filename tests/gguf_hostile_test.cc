// Malformed model files, one test per kind of fault (the numbers are those of the project's checklist A): each is
// refused by a FileError that names the file and what was found, within a second, never by a signal; and files cut at
// every length or with any byte changed are refused or load, nothing else. Run it under ASan and UBSan (preset dev).
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <random>

#include "bareattn/error.h"
#include "bareattn/model.h"
#include "files/gguf.h"
#include "gguf_builder.h"

namespace bareattn {
namespace {

using model::GgufFile;
using test::bytes_of;
using test::GgufBuilder;
using test::string_of;
using test::TemporaryFile;
using test::tiny_llama;

struct Case {
  std::string name;
  std::string file;
  std::string expected;  // part of the error
};

void expect_refused(const Case& c) {
  SCOPED_TRACE(c.name);
  const TemporaryFile file(c.file);
  const auto start = std::chrono::steady_clock::now();
  try {
    Model::load(file.path(), {.precision = Precision::f32, .threads = 1});
    ADD_FAILURE() << "loaded; an error with '" << c.expected << "' was expected";
  } catch (const FileError& error) {
    const std::string text = error.what();
    EXPECT_TRUE(text.starts_with(file.path() + ": ")) << text;
    EXPECT_NE(text.find(c.expected), std::string::npos) << text;
    EXPECT_LT(text.size(), file.path().size() + 400) << text;
    for (const char byte : text) ASSERT_GE(static_cast<unsigned char>(byte), 0x20) << text;
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  EXPECT_LT(seconds.count(), 1.0);
}

/// tiny_llama() with one change.
template <class Change>
std::string tiny(const Change& change) {
  GgufBuilder g = tiny_llama();
  change(g);
  return g.build();
}

std::string with_value(const std::string& key, const std::string& bytes) {
  return tiny([&](GgufBuilder& g) { g.raw(key, bytes); });
}
std::string with_u32(const std::string& key, uint32_t value) {
  return tiny([&](GgufBuilder& g) { g.u32(key, value); });
}
std::string with_f32(const std::string& key, float value) {
  return tiny([&](GgufBuilder& g) { g.f32(key, value); });
}
template <class Change>
std::string with_tensor(const std::string& name, const Change& change) {
  return tiny([&](GgufBuilder& g) { change(g.tensor(name)); });
}

TEST(HostileGguf, A1_A2_A3_A45_NotAGguf) {
  const std::string good = tiny_llama().build();
  const auto version = [](uint32_t v) { return tiny([&](GgufBuilder& g) { g.version = v; }); };
  for (const Case& c : std::vector<Case>{
           {"empty", "", "empty"},
           {"one byte", "G", "not a GGUF file"},
           {"three bytes", "GGU", "not a GGUF file"},
           {"magic alone", "GGUF", "version needs 4 bytes"},
           {"bad magic", "GGUX" + good.substr(4), "begins with 'GGUX'"},
           {"escape in the magic", "\x1b[2J", "\\x1b[2J"},
           {"byte-swapped magic", "FUGG" + good.substr(4), "byte-swapped"},
           {"version 0", version(0), "GGUF version 0"},
           {"version 1", version(1), "GGUF version 1"},
           {"version 4", version(4), "GGUF version 4"},
           {"version 2^32-1", version(UINT32_MAX), "GGUF version 4294967295"},
           {"big-endian", version(0x03000000), "big-endian"},
           {"zip", std::string("PK\x03\x04") + good, "zip archive"},
           {"pickle", std::string("\x80\x02}q") + good, "pickle"},
           {"gzip", std::string("\x1f\x8b\x08") + good, "gzip"},
           {"html", "<!DOCTYPE html><html>", "HTML"},
           {"lfs", "version https://git-lfs.github.com/spec/v1\n", "Git LFS"},
           {"safetensors", std::string("\x10\0\0\0\0\0\0\0{\"a\":", 13), "safetensors"},
       })
    expect_refused(c);
  EXPECT_THROW(Model::load("/nonexistent/file.gguf"), FileError);
  EXPECT_THROW(Model::load("/"), FileError);
  EXPECT_THROW(Model::load("/dev/zero"), FileError);
  EXPECT_THROW(Model::load(""), FileError);
}

TEST(HostileGguf, A4_A5_A6_Counts) {
  for (const uint64_t count : {uint64_t{1} << 32, uint64_t{1} << 63, UINT64_MAX, uint64_t{65'537}, uint64_t{60'000}}) {
    expect_refused({"tensors", tiny([&](GgufBuilder& g) { g.tensor_count = count; }), ""});
    expect_refused({"values", tiny([&](GgufBuilder& g) { g.value_count = count; }), ""});
  }
  expect_refused(
      {"tensors", tiny([&](GgufBuilder& g) { g.tensor_count = UINT64_MAX; }), "tensor count is 18446744073709551615"});
  GgufBuilder small;
  small.value_count = 1000;
  expect_refused({"room", small.build(), "metadata count is 1000, but only"});
  GgufBuilder few;
  few.tensor_count = 1000;
  expect_refused({"room", few.build(), "tensor count is 1000, but only"});
  expect_refused(
      {"no tensors", tiny([](GgufBuilder& g) { g.tensors.clear(); }), "tensor 'token_embd.weight' is missing"});
  expect_refused({"no values", tiny([](GgufBuilder& g) { g.values.clear(); }), "'general.architecture' is missing"});
}

TEST(HostileGguf, A7_A8_A9_Keys) {
  const auto with_key = [](const std::string& key_bytes) {
    return tiny([&](GgufBuilder& g) {
      g.value_count = g.values.size() + 2;

      g.values.push_back({"z", bytes_of<uint32_t>(4) + bytes_of<uint32_t>(1) + key_bytes + bytes_of<uint32_t>(4) +
                                   bytes_of<uint32_t>(1)});
    });
  };
  expect_refused({"length 0", with_key(bytes_of<uint64_t>(0)), "metadata key is empty"});
  for (const uint64_t length : {uint64_t{1} << 31, uint64_t{1} << 63, UINT64_MAX})
    expect_refused(
        {"length", with_key(bytes_of(length) + "key"), "metadata key needs " + std::to_string(length) + " bytes"});
  expect_refused({"long key", with_key(string_of(std::string(70'000, 'k'))), "70000 bytes"});
  expect_refused({"NUL", with_key(string_of(std::string("a\0b", 3))), "byte 0"});
  expect_refused({"UTF-8", with_key(string_of("a\xff")), "byte 255"});
  expect_refused({"ANSI", with_key(string_of("a\x1b[31mred")), "\\x1b[31mred"});
  expect_refused({"duplicate", with_key(string_of("llama.block_count")), "'llama.block_count' stands twice"});
  expect_refused({"duplicate tensor", tiny([](GgufBuilder& g) { g.tensors.push_back(g.tensor("output_norm.weight")); }),
                  "'output_norm.weight' stands twice"});
  expect_refused({"tensor name", with_tensor("output_norm.weight", [](auto& t) { t.name = "a\x1b[0m"; }), "byte 27"});
  expect_refused(
      {"tensor name", with_tensor("output_norm.weight", [](auto& t) { t.name = ""; }), "tensor name is empty"});
  expect_refused(
      {"tensor name", with_tensor("output_norm.weight", [](auto& t) { t.name.assign(65, 'n'); }), "65 bytes"});
}

TEST(HostileGguf, A10_A11_A12_A13_Values) {
  const auto array = [](uint32_t element, uint64_t count, const std::string& bytes = "") {
    return with_value("x", bytes_of<uint32_t>(9) + bytes_of(element) + bytes_of(count) + bytes);
  };
  for (const uint32_t type : {13U, 14U, 255U, UINT32_MAX}) {
    expect_refused({"type", with_value("x", bytes_of(type)), "value type " + std::to_string(type)});
    expect_refused({"element", array(type, 1), "value type " + std::to_string(type)});
  }
  expect_refused({"array of arrays", array(9, 1, bytes_of<uint32_t>(4) + bytes_of<uint64_t>(0)), "array of arrays"});
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += bytes_of<uint32_t>(9) + bytes_of<uint64_t>(1);
  expect_refused({"nested 10^5", array(9, 1, deep), "array of arrays"});
  for (const uint32_t element : {0U, 4U, 8U, 10U}) {
    expect_refused({"2^63", array(element, uint64_t{1} << 63), "9223372036854775808"});
    expect_refused({"2^64-1", array(element, UINT64_MAX), "18446744073709551615"});
    expect_refused({"2^61+1", array(element, (uint64_t{1} << 61) + 1), "2305843009213693953"});
  }
  GgufBuilder g;
  g.raw("x", bytes_of<uint32_t>(9) + bytes_of<uint32_t>(8) + bytes_of<uint64_t>(1U << 30) + std::string(8, '\0'));
  expect_refused({"2^30 strings in 8 bytes", g.build(), "array of 1073741824 string"});
  for (const uint64_t length : {uint64_t{1} << 63, UINT64_MAX, uint64_t{10'000'000}}) {
    expect_refused({"string", with_value("x", bytes_of<uint32_t>(8) + bytes_of(length)),
                    "needs " + std::to_string(length) + " bytes"});
    expect_refused({"string in array", array(8, 1, bytes_of(length)), "needs " + std::to_string(length) + " bytes"});
  }
  expect_refused({"bool 2", tiny([](GgufBuilder& b) { b.boolean("x", 2); }), "bool 2"});
  expect_refused({"bool 255 in an array", array(7, 3, std::string("\0\1\xff", 3)), "bool 255"});
  for (const float value : {std::nanf(""), INFINITY, -INFINITY}) {
    expect_refused({"eps", with_f32("llama.attention.layer_norm_rms_epsilon", value), "a finite number is needed"});
    expect_refused({"base", with_f32("llama.rope.freq_base", value), "a finite number is needed"});
  }
}

TEST(HostileGguf, A14_Alignment) {
  for (const uint32_t alignment : {0U, 1U, 3U, 4U, 48U, 1U << 31, UINT32_MAX})
    expect_refused(
        {"alignment", with_u32("general.alignment", alignment), "general.alignment is " + std::to_string(alignment)});
  expect_refused({"string", tiny([](GgufBuilder& g) { g.string("general.alignment", "32"); }), "an integer is needed"});
  expect_refused({"float", with_f32("general.alignment", 32), "an integer is needed"});
  expect_refused({"negative", tiny([](GgufBuilder& g) { g.i32("general.alignment", -32); }), "may not be negative"});
}

TEST(HostileGguf, A15_A16_A17_A18_A19_Shapes) {
  const auto shape = [](std::vector<uint64_t> dims, uint32_t type = 0) {
    return with_tensor("output_norm.weight", [&](auto& t) { t.shape = dims, t.type = type; });
  };
  expect_refused({"5 dims", shape({64, 1, 1, 1, 1}), "5 dimensions"});
  expect_refused({"2^32-1 dims", with_tensor("output_norm.weight", [](auto& t) { t.rank = UINT32_MAX; }),
                  "4294967295 dimensions"});
  const auto fitting = [](std::vector<uint64_t> dims,
                          size_t bytes) {  // without a gap behind it, which is refused first
    return with_tensor("output_norm.weight", [&](auto& t) { t.shape = dims, t.data.resize(bytes); });
  };
  expect_refused({"no dims", fitting({}, 4), "has shape [1, 1]; [64, 1] is needed"});
  expect_refused({"dim 0", fitting({0}, 0), "has shape [0, 1]; [64, 1] is needed"});
  expect_refused({"dim -1", shape({UINT64_MAX}), "18446744073709551615"});
  expect_refused({"dim 2^63", shape({uint64_t{1} << 63}), "9223372036854775808"});
  expect_refused({"dim 2^63-1", shape({INT64_MAX}), ""});
  expect_refused({"2^32 x 2^32", shape({uint64_t{1} << 32, uint64_t{1} << 32}), "does not fit in 64 bits"});
  expect_refused(
      {"wraps to 0 with a zero", shape({uint64_t{1} << 40, uint64_t{1} << 40, 0}), "does not fit in 64 bits"});
  expect_refused({"2^42+1", shape({(uint64_t{1} << 42) + 1, uint64_t{1} << 22}), "does not fit in 64 bits"});
  expect_refused({"2^62 f32", shape({uint64_t{1} << 31, uint64_t{1} << 31}), "does not fit in 64 bits"});
  expect_refused({"2^61 f32", shape({uint64_t{1} << 31, uint64_t{1} << 30}), ""});
  for (const uint32_t type : {2U, 3U, 8U})
    expect_refused({"row of 33", shape({33}, type), "a multiple of 32 is needed"});
  expect_refused({"type -1", shape({64}, UINT32_MAX), "type 4294967295"});
  expect_refused({"type past the last", shape({64}, 1000), "type 1000"});
  expect_refused({"removed type", shape({64}, 4), "Q4_2"});
  expect_refused({"removed type", shape({64}, 31), "type 31"});
  expect_refused({"unread type", shape({256}, 16), "IQ2_XXS; F32, F16"});
  expect_refused({"row of 288", shape({288}, 14), "a multiple of 256 is needed for Q6_K"});
}

TEST(HostileGguf, A20_A21_A22_Offsets) {
  const auto offset = [](uint64_t value) {
    return with_tensor("output_norm.weight", [&](auto& t) { t.offset = value; });
  };
  expect_refused({"unaligned", offset(7), "a multiple of 32 is needed"});
  expect_refused({"first tensor's place", offset(0), "overlap"});
  expect_refused({"inside another", offset(64), "overlap"});
  expect_refused({"past the end", offset(uint64_t{1} << 40), "end past"});
  expect_refused({"near 2^64", offset(UINT64_MAX - 31), "does not fit in 64 bits"});
  expect_refused({"2^64 - 1", offset(UINT64_MAX), "a multiple of 32 is needed"});
  expect_refused({"size near 2^64",
                  with_tensor("output_norm.weight",
                              [](auto& t) {
                                t.shape = {INT64_MAX / 4, 2};
                              }),
                  "end past"});
  // A type that needs fewer bytes than the data have: a gap behind it.
  const auto narrower = [](const char* name, uint32_t to) { return with_tensor(name, [&](auto& t) { t.type = to; }); };
  expect_refused({"f16 for f32", narrower("token_embd.weight", 1), "by its type and shape: one of them is wrong"});
  expect_refused({"q8_0 for f32", narrower("blk.0.attn_q.weight", 8), "by its type and shape"});
  expect_refused({"a gap", with_tensor("blk.1.ffn_norm.weight", [](auto& t) { t.data += std::string(64, '\0'); }),
                  "by its type and shape"});
  expect_refused({"a gap before the first",
                  with_tensor("token_embd.weight",
                              [](auto& t) {
                                t.shape = {0, 260};
                              }),
                  "by its type and shape"});
  std::string good = tiny_llama().build();
  expect_refused({"one byte short", good.substr(0, good.size() - 1), "end past"});
  expect_refused({"data missing", good.substr(0, good.size() - 300'000), "end past"});
}

TEST(HostileGguf, A23_AMillionValuesTakeLinearTime) {
  GgufBuilder g;
  g.values.reserve(1'000'000);
  for (int i = 0; i < 1'000'000; ++i) g.values.push_back({std::to_string(i), bytes_of<uint32_t>(0) + "x"});
  const TemporaryFile file(g.build());
  const auto seconds = [&](const auto& body) {
    const auto start = std::chrono::steady_clock::now();
    body();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  const double time = seconds([&] {
    const GgufFile gguf(file.path());
    EXPECT_EQ(gguf.values(), 1'000'000U);
    EXPECT_EQ(gguf.integer("999999"), static_cast<uint64_t>('x'));
  });
  EXPECT_LT(time, 3.0);  // 0.25 s here; the rest is for sanitizers and a busy machine, a quadratic reader takes hours
  std::printf("1,000,000 values: %.2f s\n", time);
  g.values.push_back({"500000", bytes_of<uint32_t>(0) + "x"});
  const TemporaryFile twice(g.build());
  EXPECT_THROW(GgufFile(twice.path()), FileError);
  GgufBuilder t;
  for (int i = 0; i < 65'536; ++i) t.tensors.push_back({"t" + std::to_string(i), {0}, 0, ""});
  const TemporaryFile tensors(t.build());
  EXPECT_LT(seconds([&] { EXPECT_EQ(GgufFile(tensors.path()).tensors().size(), 65'536U); }), 3.0);
}

TEST(HostileGguf, A24_Hyperparameters) {
  for (const char* key : {"block_count", "context_length", "embedding_length", "feed_forward_length",
                          "attention.head_count", "attention.head_count_kv", "rope.dimension_count"}) {
    const std::string full = std::string("llama.") + key;
    expect_refused({key, with_u32(full, 0), "'" + full + "' is 0"});
    expect_refused({key, with_u32(full, 1U << 31), "'" + full + "' is 2147483648"});
    expect_refused({key, tiny([&](GgufBuilder& g) { g.i32(full, -1); }), "may not be negative"});
    expect_refused({key, tiny([&](GgufBuilder& g) { g.string(full, "2"); }), "is string; an integer is needed"});
    expect_refused({key, tiny([&](GgufBuilder& g) {
                      g.array<uint32_t>(full, 4, {2, 3});
                    }),
                    "an array of 2, 3, ..; only one number"});
    expect_refused({key, tiny([&](GgufBuilder& g) {
                      g.array<float>(full, 6, {2, 2});
                    }),
                    "an array of f32; an integer"});
  }
  for (const char* key :
       {"block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count"})
    expect_refused({key, tiny([&](GgufBuilder& g) { g.erase(std::string("llama.") + key); }), "is missing"});
  expect_refused(
      {"kv does not divide", with_u32("llama.attention.head_count_kv", 3), "does not divide the 4 query heads"});
  expect_refused({"heads do not divide", with_u32("llama.attention.head_count", 6), "does not divide the width 64"});
  expect_refused({"more blocks than stored", with_u32("llama.block_count", 3), "'blk.2.attn_norm.weight' is missing"});
  expect_refused({"rope over head", with_u32("llama.rope.dimension_count", 18), "an even number up to 16"});
  expect_refused({"rope odd", with_u32("llama.rope.dimension_count", 15), "an even number"});
  expect_refused({"key length", with_u32("llama.attention.key_length", 32), "has shape"});
  expect_refused({"value length", with_u32("llama.attention.value_length", 8), "must equal the key length"});
  expect_refused({"eps 0", with_f32("llama.attention.layer_norm_rms_epsilon", 0), "over 0"});
  expect_refused({"eps -1", with_f32("llama.attention.layer_norm_rms_epsilon", -1), "over 0"});
  expect_refused({"base 0", with_f32("llama.rope.freq_base", 0), "over 0"});
  expect_refused({"vocabulary", with_u32("llama.vocab_size", 261), "the vocabulary has 260"});
  expect_refused(
      {"scaling", tiny([](GgufBuilder& g) { g.string("llama.rope.scaling.type", "longrope"); }), "'longrope'"});
  expect_refused({"experts", with_u32("llama.expert_count", 8), "only 0 can be run"});
  expect_refused({"architecture", tiny([](GgufBuilder& g) { g.string("general.architecture", "mamba\x1b[1m"); }),
                  "'mamba\\x1b[1m'"});
  expect_refused({"architecture", with_u32("general.architecture", 1), "a string is needed"});
}

TEST(HostileGguf, A25_A26_Tensors) {
  for (const auto& tensor : tiny_llama().tensors) {
    expect_refused({tensor.name, tiny([&](GgufBuilder& g) {
                      std::erase_if(g.tensors, [&](const auto& t) { return t.name == tensor.name; });
                    }),
                    "tensor '" + tensor.name + "' is missing"});
    expect_refused({tensor.name,
                    with_tensor(tensor.name,
                                [](auto& t) {
                                  t.shape.push_back(1), t.shape[0] -= 1,
                                      t.data.resize(t.data.size() - t.data.size() / (t.shape[0] + 1));
                                }),
                    "tensor '" + tensor.name + "' has shape"});
  }
  expect_refused({"transposed", with_tensor("blk.0.ffn_up.weight", [](auto& t) { std::swap(t.shape[0], t.shape[1]); }),
                  "[100, 64]; [64, 100] is needed"});
  expect_refused({"three dimensions",
                  with_tensor("blk.0.attn_q.weight",
                              [](auto& t) {
                                t.shape = {64, 32, 2};
                              }),
                  "is needed"});
  expect_refused({"bias", tiny([](GgufBuilder& g) {
                    g.tensors.push_back({"blk.0.attn_q.bias", {64}, 0, std::string(256, '\0')});
                  }),
                  "'blk.0.attn_k.bias' is missing"});
  expect_refused({"split", with_u32("split.count", 3), "part 1 of 3, but its name does not end in"});
}

TEST(HostileGguf, A27_A28_A29_Vocabulary) {
  const auto key = [](const char* name) { return std::string("tokenizer.ggml.") + name; };
  expect_refused({"types short", tiny([&](GgufBuilder& g) {
                    g.array<int32_t>(key("token_type"), 5, {1, 1});
                  }),
                  "has 2 entries, but the vocabulary has 260"});
  expect_refused({"types f32",
                  tiny([&](GgufBuilder& g) { g.array<float>(key("token_type"), 6, std::vector<float>(260)); }),
                  "an array of f32; an array of i32"});
  expect_refused({"types 99",
                  tiny([&](GgufBuilder& g) { g.array<int32_t>(key("token_type"), 5, std::vector<int32_t>(260, 99)); }),
                  "type 99"});
  expect_refused(
      {"scores short", tiny([&](GgufBuilder& g) { g.array<float>(key("scores"), 6, {1}); }), "has 1 entries"});
  expect_refused({"scores i32",
                  tiny([&](GgufBuilder& g) { g.array<int32_t>(key("scores"), 5, std::vector<int32_t>(260)); }),
                  "an array of f32 is needed"});
  expect_refused({"tokens absent", tiny([&](GgufBuilder& g) { g.erase(key("tokens")); }), "no vocabulary"});
  expect_refused({"tokens i32", tiny([&](GgufBuilder& g) { g.array<int32_t>(key("tokens"), 5, {1}); }),
                  "an array of string is needed"});
  expect_refused({"tokens none", tiny([&](GgufBuilder& g) { g.strings(key("tokens"), {}).erase("llama.vocab_size"); }),
                  "0 tokens"});
  expect_refused({"model absent", tiny([&](GgufBuilder& g) { g.erase(key("model")); }), "tokenizer.ggml.model"});
  expect_refused({"model unknown", tiny([&](GgufBuilder& g) { g.string(key("model"), "rwkv"); }), "rwkv"});
  for (const char* id : {"bos_token_id", "eos_token_id", "unknown_token_id", "padding_token_id"}) {
    expect_refused({id, with_u32(key(id), 260), "is 260; the vocabulary has 260 tokens"});
    expect_refused({id, tiny([&](GgufBuilder& g) { g.i32(key(id), -2); }), "may not be negative"});
    if (std::string_view(id) == "padding_token_id") continue;  // of -1: metadata_test.cc
    expect_refused({id, with_u32(key(id), UINT32_MAX), "is 4294967295"});
  }
  expect_refused(
      {"merge of unknown tokens", tiny([&](GgufBuilder& g) { g.strings(key("merges"), {"q z"}); }), "merge 0"});
  expect_refused({"merge without a space", tiny([&](GgufBuilder& g) { g.strings(key("merges"), {"th"}); }), "merge 0"});
  expect_refused(
      {"merges i32", tiny([&](GgufBuilder& g) { g.array<int32_t>(key("merges"), 5, {1}); }), "an array of string"});
  const auto token = [&](const std::string& text) {
    return tiny([&](GgufBuilder& g) {
      std::vector<std::string> tokens;
      for (int i = 0; i < 260; ++i) tokens.push_back("t" + std::to_string(i));
      tokens[7] = text;
      g.strings(key("tokens"), tokens).strings(key("merges"), {});
    });
  };
  expect_refused({"empty token", token(""), "token 7 is empty"});
  expect_refused({"duplicate token", token("t9"), "t9"});
}

// Every fault that can be made by cutting or by changing one byte: refused or loaded, within the second.
TEST(HostileGguf, A22_CutAnywhere) {
  const std::string good = tiny_llama().build();
  size_t refused = 0;
  std::mt19937 random(3);
  for (size_t length = 0; length < good.size(); length += length < 3000 ? 7 : 1 + random() % 4000) {
    const TemporaryFile file(std::string_view(good).substr(0, length));
    EXPECT_THROW(Model::load(file.path(), {.precision = Precision::f32, .threads = 1}), FileError) << length;
    ++refused;
  }
  EXPECT_GT(refused, 400U);
}

TEST(HostileGguf, OneByteChangedAnywhere) {
  const std::string good = tiny_llama().build();
  const size_t metadata = good.size() - 64 * 260 * 4 - 64 * 4 - 2 * (64 * 392 + 100 * 64 + 128) * 4;
  std::mt19937 random(5);
  int refused = 0, loaded = 0;
  for (int i = 0; i < 1500; ++i) {
    std::string bad = good;
    const size_t at = random() % metadata;
    bad[at] = static_cast<char>(i % 3 == 0 ? 0xff : i % 3 == 1 ? bad[at] ^ (1 << random() % 8) : random());
    const TemporaryFile file(bad);
    try {
      const auto model = Model::load(file.path(), {.precision = Precision::f32, .threads = 1});
      Session session(model, {.threads = 1, .max_tokens = 4});
      session.run(std::vector<int32_t>{1, 2, 3});
      ++loaded;
    } catch (const InputError&) {
      ++refused;
    }
  }
  std::printf("%d refused, %d loaded and run\n", refused, loaded);
  EXPECT_GT(refused, 300);
  EXPECT_GT(loaded, 50);
}

// A44: the file is changed between loading and the first use of its hash, or replaced by another under its name.
TEST(HostileGguf, A44_ChangedUnderTheReader) {
  const TemporaryFile file(tiny_llama().build());
  const auto model = Model::load(file.path());
  const std::vector<int32_t> tokens = {1, 2, 3};
  Session session(model);
  const auto view = session.run(tokens);
  const std::vector<float> before(view.data, view.data + view.size());
  std::filesystem::resize_file(file.path(), 100);
  session.truncate(0);
  const auto again = session.run(tokens);
  EXPECT_EQ(before, std::vector<float>(again.data, again.data + again.size()));
  EXPECT_THROW(model->sha256(), FileError);
  EXPECT_THROW(Model::load(file.path()), FileError);
}

}  // namespace
}  // namespace bareattn
