// Builds GGUF files byte by byte, right or wrong: every field can be planted with a fault. tiny_llama() is a whole
// model of 2 layers that loads and runs; tests change one thing in it.
#pragma once
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "text/byte_alphabet.h"

namespace bareattn::test {

template <class T>
std::string bytes_of(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}
inline std::string string_of(std::string_view text) { return bytes_of<uint64_t>(text.size()).append(text); }

struct GgufBuilder {
  struct Value {
    std::string key;
    std::string bytes;  // type and value
  };
  struct Tensor {
    std::string name;
    std::vector<uint64_t> shape;  // GGUF order
    uint32_t type = 0;
    std::string data;
    std::optional<uint64_t> offset = {};  // nothing: where it belongs
    std::optional<uint32_t> rank = {};
  };

  std::string magic = "GGUF";
  uint32_t version = 3;
  std::optional<uint64_t> tensor_count, value_count;  // nothing: the truth
  uint64_t alignment = 32;                            // of the layout (not the metadata)
  std::vector<Value> values;
  std::vector<Tensor> tensors;
  std::string tail;  // after everything

  /// Sets or replaces a value.
  GgufBuilder& raw(const std::string& key, std::string bytes) {
    erase(key);
    values.push_back({key, std::move(bytes)});
    return *this;
  }
  GgufBuilder& erase(const std::string& key) {
    std::erase_if(values, [&](const Value& value) { return value.key == key; });
    return *this;
  }
  GgufBuilder& u32(const std::string& key, uint32_t x) { return raw(key, bytes_of<uint32_t>(4) + bytes_of(x)); }
  GgufBuilder& i32(const std::string& key, int32_t x) { return raw(key, bytes_of<uint32_t>(5) + bytes_of(x)); }
  GgufBuilder& u64(const std::string& key, uint64_t x) { return raw(key, bytes_of<uint32_t>(10) + bytes_of(x)); }
  GgufBuilder& f32(const std::string& key, float x) { return raw(key, bytes_of<uint32_t>(6) + bytes_of(x)); }
  GgufBuilder& boolean(const std::string& key, uint8_t x) { return raw(key, bytes_of<uint32_t>(7) + bytes_of(x)); }
  GgufBuilder& string(const std::string& key, std::string_view x) {
    return raw(key, bytes_of<uint32_t>(8) + string_of(x));
  }
  GgufBuilder& strings(const std::string& key, const std::vector<std::string>& all) {
    std::string bytes = bytes_of<uint32_t>(9) + bytes_of<uint32_t>(8) + bytes_of<uint64_t>(all.size());
    for (const auto& text : all) bytes += string_of(text);
    return raw(key, bytes);
  }
  template <class T>
  GgufBuilder& array(const std::string& key, uint32_t element, const std::vector<T>& all) {
    std::string bytes = bytes_of<uint32_t>(9) + bytes_of(element) + bytes_of<uint64_t>(all.size());
    for (const T x : all) bytes += bytes_of(x);
    return raw(key, bytes);
  }
  Tensor& tensor(const std::string& name) {
    for (Tensor& t : tensors)
      if (t.name == name) return t;
    throw std::logic_error("no tensor " + name);
  }

  std::string build() const {
    std::string file = magic + bytes_of(version) + bytes_of<uint64_t>(tensor_count.value_or(tensors.size())) +
                       bytes_of<uint64_t>(value_count.value_or(values.size()));
    for (const Value& value : values) file += string_of(value.key) + value.bytes;
    std::string data;
    for (const Tensor& t : tensors) {
      data.resize((data.size() + alignment - 1) / alignment * alignment);
      file += string_of(t.name) + bytes_of<uint32_t>(t.rank.value_or(static_cast<uint32_t>(t.shape.size())));
      for (const uint64_t dim : t.shape) file += bytes_of(dim);
      file += bytes_of(t.type) + bytes_of<uint64_t>(t.offset.value_or(data.size()));
      data += t.data;
    }
    file.resize((file.size() + alignment - 1) / alignment * alignment);
    return file + data + tail;
  }
};

/// f32 weights drawn from a seed, as bytes.
inline std::string random_weights(uint64_t count, uint32_t seed, float scale) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::string bytes;
  bytes.reserve(count * 4);
  for (uint64_t i = 0; i < count; ++i) bytes += bytes_of(normal(random));
  return bytes;
}

inline GgufBuilder tiny_llama();

