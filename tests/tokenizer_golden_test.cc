// The tokenizer against llama.cpp and Hugging Face tokenizers, whose answers golden/make_tokenizer_golden.py stored: on
// more than 10,000 lines, every code point, runs of a million characters and chats. All must be equal; where the two
// differ from one another, that script says what was chosen.
#include <gtest/gtest.h>
#include <zlib.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "tokenizer_model.h"

namespace bareattn {
namespace {

const std::string kFolder = BAREATTN_SOURCE_DIR "/tests/golden/";

std::string unzip(const std::string& name) {
  std::string out;
  gzFile file = gzopen((kFolder + name).c_str(), "rb");
  if (!file) throw std::runtime_error("cannot open " + name);
  char buffer[1 << 16];
  for (int n; (n = gzread(file, buffer, sizeof buffer)) > 0;) out.append(buffer, static_cast<size_t>(n));
  gzclose(file);
  return out;
}

class Records {
 public:
  Records(std::string data, std::string_view magic) : data_(std::move(data)) {
    if (take(magic.size()) != magic) throw std::runtime_error("another format");
  }
  uint8_t u8() { return static_cast<uint8_t>(take(1)[0]); }
  uint32_t u32() {
    uint32_t value;
    std::memcpy(&value, take(4).data(), 4);
    return value;
  }
  std::string_view bytes() { return take(u32()); }
  std::vector<int32_t> ids() {
    const uint32_t count = u32();
    const std::string_view raw = take(size_t{2} * count);
    std::vector<int32_t> out(count);
    for (uint32_t i = 0; i < count; ++i) {
      uint16_t id;
      std::memcpy(&id, raw.data() + 2 * i, 2);
      out[i] = id;
    }
    return out;
  }
  bool at_end() const { return at_ == data_.size(); }

