// What input that was made to be slow costs, counted: comparisons, slots walked past, bytes that are held. The keys
// here are what an attacker would write: texts that share one std::hash, objects of very many keys, ids that crowd
// together. Nothing is timed. Faults of form are in the readers' own tests.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "bareattn/error.h"
#include "bareattn/steering.h"
#include "base/json.h"
#include "base/random.h"
#include "base/seeded_hash.h"
#include "text/bpe.h"
#include "text/chat_template.h"
#include "text/special_tokens.h"
#include "tokenizer_testing.h"

namespace bareattn {
namespace {

// libstdc++ hashes texts by MurmurHash64A with a fixed seed: after any first eight bytes there are eight that bring the
// state to where one wants it.
std::vector<std::string> texts_of_one_hash(size_t count) {
  constexpr uint64_t m = 0xc6a4a7935bd1e995U, seed = 0xc70f6907U, length = 16;
  const auto mixed = [](uint64_t x) {
    x *= m;
    x ^= x >> 47;
    return x * m;
  };
  uint64_t inverse = m;  // of m modulo 2^64, by Newton
  for (int i = 0; i < 6; ++i) inverse *= 2 - m * inverse;
  const auto unmixed = [&](uint64_t x) {
    x *= inverse;
    x ^= x >> 47;
    return x * inverse;
  };
  std::vector<std::string> texts;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t first = i * 0x0101010101010101U + 7;
    const uint64_t state = ((seed ^ (length * m)) ^ mixed(first)) * m;
    const uint64_t second = unmixed(state ^ 12345);
    std::string text(16, '\0');
    std::memcpy(text.data(), &first, 8);
    std::memcpy(text.data() + 8, &second, 8);
    texts.push_back(text);
  }
  return texts;
}

TEST(SeededHash, TextsThatShareTheLibrarysHashDoNotShareOurs) {
  const auto texts = texts_of_one_hash(20'000);
  std::set<size_t> theirs, ours, lower;
  const base::SeededHash hash;
  for (const std::string& text : texts) {
    theirs.insert(std::hash<std::string>()(text));
    ours.insert(hash(text));
    lower.insert(hash(text) & 0xFFFF);
  }
  EXPECT_EQ(theirs.size(), 1u) << "the texts are no attack on this library";
  EXPECT_EQ(ours.size(), texts.size());
  EXPECT_GT(lower.size(), 15'000u);  // 65,536 (1 - e^-0.305) = 17,230 by chance
}

TEST(SeededHash, DependsOnEveryByteTheLengthAndTheSeed) {
  const base::SeededHash hash(99);
  std::set<size_t> all;
  size_t made = 0;
  for (size_t length = 0; length < 40; ++length) {
    std::string text(length, '\0');
    all.insert(hash(text));
    ++made;
    for (size_t i = 0; i < length; ++i) {
      text[i] = '\xff';
      all.insert(hash(text));
      ++made;
      text[i] = '\0';
    }
  }
  EXPECT_EQ(all.size(), made);
  EXPECT_NE(base::SeededHash(1)("token"), base::SeededHash(2)("token"));
}

TEST(TextIndex, ComparesEachTextAFewTimesWhateverTheTexts) {
  std::vector<std::vector<std::string>> kinds{texts_of_one_hash(50'000), {}, {}};
  for (int i = 0; i < 50'000; ++i) {
    kinds[1].push_back("t" + std::to_string(i));
    std::string numbered(8, '\0');
    std::memcpy(numbered.data(), &i, sizeof i);
    kinds[2].push_back(numbered);
  }
  // The process's own seed, and others: with a bad one, numbered texts must not crowd either.
  for (int run = 0; run < 60; ++run) {
    const auto& texts = kinds[static_cast<size_t>(run % 3)];
    const base::SeededHash hash = run < 3 ? base::SeededHash() : base::SeededHash(0x9e3779b97f4a7c15U * (run / 3) >> 3);
    int64_t compared = 0;
    const auto text_of = [&](int32_t i) {
      ++compared;
      return std::string_view(texts[static_cast<size_t>(i)]);
    };
    base::TextIndex index(texts.size(), hash);
    for (size_t i = 0; i < texts.size(); ++i) ASSERT_EQ(index.add(texts[i], static_cast<int32_t>(i), text_of), -1) << i;
    for (size_t i = 0; i < texts.size(); ++i) ASSERT_EQ(index.find(texts[i], text_of), static_cast<int32_t>(i));
    EXPECT_EQ(index.add(texts[7], 1, text_of), 7);
    EXPECT_EQ(index.find("none of them", text_of), -1);
    EXPECT_LT(compared, 5 * static_cast<int64_t>(texts.size())) << run;
  }
}

TEST(MergeTable, NoFamilyOfIdsCrowdsTogether) {
  constexpr int32_t count = 60'000;
  for (const uint64_t seed : {1U, 2U, 3U, 4U}) {
    const auto longest = [&](const auto& pair_of) {
      text::MergeTable table(count, seed);
      for (int32_t i = 0; i < count; ++i) {
        const auto [left, right] = pair_of(i);
        EXPECT_TRUE(table.add(left, right, {i, i}));
      }
      return table.longest_search();
    };
    EXPECT_LT(longest([](int32_t i) { return std::pair(i, 0); }), 64u);
    EXPECT_LT(longest([](int32_t i) { return std::pair(0, i); }), 64u);
    EXPECT_LT(longest([](int32_t i) { return std::pair(i, i); }), 64u);
    EXPECT_LT(longest([](int32_t i) { return std::pair(i << 6, i & 63); }), 64u);
    EXPECT_LT(longest([](int32_t i) { return std::pair(i % 250, i / 250 * 4096); }), 64u);
  }
}

std::string problem_of(const std::string& json, const base::JsonLimits& limits = {}) {
  std::string problem;
  const auto value = base::read_json(json, problem, limits);
  EXPECT_EQ(value.is_discarded(), !problem.empty());
  return problem;
}

TEST(Json, KeysAreFoundByOrderNotByWalking) {
  // An ordered_json is a list that is walked for every key.
  static_assert(std::is_same_v<nlohmann::json::object_t::key_compare, std::less<>>);
  static_assert(
      std::is_same_v<nlohmann::json::object_t, std::map<std::string, nlohmann::json, std::less<>,
                                                        std::allocator<std::pair<const std::string, nlohmann::json>>>>);
  std::string json = "{";
  for (int i = 0; i < 100'000; ++i) json += (i == 0 ? "\"k" : ",\"k") + std::to_string(i) + "\":0";
  EXPECT_EQ(problem_of(json + "}"), "");
  EXPECT_EQ(problem_of(json + ",\"k7\":1}"), "has the key 'k7' twice");
}

TEST(Json, RefusesByName) {
  EXPECT_EQ(problem_of(R"({"a":[1,-2,3.5,true,null,"x",{"a":{}}],"b":{"a":1}})"), "");
  EXPECT_EQ(problem_of(R"({"a":1,"\u0061":2})"), "has the key 'a' twice");
  EXPECT_EQ(problem_of("{\"\\u202e\":1,\"\\u202e\":2}"), "has the key '\\u{202e}' twice");
  EXPECT_EQ(problem_of(R"([{"b":{"c":1,"c":1}}])"), "has the key 'c' twice");
  for (const char* none : {"", "{", "[1,]", "nul", "1 2", "\"\xff\"", "1e999", "{\"a\" 1}", "\xef\xbb", "[1]]"})
    EXPECT_EQ(problem_of(none), "is no JSON") << none;
  EXPECT_EQ(problem_of(std::string(32, '[') + std::string(32, ']')), "");
  EXPECT_EQ(problem_of(std::string(33, '[') + std::string(33, ']')), "is nested too deep");
  EXPECT_EQ(problem_of(std::string(1'000'000, '[')), "is nested too deep");
}

TEST(Json, CountsWhatItHolds) {
  base::JsonLimits limits;
  limits.memory = 1 << 20;
  limits.text_bytes = 1 << 20;
  const std::string full = "holds more values than fit into 1 MiB of memory";
  const auto repeated = [](int count, const std::string& what) {
    std::string all = "[" + what;
    for (int i = 1; i < count; ++i) all += "," + what;
    return all + "]";
  };
  EXPECT_EQ(problem_of(repeated(20'000, "1"), limits), "");
  EXPECT_EQ(problem_of(repeated(30'000, "1"), limits), full);
  EXPECT_EQ(problem_of(repeated(10'000, "{}"), limits), full);
  EXPECT_EQ(problem_of(repeated(10'000, "\"\""), limits), "");
  EXPECT_EQ(problem_of(repeated(12'000, "\"\""), limits), full);
  EXPECT_EQ(problem_of(repeated(20, "\"" + std::string(60'000, 'x') + "\""), limits), full);
  EXPECT_EQ(problem_of("[\"" + std::string(2 << 20, 'x') + "\"]", limits),
            "holds a text or a number of more than 1 MiB");
  EXPECT_EQ(problem_of("[" + std::string(2 << 20, '7') + "]", limits), "holds a text or a number of more than 1 MiB");
}

TEST(Steering, ManySpansAndPatternsAreWalkedOnce) {
  ModelConfig config;
  config.layers = 30;
  config.heads = 9;
  config.kv_heads = 3;
  config.head_dim = 64;
  Intervention one;
  one.kind = Intervention::Kind::bias;
  one.value = 1;
  one.heads.assign(200'000, "*");
  for (int i = 0; i < 200'000; ++i) one.keys.push_back({i % 5000, i % 5000 + 1});
  const ScoreTable table = make_table({one}, config, 8192);  // by tokens times spans it would be 1.6 10^9 questions
  EXPECT_EQ(table.key_spans, 2);
  EXPECT_EQ(table.key_span[0], 1);
  EXPECT_EQ(table.key_span[5000], 0);
}

TEST(Steering, ATableOfTooManyCellsIsRefused) {
  ModelConfig config;
  config.layers = 100;
  config.heads = 100;
  config.kv_heads = 100;
  config.head_dim = 64;
  std::vector<Intervention> all;
  for (int i = 0; i < 200; ++i) {
    Intervention one;
    one.kind = Intervention::Kind::bias;
    one.value = 1;
    one.heads = {"*"};
    one.keys = {{i, i + 1}};
    one.rows = {{i, i + 1}};
    all.push_back(one);
  }
  EXPECT_THROW(make_table(all, config, 1000), InputError);
}

TEST(Steering, NumbersThatASessionCannotHoldAreRefused) {
  const auto refusal = [](const std::string& one) -> std::string {
    try {
      steering_from_json(R"({"format":"bareattn-steering","version":1,"interventions":[)" + one + "]}");
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };
  const std::string begin = R"({"kind":"bias","heads":["*"],"keys":)";
  EXPECT_EQ(refusal(begin + R"([[0,9223372036854775807]],"value":3e38})"), "");
  EXPECT_NE(refusal(begin + R"([[0,2]],"value":1e39})").find("'value' holds 1e+39; a number of at most"),
            std::string::npos);
  EXPECT_NE(refusal(begin + R"([[0,2]],"value":-1e300})").find("a number of at most"), std::string::npos);
  EXPECT_NE(refusal(R"({"kind":"mean","heads":["0.0"],"mean":[1,1e39]})").find("'mean' holds 1e+39"),
            std::string::npos);
  EXPECT_NE(refusal(begin + R"([[0,18446744073709551615]],"value":1})").find("holds 18446744073709551615; a position"),
            std::string::npos);
  EXPECT_NE(refusal(begin + R"([[9223372036854775808,-1]],"value":1})").find("a position is at most"),
            std::string::npos);
  EXPECT_NE(refusal(begin + R"([[0,1]],"value":1,"value":2})").find("has the key 'value' twice"), std::string::npos);
}

// a, aa, .. of all lengths, and a text of nothing else: at each place they all begin, or none but one is told apart
// late.
TEST(SpecialTokens, CommonPrefixesCostTheirNumberAtMostOnce) {
  std::vector<std::string> texts;
  for (size_t length = 1; length <= text::SpecialTokens::max_length; ++length) texts.emplace_back(length, 'a');
  for (int i = 0; i < 20'000; ++i) texts.push_back(std::string(200, 'b') + std::to_string(100'000 + i));
  std::vector<text::SpecialTokens::Entry> entries;
  for (size_t i = 0; i < texts.size(); ++i) entries.push_back({texts[i], static_cast<int32_t>(i), true});
  text::SpecialTokens special(entries);
  int64_t steps = 0;
  special.steps = &steps;
  const std::string nearly(100'000, 'b');
  EXPECT_EQ(special.find(nearly, 0, true).id, -1);
  EXPECT_LT(steps, 20 * 100'000);  // log2 of 20,000 and one, at each place
  steps = 0;
  EXPECT_EQ(special.find(std::string(50'000, 'a'), 0, false).id, -1);  // all are control tokens, and none is asked for
  EXPECT_LT(steps, 300 * 50'000);
  EXPECT_EQ(special.find("xxaaab", 0, true).id, 2);
  EXPECT_EQ(special.find(std::string(199, 'b') + "b100007", 0, true).id, 256 + 7);
}

TEST(SpecialTokens, TheLongestThatIsAskedForWins) {
  const std::vector<text::SpecialTokens::Entry> entries{{"<a", 0, false},  {"<a>", 1, true}, {"<ab", 2, true},
                                                        {"<a>b", 3, true}, {"a>", 4, false}, {"<b\xff", 5, true}};
  const text::SpecialTokens special(entries);
  const auto found = [&](std::string_view text, bool control, size_t from = 0) {
    const auto at = special.find(text, from, control);
    return std::tuple(at.id, at.begin, at.end);
  };
  EXPECT_EQ(found("x<a>c", true), std::tuple(1, 1u, 4u));
  EXPECT_EQ(found("x<a>c", false), std::tuple(0, 1u, 3u));
  EXPECT_EQ(found("<a>b", true), std::tuple(3, 0u, 4u));
  EXPECT_EQ(found("<a>b", true, 1), std::tuple(4, 1u, 3u));
  EXPECT_EQ(found("<b\xff", true), std::tuple(5, 0u, 3u));
  EXPECT_EQ(std::get<0>(found("<b\xfe<", true)), -1);
}

// A text is encoded a few thousand ids at a time, and no further than is wanted.
TEST(Tokenizer, NothingIsHeldOfALongText) {
  const Tokenizer tokenizer(testing::small_spec({{"a", "b"}}, {"<s>"}));
  std::string text;
  for (int i = 0; i < 300'000; ++i) text += i % 1000 == 0 ? "<s>" : "ab 1 ";
  for (const bool special : {true, false}) {
    const auto whole = tokenizer.encode(text, special);
    std::vector<int32_t> ids;
    size_t most = 0, calls = 0;
    tokenizer.encode(text, {.parse_special = special}, [&](std::span<const int32_t> some) {
      most = std::max(most, some.size());
      ids.insert(ids.end(), some.begin(), some.end());
      ++calls;
      return true;
    });
    EXPECT_EQ(ids, whole);
    EXPECT_EQ(tokenizer.decode(ids), text);
    EXPECT_LE(most, 65'536u + 8);
    EXPECT_GT(calls, 5u);
    calls = 0;
    tokenizer.encode(text, {.parse_special = special}, [&](std::span<const int32_t>) { return ++calls < 2; });
    EXPECT_EQ(calls, 2u);
    EXPECT_FALSE(tokenizer.encode_within(100, text, {.parse_special = special}));
    EXPECT_EQ(tokenizer.encode_within(static_cast<int64_t>(whole.size()), text, {.parse_special = special}), whole);
    EXPECT_FALSE(tokenizer.encode_within(static_cast<int64_t>(whole.size()) - 1, text, {.parse_special = special}));
  }
  EXPECT_EQ(tokenizer.encode(std::string(1 << 20, 'a')).size(), 1u << 20);
  EXPECT_THROW(tokenizer.encode(std::string((1 << 22) + 1, 'a')), InputError);
}

// A line end in a chat template may be written as an escape: a template of nothing else.
TEST(ChatTemplate, OfAMegabyteOfEscapesIsReadOnce) {
  std::string jinja =
      "{%for message in messages%}{%if loop.first and messages[0]['role']!='system'%}"
      "{{'<|im_start|>system\\n";
  for (int i = 0; i < 300'000; ++i) jinja += "\\n";
  const std::string end =
      "<|im_end|>\\n'}}{%endif%}{{'<|im_start|>'+message['role']+'\\n'+message['content']+'<|im_end|>\\n'}}{%endfor%}"
      "{%if add_generation_prompt%}{{'<|im_start|>assistant\\n'}}{%endif%}";
  EXPECT_EQ(text::recognise_chat_template(jinja + end).default_system, std::string(300'000, '\n'));
  EXPECT_THROW(text::recognise_chat_template(jinja + jinja + end), InputError);
}

}  // namespace
}  // namespace bareattn
