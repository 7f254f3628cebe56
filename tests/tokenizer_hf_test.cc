// Tokenizers read from tokenizer.json, and by scores as GGUF files have them, against Hugging Face tokenizers and
// sentencepiece on 11,622 lines (golden/make_hf_golden.py): byte-level BPE with every rule of cutting words, pieces,
// WordPiece. Real models' vocabularies too, where BAREATTN_TOKENIZERS names the folder they were fetched to.
#include <gtest/gtest.h>
#include <zlib.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "bareattn/error.h"
#include "base/sha256.h"
#include "base/utf8.h"
#include "gguf_builder.h"
#include "golden_json.h"
#include "text/tokenizer_json.h"

namespace bareattn {
namespace {

using nlohmann::json;

std::string unzip(const std::string& path) {
  std::string out;
  gzFile file = gzopen(path.c_str(), "rb");
  if (!file) throw std::runtime_error("cannot open " + path);
  char buffer[1 << 16];
  for (int n; (n = gzread(file, buffer, sizeof buffer)) > 0;) out.append(buffer, static_cast<size_t>(n));
  gzclose(file);
  return out;
}

/// The lines of valid UTF-8.
const std::vector<std::string>& lines() {
  static const std::vector<std::string> all = [] {
    const std::string data = unzip(BAREATTN_SOURCE_DIR "/tests/golden/tokenizer_lines.bin.gz");
    size_t at = 6;
    const auto u32 = [&] {
      uint32_t value;
      std::memcpy(&value, data.data() + at, 4);
      at += 4;
      return value;
    };
    std::vector<std::string> out;
    for (uint32_t count = u32(); count > 0; --count) {
      const char flags = data[at++];
      const uint32_t length = u32();
      const std::string line = data.substr(at, length);
      at += length;
      for (int lists = flags & 2 ? 3 : 1; lists > 0; --lists) {
        const uint32_t entries = u32();
        at += (lists == 2 ? 1 : 2) * size_t{entries};  // ids, and the text between two lists of ids
      }
      if (base::is_utf8(line)) out.push_back(line);
    }
    return out;
  }();
  return all;
}

const json& golden() {
  static const json all = test::golden_json("hf_golden.json");
  return all;
}

/// The lines but for those of these numbers, in whose characters Hugging Face's tables are older than ours.
std::vector<std::string> without(const json& skip) {
  EXPECT_LT(skip.size(), lines().size() / 50);
  std::vector<std::string> out;
  size_t next = 0;
  for (size_t i = 0; i < lines().size(); ++i) {
    if (next < skip.size() && skip[next] == i)
      ++next;
    else
      out.push_back(lines()[i]);
  }
  return out;
}

void expect_ids(const Tokenizer& tokenizer, const std::vector<std::string>& texts, const json& wanted,
                const std::string& name) {
  constexpr size_t group = 100;
  ASSERT_EQ(wanted.size(), (texts.size() + group - 1) / group) << name;
  size_t wrong = 0;
  for (size_t g = 0; g < wanted.size(); ++g) {
    std::string bytes;
    for (size_t i = g * group; i < std::min(texts.size(), (g + 1) * group); ++i) {
      const auto ids = tokenizer.encode(texts[i], true);
      const auto count = static_cast<uint32_t>(ids.size());
      bytes.append(reinterpret_cast<const char*>(&count), sizeof count);
      bytes.append(reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof ids[0]);
    }
    if (base::sha256(bytes).substr(0, 12) == wanted[g]) continue;
    if (++wrong <= 3) ADD_FAILURE() << name << ": other ids in lines " << g * group << " to " << g * group + group - 1;
  }
  EXPECT_EQ(wrong, 0U) << name << ", groups of " << wanted.size();
  if (const char* folder = std::getenv("BAREATTN_DUMP_IDS"); folder != nullptr && wrong != 0) {
    json all;
    for (const auto& text : texts) all.push_back(tokenizer.encode(text, true));
    std::ofstream(std::string(folder) + "/" + name + ".json") << all.dump();
  }
}

Tokenizer read(const json& state) {
  const test::TemporaryFile file(state.dump());
  return Tokenizer(text::read_tokenizer_json(file.path()));
}

TEST(TokenizerHf, ByteLevelWithEveryRule) {
  ASSERT_GT(lines().size(), 10'000U);
  for (const auto& [name, rule] : golden()["rules"].items()) {
    json state = golden()["bytes"];
    state["pre_tokenizer"] = rule["pre_tokenizer"];
    const Tokenizer tokenizer = read(state);
    expect_ids(tokenizer, lines(), rule["ids"], name);
    for (const auto& line : lines()) ASSERT_EQ(tokenizer.decode(tokenizer.encode(line, true)), line) << name;
    if (rule.contains("composed")) {
      state["normalizer"] = {{"type", "NFC"}};
      expect_ids(read(state), without(golden()["composed_skip"]), rule["composed"], name + " composed");
    }
    if (rule.contains("ignore_merges")) {
      state["normalizer"] = nullptr;
      state["model"]["ignore_merges"] = true;
      expect_ids(read(state), lines(), rule["ignore_merges"], name + " ignoring merges");
    }
  }
}

TEST(TokenizerHf, Pieces) {
  for (const auto& [name, entry] : golden()["pieces"].items()) {
    const Tokenizer tokenizer = read(entry["tokenizer"]);
    expect_ids(tokenizer, lines(), entry["ids"], name);
    for (const auto& line : lines()) {
      if (line.find("\xE2\x96\x81") != std::string::npos) continue;  // becomes a space
      ASSERT_EQ(tokenizer.decode(tokenizer.encode(line)), line) << name;
    }
    const std::string odd = "a\xFF b\xE2\x82 \xC0\x80\n";
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(odd)), odd);
  }
}

TEST(TokenizerHf, PiecesByScores) {
  const json& entry = golden()["scores"];
  TokenizerSpec spec;
  spec.model = "llama";
  spec.tokens = entry["tokens"].get<std::vector<std::string>>();
  spec.scores = entry["scores"].get<std::vector<float>>();
  spec.token_types = entry["types"].get<std::vector<int32_t>>();
  spec.unknown_id = 0;
  spec.add_space_prefix = true;
  const Tokenizer tokenizer(std::move(spec));
  std::vector<std::string> texts;
  for (const auto& line : lines()) {
    if (line.find('\0') == std::string::npos && line.find("\xE2\x96\x81") == std::string::npos) texts.push_back(line);
  }
  // sentencepiece finds no special tokens in a text; here they are asked for by name only.
  size_t with_special = 0;
  for (const auto& text : texts) with_special += text.find("<s>") != std::string::npos;
  EXPECT_EQ(with_special, 0U);
  expect_ids(tokenizer, texts, entry["ids"], "scores");
}

TEST(TokenizerHf, WordPiece) {
  for (const auto& [name, entry] : golden()["words"].items()) {
    const Tokenizer tokenizer = read(entry["tokenizer"]);
    expect_ids(tokenizer, without(golden()["words_skip"]), entry["ids"], name);
  }
}

TEST(TokenizerHf, RealVocabularies) {
  const char* folder = std::getenv("BAREATTN_TOKENIZERS");
  if (folder == nullptr)
    GTEST_SKIP() << "BAREATTN_TOKENIZERS is not set: ./x test tokenizers fetches them and runs this";
  for (const auto& [name, entry] : golden()["models"].items()) {
    const auto path = std::filesystem::path(folder) / name / "models" / "tokenizer.json";
    const base::MappedFile file(path.string());
    ASSERT_EQ(base::sha256(file), entry["sha256"]) << path;
    const Tokenizer tokenizer(text::read_tokenizer_folder(path.parent_path().string()));
    expect_ids(tokenizer, without(entry["skip"]), entry["ids"], name);
  }
}

}  // namespace
}  // namespace bareattn
