// Properties of the tokenizer on random input: any bytes come back exactly, with the real vocabulary and with random
// small ones; both ways to merge a word agree with a plain one written from the definition.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstdlib>
#include <map>
#include <random>

#include "text/bpe.h"
#include "tokenizer_model.h"
#include "tokenizer_testing.h"

namespace bareattn {
namespace {

// More and larger cases than RapidCheck's 100; RC_PARAMS in the environment overrides it (seed=... repeats a failure).
const int parameters_set = setenv("RC_PARAMS", "max_success=2000 max_size=200", 0);

/// The count of cases is checked, so that a property that never ran cannot pass.
bool check(const char* what, const auto& property) {
  int cases = 0;
  const bool ok = rc::check(what, [&] {
    ++cases;
    property();
  });
  EXPECT_GE(cases, 100) << what;
  return ok;
}

/// Bytes that are hard on a tokenizer: random ones, and pieces of text, of characters and of special tokens.
std::string any_bytes() {
  const std::vector<std::string> parts = {
      "a",    " ",        "  ",           "\n",         "7",    "'ll",          "\xEF",
      "\xBF", "\xBD",     "\xEF\xBF\xBD", "F5",         "04",   "\xF5",         "\x04",
      "\xC0", "\xE2\x82", "\xED\xA0\x80", "<|im_end|>", "<|im", "\xE6\xBC\xA2", "attention"};
  std::string out;
  for (const int n : *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 512))) {
    if (n < 256) {
      out += static_cast<char>(n);
    } else {
      out += parts[static_cast<size_t>(n) % parts.size()];
    }
  }
  return out;
}

TEST(TokenizerProperty, AnyBytesComeBack) {
  const Tokenizer& t = testing::model_tokenizer();
  EXPECT_TRUE(check("decode(encode(x)) == x", [&] {
    const std::string text = any_bytes();
    const bool special = *rc::gen::arbitrary<bool>();
    RC_ASSERT(t.decode(t.encode(text, special)) == text);
  }));
}

TEST(TokenizerProperty, NoControlTokenFromPlainText) {
  const Tokenizer& t = testing::model_tokenizer();
  EXPECT_TRUE(check("plain text spells no control token", [&] {
    for (const int32_t id : t.encode(any_bytes() + "<|im_start|>" + any_bytes())) RC_ASSERT(!t.is_special(id));
  }));
}

/// A vocabulary of random merges over few bytes, so that they chain; some bytes have no token.
TokenizerSpec random_spec() {
  std::vector<std::string> known = {"a", "b", " ", "\xEF", "\xBF", "\xBD"};
  auto merges = testing::replacement_merges();
  for (const auto& [left, right] : merges) known.push_back(left + right);
  const int count = *rc::gen::inRange(0, 40);
  for (int i = 0; i < count; ++i) {
    const auto left = known[*rc::gen::inRange<size_t>(0, known.size())];
    const auto right = known[*rc::gen::inRange<size_t>(0, known.size())];
    if (std::find(merges.begin(), merges.end(), std::pair(left, right)) != merges.end()) continue;
    const auto at = merges.begin() + *rc::gen::inRange<ptrdiff_t>(0, static_cast<ptrdiff_t>(merges.size()) + 1);
    merges.insert(at, {left, right});
    known.push_back(left + right);
  }
  auto spec = testing::small_spec(merges, {"<s>"}, "\x04\xFF\x80");
  const char* pre[] = {"smollm", "gpt-2", "default"};
  spec.pre = pre[*rc::gen::inRange(0, 3)];
  return spec;
}

TEST(TokenizerProperty, RandomVocabularies) {
  EXPECT_TRUE(check("decode(encode(x)) == x with a random vocabulary", [&] {
    const Tokenizer t(random_spec());
    std::string text;
    const char* parts[] = {"a",  "b",  "aa",   "ab",   " ",    "\xEF", "\xBF", "\xBD", "\xEF\xBF\xBD",
                           "FF", "80", "\xFF", "\x80", "\x04", "<s>"};
    for (const int n : *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 15))) text += parts[n];
    RC_ASSERT(t.decode(t.encode(text, true)) == text);
    RC_ASSERT(t.decode(t.encode(text, false)) == text);
  }));
}

/// From the definition: of all neighbours that merge, the pair of the lowest rank, the leftmost of equals; until none.
std::vector<int32_t> merged_plainly(const std::map<std::pair<int, int>, std::pair<int, int>>& merges,
                                    std::vector<int32_t> word) {
  for (;;) {
    int best_rank = -1, best = -1;
    for (size_t i = 0; i + 1 < word.size(); ++i) {
      const auto found = merges.find({word[i], word[i + 1]});
      if (found != merges.end() && (best < 0 || found->second.first < best_rank)) {
        best = static_cast<int>(i);
        best_rank = found->second.first;
      }
    }
    if (best < 0) return word;
    word[best] = merges.at({word[best], word[best + 1]}).second;
    word.erase(word.begin() + best + 1);
  }
}

TEST(TokenizerProperty, ShortAndLongWordsMergeByTheDefinition) {
  EXPECT_TRUE(check("merge_short_word == merge_long_word == definition", [&] {
    const auto seed = *rc::gen::arbitrary<uint32_t>();
    std::mt19937 random(seed);
    std::map<std::pair<int, int>, std::pair<int, int>> merges;
    int ids = 3;
    for (int rank = 0; rank < 60; ++rank) {
      const int left = static_cast<int>(random() % ids), right = static_cast<int>(random() % ids);
      if (merges.emplace(std::pair(left, right), std::pair(rank, ids)).second && random() % 4) ++ids;
    }
    text::MergeTable table(merges.size());
    for (const auto& [pair, merge] : merges) RC_ASSERT(table.add(pair.first, pair.second, {merge.first, merge.second}));
    for (const auto& [pair, merge] : merges) RC_ASSERT(!table.add(pair.first, pair.second, {0, 0}));
    text::BpeScratch scratch;
    for (int n = 0; n < 4; ++n) {
      std::vector<int32_t> word(random() % 200);
      const int kinds = 1 + static_cast<int>(random() % 3);
      for (auto& id : word) id = random() % 50 ? static_cast<int32_t>(random() % kinds) : -7;  // a byte with no token
      const auto expected = merged_plainly(merges, word);
      auto a = word, b = word, c = word;
      text::merge_word(table, c, scratch);
      RC_ASSERT(c == expected);
      if (word.empty()) continue;
      text::merge_short_word(table, a, scratch);
      text::merge_long_word(table, b, scratch);
      RC_ASSERT(a == expected);
      RC_ASSERT(b == expected);
    }
  }));
}

}  // namespace
}  // namespace bareattn