 private:
  std::string_view take(size_t n) {
    if (n > data_.size() - at_) throw std::runtime_error("the file is cut off");
    at_ += n;
    return std::string_view(data_).substr(at_ - n, n);
  }
  std::string data_;
  size_t at_ = 0;
};

struct Line {
  uint8_t flags;
  std::string_view raw;
  std::vector<int32_t> ids;
  std::string_view llama_view;  // with flag 2
  std::vector<int32_t> llama_ids;
};

const std::vector<Line>& lines() {
  static const std::vector<Line> all = [] {
    static Records records(unzip("tokenizer_lines.bin.gz"), "BATG2\n");
    std::vector<Line> out(records.u32());
    for (Line& line : out) {
      line.flags = records.u8();
      line.raw = records.bytes();
      line.ids = records.ids();
      if (line.flags & 2) {
        line.llama_view = records.bytes();
        line.llama_ids = records.ids();
      }
    }
    if (!records.at_end()) throw std::runtime_error("bytes behind the last line");
    return out;
  }();
  return all;
}

const nlohmann::json& golden() {
  static const auto json = nlohmann::json::parse(std::ifstream(kFolder + "tokenizer_golden.json"));
  return json;
}

std::string shown(const std::vector<int32_t>& ids, size_t around) {
  std::string out;
  const size_t from = around < 5 ? 0 : around - 5;
  for (size_t i = from; i < std::min(ids.size(), from + 12); ++i) out += std::to_string(ids[i]) + " ";
  return "ids from " + std::to_string(from) + ": " + out + "(" + std::to_string(ids.size()) + " in all)";
}

/// True when equal; otherwise says where, once for each call of a test.
::testing::AssertionResult same_ids(const std::vector<int32_t>& expected, const std::vector<int32_t>& actual) {
  if (expected == actual) return ::testing::AssertionSuccess();
  size_t at = 0;
  while (at < std::min(expected.size(), actual.size()) && expected[at] == actual[at]) ++at;
  return ::testing::AssertionFailure() << "first difference at id " << at << "\n  expected " << shown(expected, at)
                                       << "\n  actual   " << shown(actual, at);
}

uint64_t fnv(const std::vector<int32_t>& ids) {
  uint64_t value = 0xCBF29CE484222325;
  for (const int32_t id : ids) {
    for (int shift = 0; shift < 32; shift += 8) value = (value ^ (id >> shift & 0xFF)) * 0x100000001B3;
  }
  return value;
}

TEST(TokenizerGolden, AllLines) {
  const Tokenizer& tokenizer = testing::model_tokenizer();
  size_t compared = 0, ids = 0;
  for (const Line& line : lines()) {
    const auto actual = tokenizer.encode(line.raw, line.flags & 1);
    ASSERT_TRUE(same_ids(line.ids, actual))
        << "line " << compared << ": \"" << base::escape_for_terminal(line.raw.substr(0, 300)) << "\"";
    ASSERT_EQ(tokenizer.decode(actual), line.raw) << "line " << compared;
    ++compared;
    ids += actual.size();
  }
  EXPECT_GE(compared, 10'000u);
  EXPECT_EQ(compared, golden()["lines"]);
  std::cout << compared << " lines, " << ids << " ids equal\n";
}

// llama.cpp reads an invalid byte as U+FFFD and loses it. On the text as it reads it, ids are the same as its own.
TEST(TokenizerGolden, InvalidTextAsLlamaCppReadsIt) {
  const Tokenizer& tokenizer = testing::model_tokenizer();
  size_t compared = 0, index = 0;
  for (const Line& line : lines()) {
    ++index;
    if (!(line.flags & 2)) continue;
    auto actual = tokenizer.encode(line.llama_view, line.flags & 1);
    // It drops what the vocabulary cannot spell; here that is five tokens (tokenizer.cc).
    const std::vector<int32_t> mark = {tokenizer.encode("\xEF")[0], tokenizer.encode("\xBF")[0],
                                       tokenizer.encode("\xBD")[0]};
    for (auto at = actual.begin(); (at = std::search(at, actual.end(), mark.begin(), mark.end())) != actual.end();) {
      at = actual.erase(at, at + 5);
    }
    ASSERT_TRUE(same_ids(line.llama_ids, actual))
        << "line " << index - 1 << ": \"" << base::escape_for_terminal(line.llama_view) << "\"";
    ++compared;
  }
  EXPECT_GE(compared, 1'000u);
}

TEST(TokenizerGolden, OtherPreTokenizers) {
  Records records(unzip("tokenizer_variants.bin.gz"), "BATV1\n");
  size_t variants = 0;
  while (!records.at_end()) {
    auto spec = testing::model_spec();
    spec.pre = std::string(records.bytes());
    const std::string name = spec.pre;
    const Tokenizer tokenizer(std::move(spec));
    const uint32_t count = records.u32();
    EXPECT_GE(count, 2'000u);
    for (uint32_t i = 0; i < count; ++i) {
      const std::string_view raw = lines().at(records.u32()).raw;
      const auto expected = records.ids();
      ASSERT_TRUE(same_ids(expected, tokenizer.encode(raw)))
          << name << ": \"" << base::escape_for_terminal(raw.substr(0, 300)) << "\"";
    }
    ++variants;
  }
  EXPECT_EQ(variants, 2u);
}

TEST(TokenizerGolden, EveryCodePoint) {
  const Tokenizer& tokenizer = testing::model_tokenizer();
  const auto& sweep = golden()["sweep"];
  ASSERT_EQ(sweep.size(), 0x110000u / 256);
  for (uint32_t block = 0; block < sweep.size(); ++block) {
    std::string text;  // as sweep_block in golden/tokenizer_lines.py
    for (uint32_t c = block * 256; c < block * 256 + 256; ++c) {
      if (c >= 0xD800 && c < 0xE000) continue;
      std::string x;
      base::append_utf8(x, c);
      text += " " + x + x + "  " + x + " a" + x + "b ." + x + "!" + x + "'s\n" + x + "  ";
    }
    const auto ids = tokenizer.encode(text);
    char hash[17];
    std::snprintf(hash, sizeof hash, "%016llx", static_cast<unsigned long long>(fnv(ids)));
    EXPECT_EQ(sweep[block], hash) << "code points " << std::hex << block * 256 << " and the 255 after it";
    ASSERT_EQ(tokenizer.decode(ids), text);
  }
}

TEST(TokenizerGolden, MillionCharacterRuns) {
  const Tokenizer& tokenizer = testing::model_tokenizer();
  size_t runs = 0;
  for (const auto& run : golden()["long"]) {
    const std::string unit = run["unit"];
    std::vector<std::string_view> characters;
    for (size_t i = 0; i < unit.size(); i += base::decode_utf8(unit, i).length) {
      characters.push_back(std::string_view(unit).substr(i, base::decode_utf8(unit, i).length));
    }
    std::string text;
    const size_t count = run["characters"];
    for (size_t i = 0; i < count; ++i) text += characters[i % characters.size()];
    const auto ids = tokenizer.encode(text);
    EXPECT_EQ(ids.size(), run["count"]) << unit;
    char hash[17];
    std::snprintf(hash, sizeof hash, "%016llx", static_cast<unsigned long long>(fnv(ids)));
    EXPECT_EQ(run["fnv"], hash) << unit;
    ++runs;
  }
  EXPECT_GE(runs, 10u);
}

TEST(TokenizerGolden, Chats) {
  const Tokenizer& tokenizer = testing::model_tokenizer();
  ASSERT_EQ(tokenizer.spec().chat_template, golden()["chat_template"]);
  size_t compared = 0;
  for (const auto& chat : golden()["chats"]) {
    std::vector<ChatMessage> messages;
    for (const auto& message : chat["messages"]) messages.push_back({message["role"], message["content"]});
    const std::string text = tokenizer.apply_chat_template(messages, chat["add_generation_prompt"]);
    EXPECT_EQ(text, chat["text"]);
    EXPECT_TRUE(same_ids(chat["ids"], tokenizer.encode(text, true)));
    ++compared;
  }
  EXPECT_GE(compared, 10u);
}

}  // namespace
}  // namespace bareattn
