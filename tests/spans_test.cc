// Named spans: ranges and regular expressions over text to tokens, what is refused and how soon.
#include "bareattn/spans.h"

#include <gtest/gtest.h>

#include <chrono>

#include "bareattn/error.h"
#include "bareattn/tokenizer.h"
#include "model_under_test.h"

namespace bareattn {
namespace {

using Pieces = std::vector<std::string_view>;
using Ranges = std::vector<std::pair<int64_t, int64_t>>;

Ranges found(std::string_view wanted, const Pieces& pieces) {
  Ranges ranges;
  for (const NamedSpan& span : find_spans(wanted, pieces)) ranges.emplace_back(span.begin, span.end);
  return ranges;
}

std::string refusal(std::string_view wanted, const Pieces& pieces) {
  try {
    (void)find_spans(wanted, pieces);
  } catch (const InputError& error) {
    return error.what();
  }
  return "(accepted)";
}

const Pieces cat{"The", " cat", "", " s", "at\n", "the", " c", "at"};

TEST(Spans, RangesOfTokens) {
  EXPECT_EQ(found("a=2:5", cat), (Ranges{{2, 5}}));
  EXPECT_EQ(found("a=:", cat), (Ranges{{0, 8}}));
  EXPECT_EQ(found("a=6:", cat), (Ranges{{6, 8}}));
  EXPECT_EQ(find_spans("the question=:3", cat)[0].name, "the question");
  for (const char* wrong : {"a=5:5", "a=3:2", "a=0:9", "a=99999999999999999999:"})
    EXPECT_NE(refusal(wrong, cat).find("span 'a"), std::string::npos) << wrong;
}

TEST(Spans, ExpressionsTouchWholeTokens) {
  EXPECT_EQ(found("a=cat", cat), (Ranges{{1, 2}, {6, 8}}));
  EXPECT_EQ(found("a=he c", cat), (Ranges{{0, 2}, {5, 7}}));
  EXPECT_NE(refusal("a=^the", cat).find("matches nothing"), std::string::npos);  // ^ is where the text begins
  EXPECT_EQ(found("a=(?m)^the", cat), (Ranges{{5, 6}}));
  EXPECT_EQ(found("a=.+", cat), (Ranges{{0, 5}, {5, 8}}));
  EXPECT_EQ(found("a=(?s).+", cat), (Ranges{{0, 8}}));
  EXPECT_EQ(found("a=x*a", cat), (Ranges{{1, 2}, {4, 5}, {7, 8}}));
  EXPECT_EQ(found("a=b=c|sat", cat), (Ranges{{3, 5}}));
  EXPECT_EQ(found("e=\xC3\xA9", {"caf\xC3", "\xA9!"}), (Ranges{{0, 2}}));  // a character split over tokens
  EXPECT_EQ(found("a=a", {"\xFF", "a"}), (Ranges{{1, 2}}));                // bytes that are no UTF-8 are skipped
}

TEST(Spans, WhatIsWrongIsNamed) {
  EXPECT_NE(refusal("a", cat).find("NAME=REGEX"), std::string::npos);
  EXPECT_NE(refusal("=x", cat).find("NAME=REGEX"), std::string::npos);
  EXPECT_NE(refusal("a=", cat).find("NAME=REGEX"), std::string::npos);
  EXPECT_NE(refusal("a=(", cat).find("no regular expression"), std::string::npos);
  EXPECT_NE(refusal("a=dog", cat).find("matches nothing"), std::string::npos);
  EXPECT_NE(refusal("a=x*", cat).find("matches nothing"), std::string::npos);  // empty matches are none
  EXPECT_NE(refusal("a=\xFF", cat).find("no regular expression"), std::string::npos);
}

TEST(Spans, AHostileExpressionIsRefusedAndNotWaitedFor) {
  const std::string text(60, 'a');
  const Pieces pieces{text, "b"};
  EXPECT_NE(refusal("a=(a+)+$", pieces).find("takes too long"), std::string::npos);
  EXPECT_NE(refusal("a=(a|a)*c(?1)", pieces).find("span 'a="), std::string::npos);
  const std::string large(1 << 20, 'a');
  const std::string said = refusal("a=(?:(a)|b)*+c", {large});  // no catastrophe, much memory: refused or no match
  EXPECT_NE(said.find("span 'a="), std::string::npos) << said;
}

TEST(Spans, ManyDearMatchesAreRefusedTogether) {  // each alone takes few steps
  std::string text;
  for (int i = 0; i < 4000; ++i) text += "x" + std::string(18, 'a');
  EXPECT_NE(refusal("a=x(?=(?:a+)+[bc]|)", {text}).find("takes too long"), std::string::npos);
  const std::string broken = text + "\xFF" + std::string(1 << 20, 'b');  // the rest is checked for each match
  EXPECT_NE(refusal("a=b", {broken}).find("takes too long"), std::string::npos);
  EXPECT_EQ(find_spans("a=x", Pieces{text}).size(), 4000U);
}

TEST(Spans, ANameIsUtf8) { EXPECT_THROW(span_sets(std::vector<NamedSpan>{{"a\xFF", 0, 1}}, 10), InputError); }

TEST(Spans, OneNameIsOneSet) {
  const auto sets =
      span_sets(std::vector<NamedSpan>{{"b", 4, 6}, {"a", 0, 1}, {"b", 5, 9}, {"b", 1, 2}, {"b", 3, 3}}, 10);
  ASSERT_EQ(sets.size(), 2U);
  EXPECT_EQ(sets[0].name, "b");
  EXPECT_EQ(sets[0].tokens, 6);
  ASSERT_EQ(sets[0].ranges.size(), 2U);
  EXPECT_EQ(sets[0].ranges[1].end, 9);
  EXPECT_THROW(span_sets(std::vector<NamedSpan>{{"a", 0, 11}}, 10), InputError);
  std::vector<NamedSpan> many;
  for (int i = 0; i <= most_span_names; ++i) many.push_back({std::to_string(i), 0, 1});
  EXPECT_THROW(span_sets(many, 10), InputError);
}

TEST(Spans, TheChatTemplatesParts) {
  const auto model = test::real_model();
  const Tokenizer& tokenizer = model->tokenizer();
  const std::string question = "Who wrote Hamlet?";
  const ChatMessage message{"user", question};
  const auto tokens = tokenizer.encode(tokenizer.apply_chat_template({&message, 1}, true), true);
  std::string system, asked;
  int special = 0;
  for (const NamedSpan& span : known_spans(tokenizer, tokens, question))
    for (int64_t i = span.begin; i < span.end; ++i) {
      const auto piece = tokenizer.piece(tokens[static_cast<size_t>(i)]);
      if (span.name == "system") system += piece;
      if (span.name == "question") asked += piece;
      if (span.name == "special") {
        ++special;
        EXPECT_TRUE(tokenizer.is_special(tokens[static_cast<size_t>(i)]));
      }
    }
  EXPECT_NE(asked.find(question), std::string::npos);
  EXPECT_LE(asked.size(), question.size() + 2);
  EXPECT_NE(system.find("helpful AI assistant"), std::string::npos) << system;
  EXPECT_EQ(system.find("<|"), std::string::npos);
  EXPECT_EQ(system.find("user"), std::string::npos);
  EXPECT_EQ(special, 5);  // three turns begin, two end
}

}  // namespace
}  // namespace bareattn
