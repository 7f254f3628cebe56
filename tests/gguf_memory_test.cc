// What a refused model file may cost: at most its own size and 64 MiB of memory, and a second (checklist A's rules),
// for files that are large where a file can be: a token, the vocabulary, the merges, the counts. Memory is the kernel's
// own account of this process (VmHWM, reset before each case); under a sanitizer it counts the sanitizer's too, so the
// bounds of memory are not checked there and the test says so. Faults of form: gguf_hostile_test.cc.
#include <gtest/gtest.h>

#include <ctime>
#include <fstream>
#include <random>

#include "bareattn/error.h"
#include "bareattn/model.h"
#include "base/utf8.h"
#include "gguf_builder.h"

namespace bareattn {
namespace {

using test::bytes_of;
using test::GgufBuilder;
using test::string_of;
using test::TemporaryFile;
using test::tiny_llama;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

/// A line of /proc/self/status in bytes.
int64_t status_bytes(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind(name + ":", 0) == 0) return std::stoll(line.substr(name.size() + 1)) * 1024;
  }
  ADD_FAILURE() << "no " << name << " in /proc/self/status";
  return 0;
}

struct Cost {
  int64_t memory;     // bytes beyond what the process had, at the highest
  double seconds;     // of processor time, so that a busy machine does not matter
  std::string error;  // empty: it loaded
};

Cost cost_of_loading(const std::string& path) {
  std::ofstream("/proc/self/clear_refs") << "5";  // VmHWM begins anew
  const int64_t before = status_bytes("VmRSS");
  const std::clock_t start = std::clock();
  Cost cost{};
  try {
    Model::load(path, {.precision = Precision::f32, .threads = 1});
  } catch (const FileError& error) {
    cost.error = error.what();
  }
  cost.seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  cost.memory = status_bytes("VmHWM") - before;
  return cost;
}

constexpr const char* loads = "it loads";  // instead of a part of an error
void expect_cheap_refusal(const std::string& name, GgufBuilder builder, const std::string& part) {
  SCOPED_TRACE(name);
  std::string bytes = builder.build();
  const auto size = static_cast<int64_t>(bytes.size());
  const TemporaryFile file(bytes);
  std::string().swap(bytes);
  builder = {};
  const Cost cost = cost_of_loading(file.path());
  if (part == loads)
    EXPECT_EQ(cost.error, "");
  else
    EXPECT_NE(cost.error.find(part), std::string::npos) << cost.error;
  EXPECT_LT(cost.error.size(), file.path().size() + 400);
  EXPECT_LT(cost.seconds, sanitized ? 20.0 : 1.0);
  if (sanitized) {
    std::printf("%s: memory is not checked under a sanitizer\n", name.c_str());
  } else {
    EXPECT_LE(cost.memory, size + (int64_t{64} << 20));
  }
  std::printf("%s: file %.1f MB, memory %.1f MB, %.2f s\n", name.c_str(), 1e-6 * static_cast<double>(size),
              1e-6 * static_cast<double>(cost.memory), cost.seconds);
}

std::string string_array(uint64_t count, const std::string& element) {
  std::string bytes = bytes_of<uint32_t>(9) + bytes_of<uint32_t>(8) + bytes_of(count);
  bytes.reserve(bytes.size() + count * element.size());
  for (uint64_t i = 0; i < count; ++i) bytes += element;
  return bytes;
}

TEST(GgufMemory, MeasuresWhatIsAllocated) {
  std::ofstream("/proc/self/clear_refs") << "5";
  const int64_t before = status_bytes("VmRSS");
  { const std::vector<char> block(100 << 20, 'x'); }
  EXPECT_GT(status_bytes("VmHWM") - before, 90 << 20);  // otherwise the other tests would show nothing
}

TEST(GgufMemory, ATokenOfTenMegabytes) {
  auto g = tiny_llama();
  std::vector<std::string> tokens;
  for (int i = 0; i < 260; ++i) tokens.push_back("t" + std::to_string(i));
  tokens[9].assign(10'000'000, 'a');
  g.strings("tokenizer.ggml.tokens", tokens).strings("tokenizer.ggml.merges", {});
  expect_cheap_refusal("a token of 10 MB", std::move(g), "");
}

TEST(GgufMemory, TenMillionMerges) {
  auto g = tiny_llama();
  g.raw("tokenizer.ggml.merges", string_array(10'000'000, string_of("t h")));
  expect_cheap_refusal("10^7 times the same merge", std::move(g), "merge");
}

TEST(GgufMemory, TenMillionTokens) {
  auto g = tiny_llama();
  g.raw("tokenizer.ggml.tokens", string_array(10'000'000, string_of("t")));
  expect_cheap_refusal("10^7 tokens", std::move(g), "");
  g = tiny_llama();
  g.erase("llama.vocab_size").raw("tokenizer.ggml.tokens", string_array(10'000'000, string_of("t")));
  expect_cheap_refusal("10^7 tokens and no vocabulary size", std::move(g), "");
}

// As many tokens as are read at all, of a byte each and of sixteen, which a string does not hold in itself.
TEST(GgufMemory, FourMillionTokens) {
  for (const size_t length : {8U, 16U}) {
    auto g = tiny_llama();
    std::string tokens = bytes_of<uint32_t>(9) + bytes_of<uint32_t>(8) + bytes_of<uint64_t>(4'194'304);
    for (int i = 0; i < 4'194'304; ++i) {
      const std::string digits = std::to_string(10'000'000 + i);
      tokens += string_of(digits + std::string(length - digits.size(), 'x'));
    }
    g.erase("llama.vocab_size").erase("tokenizer.ggml.token_type").raw("tokenizer.ggml.tokens", std::move(tokens));
    expect_cheap_refusal("4 10^6 tokens", std::move(g), "of memory");
  }
}