/// tiny_llama() with SentencePiece's pieces: <s>, byte tokens for all bytes but F7 to FC, and "t", "h", "e", "\u2581",
/// "th", "he", "\u2581t", the better the later.
inline GgufBuilder tiny_pieces() {
  GgufBuilder g = tiny_llama();
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<int32_t> types = {2, 3, 3};
  for (int byte = 0; byte < 250; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", byte < 247 ? byte : byte + 6);
    tokens.emplace_back(name);
    types.push_back(6);
  }
  for (const char* token : {"t", "h", "e", "\u2581", "th", "he", "\u2581t"}) {
    tokens.emplace_back(token);
    types.push_back(1);
  }
  std::vector<float> scores(tokens.size(), 0);
  for (size_t i = 253; i < scores.size(); ++i) scores[i] = static_cast<float>(i);
  g.string("tokenizer.ggml.model", "llama").erase("tokenizer.ggml.pre").erase("tokenizer.ggml.merges");
  g.strings("tokenizer.ggml.tokens", tokens).array<int32_t>("tokenizer.ggml.token_type", 5, types);
  g.array<float>("tokenizer.ggml.scores", 6, scores).u32("tokenizer.ggml.unknown_token_id", 0);
  return g.u32("tokenizer.ggml.bos_token_id", 1).u32("tokenizer.ggml.eos_token_id", 2);
}

inline GgufBuilder tiny_llama() {
  constexpr uint32_t layers = 2, width = 64, heads = 4, kv_heads = 2, head_dim = 16, mlp = 100, vocabulary = 260;
  GgufBuilder g;
  g.string("general.architecture", "llama").string("general.name", "tiny").u32("llama.block_count", layers);
  g.u32("llama.context_length", 2048).u32("llama.embedding_length", width).u32("llama.feed_forward_length", mlp);
  g.u32("llama.attention.head_count", heads).u32("llama.attention.head_count_kv", kv_heads);
  g.f32("llama.attention.layer_norm_rms_epsilon", 1e-5F).f32("llama.rope.freq_base", 10000.0F);
  g.u32("llama.vocab_size", vocabulary).u32("llama.rope.dimension_count", head_dim);
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(text::letter_of_byte(static_cast<uint8_t>(byte)));
  for (const char* token : {"th", "he", "<|im_start|>", "<|im_end|>"}) tokens.emplace_back(token);
  std::vector<int32_t> types(vocabulary, 1);
  types[258] = types[259] = 3;
  g.string("tokenizer.ggml.model", "gpt2").string("tokenizer.ggml.pre", "smollm");
  g.strings("tokenizer.ggml.tokens", tokens).array<int32_t>("tokenizer.ggml.token_type", 5, types);
  g.strings("tokenizer.ggml.merges", {"t h", "h e"}).u32("tokenizer.ggml.eos_token_id", 259);

  uint32_t seed = 1;
  const auto add = [&](const std::string& name, std::vector<uint64_t> shape, float scale) {
    uint64_t count = 1;
    for (const uint64_t dim : shape) count *= dim;
    g.tensors.push_back({name, shape, 0, random_weights(count, seed++, scale)});
  };
  add("token_embd.weight", {width, vocabulary}, 1.0F);
  add("output_norm.weight", {width}, 1.0F);
  for (uint32_t layer = 0; layer < layers; ++layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    add(prefix + "attn_norm.weight", {width}, 1.0F);
    add(prefix + "attn_q.weight", {width, heads * head_dim}, 0.15F);
    add(prefix + "attn_k.weight", {width, kv_heads * head_dim}, 0.15F);
    add(prefix + "attn_v.weight", {width, kv_heads * head_dim}, 0.15F);
    add(prefix + "attn_output.weight", {heads * head_dim, width}, 0.15F);
    add(prefix + "ffn_norm.weight", {width}, 1.0F);
    add(prefix + "ffn_gate.weight", {width, mlp}, 0.15F);
    add(prefix + "ffn_up.weight", {width, mlp}, 0.15F);
    add(prefix + "ffn_down.weight", {mlp, width}, 0.15F);
  }
  return g;
}

/// Tokens for a tiny_llama() whose vocabulary is the bytes.
inline std::vector<int32_t> byte_tokens(int64_t count) {
  std::mt19937 random(7);
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<int32_t>(random() % 256));
  return tokens;
}

/// A file that is deleted with this object.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string_view content) {
    std::string path = std::filesystem::temp_directory_path() / "bareattn-test-XXXXXX";
    const int fd = mkstemp(path.data());
    if (fd < 0) throw std::runtime_error("cannot make a temporary file");
    close(fd);
    path_ = path;
    std::ofstream(path_, std::ios::binary) << content;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace bareattn::test
