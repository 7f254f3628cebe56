// The tokenizer's rules one by one: special tokens, odd bytes, long words, what a model file may say wrongly, chats.
// Whole texts against other tokenizers are in tokenizer_golden_test.cc, random bytes in tokenizer_property_test.cc.
#include <gtest/gtest.h>

#include <atomic>
#include <ctime>
#include <thread>

#include "bareattn/error.h"
#include "text/bpe.h"
#include "text/pre_tokenizer.h"
#include "tokenizer_model.h"
#include "tokenizer_testing.h"

namespace bareattn {
namespace {

using testing::model_tokenizer;
using testing::small_spec;
using Ids = std::vector<int32_t>;

/// Processor time, not the clock's: other programs run beside the tests.
double seconds(const auto& run) {
  const std::clock_t start = std::clock();
  run();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

#if !defined(__OPTIMIZE__) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr double kSlowBuild = 10;
#else
constexpr double kSlowBuild = 1;
#endif

/// The message of the InputError that `run` must throw.
std::string refused(const auto& run) {
  try {
    run();
  } catch (const InputError& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}

std::string refused_spec(TokenizerSpec spec) {
  return refused([&] { Tokenizer tokenizer(std::move(spec)); });
}

void expect_contains(const std::string& text, std::string_view part) {
  EXPECT_NE(text.find(part), std::string::npos) << "\"" << text << "\" does not say \"" << part << "\"";
}

TEST(Tokenizer, SpecialTokensOnlyWhenAsked) {
  const auto& t = model_tokenizer();
  const std::string text = "<|im_start|>user\nHi<|im_end|>";
  const Ids parsed = t.encode(text, true);
  EXPECT_EQ(parsed.front(), 1);
  EXPECT_EQ(parsed.back(), 2);
  for (const int32_t id : t.encode(text, false)) EXPECT_FALSE(t.is_special(id)) << id;
  EXPECT_EQ(t.decode(parsed), text);
  EXPECT_EQ(t.decode(t.encode(text, false)), text);
  EXPECT_EQ(t.piece(1), "<|im_start|>");
  EXPECT_TRUE(t.is_special(1));
  EXPECT_EQ(t.size(), 49152);
}

TEST(Tokenizer, LongestSpecialTokenFirst) {
  auto spec = small_spec({}, {"<a>", "<a><b>", "<c", "c>"});
  const auto first = static_cast<int32_t>(spec.tokens.size()) - 4;
  const Tokenizer t(std::move(spec));
  EXPECT_EQ(t.encode("<a><b>", true), Ids{first + 1});
  EXPECT_EQ(t.encode("<a><a>", true), (Ids{first, first}));
  EXPECT_EQ(t.encode("<c>", true), (Ids{first + 2, t.encode(">")[0]}));  // the leftmost, not the longest anywhere
  EXPECT_EQ(t.decode(t.encode("<a<a", true)), "<a<a");
}

TEST(Tokenizer, UserDefinedTokensAlways) {
  auto spec = small_spec({}, {"<x>", "  "});
  spec.token_types.back() = 4;
  const auto id = static_cast<int32_t>(spec.tokens.size()) - 1;
  const Tokenizer t(std::move(spec));
  EXPECT_EQ(t.encode("  "), Ids{id});
  EXPECT_FALSE(t.is_special(id));
  EXPECT_EQ(t.encode("<x>").size(), 3u);
}

TEST(Tokenizer, Bos) {
  const auto& t = model_tokenizer();
  const Ids with = t.encode("Hello", false, true);
  EXPECT_EQ(with.front(), t.spec().bos_id);
  EXPECT_EQ(Ids(with.begin() + 1, with.end()), t.encode("Hello"));
  EXPECT_EQ(t.encode("", false, true), Ids{t.spec().bos_id});
  EXPECT_TRUE(t.encode("").empty());
  const Tokenizer none(small_spec({}));
  expect_contains(refused([&] { none.encode("a", false, true); }), "BOS");
}

TEST(Tokenizer, EveryByteComesBack) {
  const auto& t = model_tokenizer();
  size_t without_token = 0;
  for (int a = 0; a < 256; ++a) {
    without_token += t.encode(std::string(1, static_cast<char>(a))).size() == 5;
    for (int b = 0; b < 256; ++b) {
      for (const std::string between : {"", " ", "x"}) {
        const std::string text = static_cast<char>(a) + between + static_cast<char>(b);
        ASSERT_EQ(t.decode(t.encode(text)), text) << a << " " << b;
      }
    }
  }
  EXPECT_EQ(without_token, 21u);  // this vocabulary's; see tokenizer.cc
}

// The escape of a missing byte can be read back only because text never leads to it.
TEST(Tokenizer, WhatLooksLikeAnEscapeIsNotOne) {
  const auto& t = model_tokenizer();
  for (const std::string text : {"\xEF\xBF\xBD"
                                 "F5",
                                 "\xEF\xBF"
                                 "F5",
                                 "\xEF\xBF\xBD",
                                 "\xEF"
                                 "\xEF\xBF\xBD"
                                 "04",
                                 "\xBF\xBD"
                                 "06",
                                 "\xEF\xF5\xBF\xBD"
                                 "F5",
                                 "\xF5"
                                 "F5",
                                 "\xEF\xBF\xF5", "\xEF\xF5\xBF",
                                 " \xEF\xBF\xBD"
                                 "F5"}) {
    EXPECT_EQ(t.decode(t.encode(text)), text);
  }
  Ids escape = t.encode("\xF5");
  ASSERT_EQ(escape.size(), 5u);
  std::string pieces;
  for (const int32_t id : escape) pieces += t.piece(id);
  EXPECT_EQ(pieces,
            "\xEF\xBF\xBD"
            "F5");  // what one reads in the tokens
  escape.pop_back();
  EXPECT_EQ(t.decode(escape),
            "\xEF\xBF\xBD"
            "F");  // cut off: just pieces
  escape.push_back(t.encode("4")[0]);
  EXPECT_EQ(t.decode(escape),
            "\xEF\xBF\xBD"
            "F4");  // F4 has a token, so this is no escape
}

TEST(Tokenizer, VocabularyThatCannotSpellAByteSaysSo) {
  const Tokenizer t(small_spec({}, {},
                               "\xFF"
                               "b"));
  EXPECT_EQ(t.decode(t.encode("aac")), "aac");
  const auto message = refused([&] { t.encode("aab"); });
  expect_contains(message, "0x62");
  expect_contains(message, "offset 2");
}

TEST(Tokenizer, NamedByteTokens) {
  auto spec = small_spec({}, {}, "b");
  spec.tokens.push_back("<0x62>");
  spec.token_types.push_back(6);
  const auto id = static_cast<int32_t>(spec.tokens.size()) - 1;
  const Tokenizer t(spec);
  EXPECT_EQ(t.encode("b"), Ids{id});
  EXPECT_EQ(t.piece(id), "b");
  for (const std::string name : {"<0x-1>", "<0xZZ>", "<0x6>", "<0x062>", "x", "<0x62"}) {
    spec.tokens.back() = name;
    expect_contains(refused_spec(spec), "byte token");
  }
}

TEST(Tokenizer, DecodeRefusesIdsOutOfRange) {
  const auto& t = model_tokenizer();
  for (const int32_t id : {-1, 49152, INT32_MAX, INT32_MIN}) {
    EXPECT_THROW(t.decode(Ids{5, id}), std::invalid_argument);
    EXPECT_THROW(t.piece(id), std::invalid_argument);
    EXPECT_THROW(t.is_special(id), std::invalid_argument);
  }
  try {
    t.decode(Ids{5, 49152});
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(), "ids[1] is 49152; the vocabulary has 49152 tokens (ids 0 to 49151)");
  }
}

TEST(Tokenizer, LongWordsTakeLinearTime) {
  const auto& t = model_tokenizer();
  for (const std::string unit :
       {"a", " ", "\n", "0", "-", "\xFF", "\x80", "\xC3\xA9", "\xE6\xBC\xA2", "ab", "\t ", "'s", "<|im_start"}) {
    std::string text;
    while (text.size() < 1'000'000) text += unit;
    Ids ids;
    const double time = seconds([&] { ids = t.encode(text, true); });
    EXPECT_EQ(t.decode(ids), text);
    EXPECT_LT(time, 1.0 * kSlowBuild) << unit;  // far more than it takes, but far less than quadratic time would
  }
}

TEST(Tokenizer, ManyThreadsOneTokenizer) {
  const auto& t = model_tokenizer();
  const std::string text = "Attention is 1 weighting, not a spotlight. \xFF \xE2\x82\xAC 'tis\n\n  so";
  const Ids expected = t.encode(text);
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 500; ++n) wrong += t.encode(text) != expected || t.decode(expected) != text;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(TokenizerSpec, ValidEdgeCasesLoad) {
  EXPECT_EQ(Tokenizer(small_spec({})).encode("ab").size(), 2u);  // no merges
  auto one = small_spec({});
  one.tokens = {"a"};
  one.token_types = {};  // empty: all normal
  const Tokenizer t(one);
  EXPECT_EQ(t.encode("aaa"), (Ids{0, 0, 0}));
  EXPECT_THROW(t.encode("b"), InputError);
  auto padded = small_spec({{"a", "a"}, {"aa", "aa"}});  // self merges
  padded.tokens.push_back("[PAD \xE6\xBC\xA2]");         // not in the byte alphabet
  padded.token_types.push_back(5);
  EXPECT_EQ(Tokenizer(padded).encode("aaaaa").size(), 2u);
  EXPECT_EQ(Tokenizer(padded).piece(258), "[PAD \xE6\xBC\xA2]");
  padded.tokens.push_back(std::string(10'000'000, 'x'));
  padded.token_types.push_back(1);
  EXPECT_EQ(Tokenizer(padded).piece(259).size(), 10'000'000u);
}

TEST(TokenizerSpec, RefusedWithASentence) {
  const auto good = small_spec({{"a", "b"}, {"ab", "c"}}, {"<s>"});
  const auto size = std::to_string(good.tokens.size());
  Tokenizer loads(good);
  const auto with = [&](const auto& change) {
    auto spec = good;
    change(spec);
    return refused_spec(std::move(spec));
  };
  expect_contains(with([](auto& s) { s.model = "t5"; }), "\"t5\"; \"gpt2\" (byte-level BPE)");
  const auto unknown = with([](auto& s) { s.pre = "tekken\x1b[31m"; });
  expect_contains(unknown, "tekken");
  expect_contains(unknown, "smollm, stablelm2");
  EXPECT_EQ(unknown.find('\x1b'), std::string::npos);
  expect_contains(with([](auto& s) { s.tokens.clear(); }), "empty");
  expect_contains(with([](auto& s) { s.tokens[7] = ""; }), "token 7 is empty");
  expect_contains(with([](auto& s) { s.tokens[9] = s.tokens[8]; }), "tokens 8 and 9 are both");
  expect_contains(with([](auto& s) { s.token_types.pop_back(); }), "entries for " + size + " tokens");
  expect_contains(with([](auto& s) { s.token_types[3] = 0; }), "type 0");
  expect_contains(with([](auto& s) { s.token_types[3] = 7; }), "type 7");
  expect_contains(with([](auto& s) { s.token_types[3] = -1; }), "type -1");
  expect_contains(with([&](auto& s) { s.bos_id = static_cast<int32_t>(s.tokens.size()); }), "bos_token_id is " + size);
  expect_contains(with([](auto& s) { s.eos_id = -2; }), "eos_token_id is -2");
  expect_contains(with([](auto& s) { s.unknown_id = INT32_MAX; }), "unknown_token_id");
  expect_contains(with([](auto& s) { s.padding_id = 1 << 30; }), "padding_token_id");
  expect_contains(with([](auto& s) { s.add_bos = true; }), "bos_token_id");
  expect_contains(with([](auto& s) { s.add_space_prefix = true; }), "add_space_prefix");
  for (const std::string merge : {"", " ", "a", "a ", " a", "a b c", "a  b"}) {
    expect_contains(with([&](auto& s) { s.merges[1] = merge; }), "merge 1 is");
  }
  expect_contains(with([](auto& s) { s.merges[1] = "zz a"; }), "left half \"zz\" is not in the vocabulary");
  expect_contains(with([](auto& s) { s.merges[1] = "a zz"; }), "right half \"zz\" is not in the vocabulary");
  expect_contains(with([](auto& s) { s.merges[1] = "a c"; }), "result \"ac\" is not in the vocabulary");
  expect_contains(with([](auto& s) { s.merges[1] = s.merges[0]; }), "twice; the earlier is merge 0");
  expect_contains(with([](auto& s) { s.merges[1] = "< s>"; }), "right half");
  expect_contains(with([](auto& s) {
                    s.tokens.push_back("s>");
                    s.token_types.push_back(1);
                    s.merges[1] = "< s>";
                  }),
                  "control token");
  expect_contains(with([](auto& s) { s.tokens.back() = std::string(257, 'x'); }), "at most 256");
}

TEST(TokenizerSpec, HugeCountsStayLinear) {
  auto spec = small_spec({});
  for (int i = 0; i < 1'000'000; ++i) spec.tokens.push_back("t" + std::to_string(i));
  for (int i = 0; i < 1'000'000; ++i)
    spec.merges.push_back("t" + std::to_string(i / 10) + " " + std::to_string(i % 10));
  spec.token_types.clear();
  std::string message;
  const double good = seconds([&] { message = refused_spec(spec); });
  expect_contains(message, "merge 0 (\"t0 0\"): its result \"t00\" is not in the vocabulary");
  EXPECT_LT(good, 5.0 * kSlowBuild);
  for (int i = 0; i < 1'000'000; ++i) {
    spec.merges[i] = "t" + std::to_string(i / 10 + 1) + " " + std::to_string(i % 10);
  }
  spec.merges.resize(999'000);  // t1 to t99900 and one digit more: all there
  const double all = seconds([&] { EXPECT_EQ(Tokenizer(spec).encode("t 1").size(), 3u); });
  EXPECT_LT(all, 5.0 * kSlowBuild);
}

TEST(PreTokenizer, JitAndInterpreterCutAlike) {
  for (const char* name :
       {"smollm", "gpt-2", "default", "llama-bpe", "qwen2", "qwen35", "tekken", "gpt-4o", "deepseek-v3"}) {
    const text::PreTokenizer fast(name), slow(name, false);
    std::string text;
    uint32_t state = 1;
    for (int i = 0; i < 20'000; ++i) {
      state = state * 1664525 + 1013904223;
      const char* parts[] = {"a",  "B",        " ", "  ", "\n",           "1",    "\xC2\xBD",
                             "'s", "'",        ".", "$",  "\xE6\xBC\xA2", "\xFF", "\xE2\x80\xA8",
                             "\t", "e\xCC\x81"};
      text += parts[state >> 28];
    }
    // Long runs, after which what was taken must in some rules be given back.
    for (const char* unit : {"a", " ", "A", "1", ".", "\n", " \n", "\xE6\xBC\xA2", "\xCC\x81", "A\xCC\x81"}) {
      for (int i = 0; i < 200'000; ++i) text += unit;
      text += "x";
    }
    std::vector<size_t> a, b;
    fast.split(text, a);
    slow.split(text, b);
    EXPECT_EQ(a, b) << name;
    ASSERT_FALSE(a.empty());
    EXPECT_EQ(a.back(), text.size());
    for (size_t i = 1; i < a.size(); ++i) ASSERT_LT(a[i - 1], a[i]);
  }
}

TEST(Chat, OtherTemplatesAreRefusedByName) {
  auto spec = small_spec({});
  const auto refusal = [&](const std::string& text) {
    spec.chat_template = text;
    const Tokenizer t(spec);  // only applying it is refused: the model can be used without
    return refused([&] { t.apply_chat_template(std::vector<ChatMessage>{{"user", "x"}}, true); });
  };
  expect_contains(refusal(""), "no chat template");
  expect_contains(refusal("{{ bos_token }}{% for m in messages %}[INST] {{ m }} [/INST]{% endfor %}"), "Mistral");
  expect_contains(refusal("<|start_header_id|>"), "Llama 3");
  expect_contains(refusal("{% if tools %}<|im_start|>{% endif %}"), "a chatml variant");
  expect_contains(refusal("hello"), "an unknown form");
  // One character more or less is another template.
  const std::string good = testing::model_spec().chat_template;
  expect_contains(refusal(good + "x"), "chatml variant");
  expect_contains(refusal(good.substr(0, good.size() - 1)), "chatml variant");
  for (const std::string from : {"system", "loop.first", "message['content']", "|>assistant", "<|im_end|>"}) {
    const size_t at = good.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    expect_contains(refusal(std::string(good).replace(at, from.size(), "X")), "chatml variant");
  }
  expect_contains(refusal(std::string(good).replace(good.find("Hugging"), 7, "' + x + '")), "chatml variant");
}

TEST(Chat, FormsOfChatml) {
  auto spec = small_spec({});
  const std::vector<ChatMessage> messages = {{"user", "x"}};
  const std::string tail = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
  spec.chat_template =
      "{%- for message in messages -%}\n  {{- \"<|im_start|>\" + message['role'] + \"\\n\" + "
      "message[\"content\"] + '<|im_end|>\\n' -}}\n{%- endfor -%} " +
      tail;
  EXPECT_EQ(Tokenizer(spec).apply_chat_template(messages, true),
            "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n");
  spec.chat_template =
      "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ "
      "'<|im_start|>system\\nIt\\'s  you.<|im_end|>\\n' }}{% endif %}{{'<|im_start|>' + message['role'] + "
      "'\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}" +
      tail;
  const Tokenizer t(spec);
  EXPECT_EQ(t.apply_chat_template(messages, false),
            "<|im_start|>system\nIt's  you.<|im_end|>\n<|im_start|>user\nx<|im_end|>\n");
  EXPECT_THROW(t.apply_chat_template(std::vector<ChatMessage>{{"tool", "x"}}, false), std::invalid_argument);
  EXPECT_EQ(t.apply_chat_template({}, true), "<|im_start|>assistant\n");
  // Attributes for subscripts; line ends after blocks, indents before them and a line end at the end are no output.
  spec.chat_template =
      "{% for message in messages %}\n  {% if loop.first and messages[0].role != 'system' %}\n{{ "
      "'<|im_start|>system\\nIt\\'s  you.<|im_end|>\\n' }}{% endif %}\n{{'<|im_start|>' + message.role + "
      "'\\n' + message.content + '<|im_end|>' + '\\n'}}{% endfor %}\n" +
      tail + "\n";
  EXPECT_EQ(Tokenizer(spec).apply_chat_template(messages, true), t.apply_chat_template(messages, true));
  spec.chat_template += "\n\n";  // what stands after a line end of a block and that of the end is output
  const Tokenizer longer(spec);
  EXPECT_THROW((void)longer.apply_chat_template(messages, true), InputError);
}

}  // namespace
}  // namespace bareattn