TEST(GgufMemory, ArraysOfTheWrongKind) {
  auto g = tiny_llama();
  g.array<int32_t>("tokenizer.ggml.token_type", 5, std::vector<int32_t>(20'000'000, 1));
  expect_cheap_refusal("2 10^7 token types", std::move(g), "entries");
  g = tiny_llama();
  g.raw("general.name", bytes_of<uint32_t>(8) + string_of(std::string(50'000'000, '\xff')));
  expect_cheap_refusal("a name of 50 MB", std::move(g), loads);  // its beginning is enough
  g = tiny_llama();
  g.raw("tokenizer.chat_template", bytes_of<uint32_t>(8) + string_of(std::string(50'000'000, '{')));
  g.u32("llama.block_count", 3);
  expect_cheap_refusal("a chat template of 50 MB", std::move(g), "");
}

TEST(GgufMemory, CountsOfMoreThanThereIs) {
  for (const uint64_t count : {uint64_t{65'536}, uint64_t{3'000'000}, uint64_t{1} << 60}) {
    auto g = tiny_llama();
    g.tensor_count = count;
    expect_cheap_refusal("tensor count", std::move(g), "");
    g = tiny_llama();
    g.value_count = count;
    expect_cheap_refusal("metadata count", std::move(g), "");
  }
}

// Pieces: a short text can be cut into two tokens in very many ways, has many characters, and many pairs of them.
TEST(GgufMemory, PiecesThatAreMadeToBeMany) {
  const auto with_pieces = [](const std::vector<std::string>& tokens) {
    auto g = tiny_llama();
    g.erase("llama.vocab_size").erase("tokenizer.ggml.token_type").erase("tokenizer.ggml.eos_token_id");
    g.string("tokenizer.ggml.model", "llama").erase("tokenizer.ggml.pre").erase("tokenizer.ggml.merges");
    g.array<float>("tokenizer.ggml.scores", 6, std::vector<float>(tokens.size()));
    return g.strings("tokenizer.ggml.tokens", tokens);
  };
  const auto runs = [](int letters) {  // every cut of a run is two runs
    std::vector<std::string> tokens;
    for (int first = 0; first < letters; ++first) {
      for (int length = 1; length <= 250; ++length) tokens.emplace_back(length, static_cast<char>('0' + first));
    }
    return tokens;
  };
  expect_cheap_refusal("250,000 cuts", with_pieces(runs(8)), "token_embd.weight");  // the tokenizer is made
  expect_cheap_refusal("1,250,000 cuts", with_pieces(runs(40)), "of memory");
  std::vector<std::string> tokens;
  for (int c = 0x20; c < 0x110000 && tokens.size() < 200'000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    tokens.emplace_back();
    base::append_utf8(tokens.back(), static_cast<char32_t>(c));
  }
  expect_cheap_refusal("200,000 characters", with_pieces(tokens), "token_embd.weight");
  tokens.clear();
  std::mt19937 random(1);
  for (int i = 0; i < 60'000; ++i) {
    tokens.push_back(std::to_string(i));
    for (int k = 0; k < 64; ++k) base::append_utf8(tokens.back(), 0x400 + random() % 0x800);
  }
  expect_cheap_refusal("4 10^6 pairs", with_pieces(tokens), "of memory");
}

// Merges that a vocabulary cannot have, or that could not end: of a token with itself, in a ring, the same pair twice.
TEST(GgufMemory, MergesThatFeedOnThemselves) {
  const auto with_merges = [](std::vector<std::string> merges) {
    auto g = tiny_llama();
    g.strings("tokenizer.ggml.merges", merges);
    const TemporaryFile file(g.build());
    return cost_of_loading(file.path()).error;
  };
  EXPECT_NE(with_merges({"t t"}).find("merge 0"), std::string::npos);           // "tt" is no token
  EXPECT_NE(with_merges({"t h", "t h"}).find("merge 1"), std::string::npos);    // twice
  EXPECT_NE(with_merges({"t h", "th th"}).find("merge 1"), std::string::npos);  // "thth" is no token
  EXPECT_NE(with_merges({" th"}).find("merge 0"), std::string::npos);           // an empty half
  EXPECT_NE(with_merges({"th "}).find("merge 0"), std::string::npos);
  EXPECT_EQ(with_merges({"t h", "h e"}), "");
}

// A text of one letter, 10^6 times, with merges a a -> aa -> aaaa -> ..: linear, and it comes back.
TEST(GgufMemory, AMillionSelfMergesTakeLinearTime) {
  auto g = tiny_llama();
  std::vector<std::string> tokens, merges;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(text::letter_of_byte(static_cast<uint8_t>(byte)));
  for (const int length : {2, 4, 8, 16}) {
    tokens.emplace_back(length, 'a');
    merges.push_back(std::string(length / 2, 'a') + " " + std::string(length / 2, 'a'));
  }
  std::vector<int32_t> types(260, 1);
  g.strings("tokenizer.ggml.tokens", tokens).strings("tokenizer.ggml.merges", merges);
  g.array<int32_t>("tokenizer.ggml.token_type", 5, types);
  const TemporaryFile file(g.build());
  const auto model = Model::load(file.path(), {.precision = Precision::f32, .threads = 1});
  const std::string text(1'000'000, 'a');
  const std::clock_t start = std::clock();
  const auto ids = model->tokenizer().encode(text);
  EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, sanitized ? 20.0 : 2.0);
  EXPECT_EQ(ids.size(), 1'000'000U / 16);
  EXPECT_EQ(model->tokenizer().decode(ids), text);
}

}  // namespace
}  // namespace bareattn
