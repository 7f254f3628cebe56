// tokenizer.json from strangers: what is not known is refused by name, and nothing hostile costs more than it should.
// That the ids are right: tokenizer_hf_test.cc.
#include "text/tokenizer_json.h"

#include <gtest/gtest.h>

#include "bareattn/error.h"
#include "folder.h"
#include "gguf_builder.h"
#include "golden_json.h"

namespace bareattn {
namespace {

using nlohmann::json;

json small() {
  return json::parse(R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[{"id":5,"content":"<s>",
    "single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],"normalizer":null,
    "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},
    "post_processor":null,"decoder":{"type":"ByteLevel"},
    "model":{"type":"BPE","vocab":{"t":0,"h":1,"e":2,"th":3,"the":4},"merges":["t h",["th","e"]]}})");
}

TokenizerSpec read_text(const std::string& text) {
  const test::TemporaryFile file(text);
  return text::read_tokenizer_json(file.path());
}

void expect_refused(const std::string& text, const std::string& wanted) {
  try {
    const Tokenizer tokenizer(read_text(text));
    ADD_FAILURE() << "not refused; wanted: " << wanted;
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find(wanted), std::string::npos) << error.what();
  }
}

void expect_refused(const std::function<void(json&)>& change, const std::string& wanted) {
  json state = small();
  change(state);
  expect_refused(state.dump(), wanted);
}

TEST(TokenizerJson, ASmallOneIsRead) {
  const Tokenizer tokenizer(read_text(small().dump()));
  EXPECT_EQ(tokenizer.encode("the<s>he", true), (std::vector<int32_t>{4, 5, 1, 2}));
  EXPECT_TRUE(tokenizer.is_special(5));
  EXPECT_EQ(tokenizer.spec().pre, "gpt-2");
}

TEST(TokenizerJson, OtherPartsAreRefusedByName) {
  expect_refused([](json& j) { j["model"]["type"] = "Unigram"; }, "\"Unigram\"; BPE and WordPiece can be read");
  expect_refused([](json& j) { j["model"]["type"] = "WordLevel"; }, "WordLevel");
  expect_refused([](json& j) { j["model"]["dropout"] = 0.1; }, "model.dropout is set");
  expect_refused([](json& j) { j["model"]["end_of_word_suffix"] = "</w>"; }, "model.end_of_word_suffix is not empty");
  expect_refused([](json& j) { j["model"]["byte_fallback"] = true; }, "byte_fallback beside ByteLevel");
  expect_refused([](json& j) { j["model"]["more"] = 1; }, "\"more\", which is not known here");
  expect_refused([](json& j) { j["more"] = 1; }, "\"more\", which is not known here");
  expect_refused([](json& j) { j["normalizer"] = {{"type", "NFKC"}}; }, "normalizer is a \"NFKC\"");
  expect_refused([](json& j) { j["normalizer"] = {{"type", "Lowercase"}}; }, "normalizer is a \"Lowercase\"");
  expect_refused([](json& j) { j["pre_tokenizer"] = {{"type", "WhitespaceSplit"}}; }, "\"WhitespaceSplit\"");
  expect_refused([](json& j) { j["pre_tokenizer"]["add_prefix_space"] = true; }, "adds a space before the text");
  expect_refused([](json& j) { j["pre_tokenizer"] = nullptr; }, "in a way that is not known here");
  expect_refused([](json& j) { j["decoder"] = {{"type", "CTC"}}; }, "decoder is a \"CTC\"");
  expect_refused([](json& j) { j["post_processor"] = {{"type", "Other"}}; }, "post_processor is a \"Other\"");
  for (const char* key : {"single_word", "lstrip", "rstrip"})
    expect_refused([&](json& j) { j["added_tokens"][0][key] = true; }, std::string("is ") + key);
}

TEST(TokenizerJson, ExpressionsOfStrangersAreNotRun) {
  const auto split = [](const std::string& expression) {
    return [expression](json& j) {
      const json cut = {
          {"type", "Split"}, {"pattern", {{"Regex", expression}}}, {"behavior", "Isolated"}, {"invert", false}};
      json plain = j["pre_tokenizer"];
      plain["use_regex"] = false;
      j["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {cut, plain}}};
    };
  };
  expect_refused(split("(a+)+$"), "cuts words by \"(a+)+$\", which is the rule of no known family");
  expect_refused(split(std::string(1 << 20, '(')), "(1048576 bytes)");
}

TEST(TokenizerJson, IdsAndTexts) {
  expect_refused([](json& j) { j["model"]["vocab"]["x"] = 4; }, "gives the id 4");
  expect_refused([](json& j) { j["added_tokens"][0]["id"] = 0; }, "gives the id 0");
  expect_refused([](json& j) { j["model"]["vocab"]["x"] = 1'000'000; }, "has the id 1000000");
  expect_refused([](json& j) { j["model"]["vocab"]["x"] = -1; }, "a whole number from 0 is needed");
  expect_refused([](json& j) { j["model"]["vocab"]["x"] = uint64_t{1} << 31; }, "a token's id is at most");
  expect_refused([](json& j) { j["model"]["vocab"]["x"] = 1e30; }, "a whole number from 0 is needed");
  expect_refused([](json& j) { j["model"]["vocab"]["x"] = "7"; }, "a whole number from 0 is needed");
  expect_refused([](json& j) { j["model"]["merges"].push_back("t x"); }, "\"x\" is not in the vocabulary");
  expect_refused([](json& j) { j["model"]["merges"].push_back("t h"); }, "twice");
  expect_refused([](json& j) { j["model"]["merges"].push_back({"a", "b", "c"}); }, "model.merges[2] is no pair");
  expect_refused([](json& j) { j["model"]["merges"].push_back({"a b", "c"}); }, "model.merges[2] is empty on one side");
  expect_refused([](json& j) { j["model"]["merges"].push_back(3); }, "model.merges[2] is \"3\"; a list is needed");
  expect_refused([](json& j) { j["model"].erase("vocab"); }, "model has no \"vocab\"");
  expect_refused([](json& j) { j["model"] = 3; }, "model is \"3\"; an object is needed");
}

TEST(TokenizerJson, HolesAreTokensThatNoTextBecomes) {
  json state = small();
  state["added_tokens"][0]["id"] = 9;
  const Tokenizer tokenizer(read_text(state.dump()));
  EXPECT_EQ(tokenizer.size(), 10);
  EXPECT_EQ(tokenizer.encode("<s>", true), (std::vector<int32_t>{9}));
}

TEST(TokenizerJson, WhatIsNoJsonOrStandsTwice) {
  expect_refused("", "not valid JSON");
  expect_refused("[]", "an object is needed");
  expect_refused("\x80\x04", "not valid JSON");
  expect_refused(std::string(100'000, '['), "not valid JSON");
  std::string twice = small().dump();
  twice.insert(1, R"("model":null,)");
  expect_refused(twice, "\"model\" twice");
  std::string inner = small().dump();
  const std::string key = R"("type":"BPE")";
  inner.insert(inner.find(key), R"("type":"BPE",)");
  expect_refused(inner, "model.type stands there twice");
  std::string token = small().dump();
  token.insert(token.find(R"("t":0)"), R"("t":6,)");
  expect_refused(token, "are both \"t\"");
  json deep = small();
  for (int i = 0; i < 8; ++i) deep["normalizer"] = {{"type", "Sequence"}, {"normalizers", {deep["normalizer"]}}};
  expect_refused(deep.dump(), "normalizer");
  const std::string whole = small().dump();
  for (size_t size = 0; size < whole.size(); ++size) {
    const test::TemporaryFile file(whole.substr(0, size));
    EXPECT_THROW(text::read_tokenizer_json(file.path()), FileError) << size;
  }
}

TEST(TokenizerJson, TheFolderSaysWhatBeginsAndEndsAText) {
  const test::Folder folder;
  std::ofstream(folder / "tokenizer.json") << small().dump();
  EXPECT_FALSE(text::read_tokenizer_folder(folder / ".").add_bos);
  std::ofstream(folder / "tokenizer_config.json")
      << R"({"bos_token":{"content":"<s>"},"eos_token":"the","add_bos_token":true,"model_max_length":1000000000000000019884624838656,"chat_template":"{{ x }}"})";
  const TokenizerSpec spec = text::read_tokenizer_folder(folder / ".");
  EXPECT_TRUE(spec.add_bos);
  EXPECT_EQ(spec.bos_id, 5);
  EXPECT_EQ(spec.eos_id, 4);
  EXPECT_EQ(spec.chat_template, "{{ x }}");
}

}  // namespace
}  // namespace bareattn
