// UTF-8: every code point survives, every invalid form is one U+FFFD per maximal subpart, and nothing that could act on
// a terminal leaves escape_for_terminal.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <nlohmann/json.hpp>

#include "base/utf8.h"

using namespace bareattn::base;

namespace {

const std::string fffd = "\xEF\xBF\xBD";

TEST(Utf8, EveryCodePointRoundTrips) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    append_utf8(text, c);
    const Utf8Step step = decode_utf8(text, 0);
    ASSERT_TRUE(step.valid && step.code_point == c && step.length == text.size()) << "U+" << std::hex << uint32_t{c};
  }
  std::string text;
  append_utf8(text, 0xD800);
  append_utf8(text, 0x110000);
  EXPECT_EQ(text, fffd + fffd);
}

TEST(Utf8, InvalidFormsAsTheUnicodeStandardCountsThem) {
  // Unicode 15, section 3.9, tables 3-8 to 3-11 ("U+FFFD substitution of maximal subparts").
  EXPECT_EQ(to_valid_utf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
            fffd + fffd + fffd + fffd + fffd + fffd + fffd + fffd + "A");
  EXPECT_EQ(to_valid_utf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"),
            fffd + fffd + fffd + fffd + fffd + fffd + fffd + fffd + "A");
  EXPECT_EQ(to_valid_utf8("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"),
            fffd + fffd + fffd + fffd + fffd + "A" + fffd + fffd + "B");
  EXPECT_EQ(to_valid_utf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), fffd + fffd + fffd + fffd + "A");
  EXPECT_EQ(to_valid_utf8("caf\xC3"), "caf" + fffd);  // cut at the end
  EXPECT_TRUE(is_utf8("na\xC3\xAFve \xF0\x9F\x98\x80"));
  EXPECT_FALSE(is_utf8("na\xEFve"));
  EXPECT_TRUE(is_utf8(""));
}

TEST(Utf8, AnyBytesBecomeValidAndValidTextStays) {
  EXPECT_TRUE(rc::check([](const std::string& bytes) {
    const std::string repaired = to_valid_utf8(bytes);
    RC_ASSERT(is_utf8(repaired));
    RC_ASSERT(to_valid_utf8(repaired) == repaired);
    RC_ASSERT(is_utf8(bytes) == (repaired == bytes));
  }));
}

TEST(Utf8, TerminalTextCannotAct) {
  EXPECT_EQ(escape_for_terminal("a\nb\tc\r"), "a\\nb\\tc\\r");
  EXPECT_EQ(escape_for_terminal("a\nb\tc\r", Newlines::keep), "a\nb\tc\\r");
  EXPECT_EQ(escape_for_terminal("\x1b[31mred"), "\\x1b[31mred");
  EXPECT_EQ(escape_for_terminal(std::string_view("\0\x07\x7f", 3)), "\\x00\\x07\\x7f");
  EXPECT_EQ(escape_for_terminal("\xC2\x9B"
                                "31m"),
            "\\u{9b}31m");  // C1 CSI
  EXPECT_EQ(escape_for_terminal("abc\xE2\x80\xAE"
                                "def"),
            "abc\\u{202e}def");                                                        // right-to-left override
  EXPECT_EQ(escape_for_terminal("\xEF\xBB\xBFx\xE2\x81\xA6"), "\\u{feff}x\\u{2066}");  // BOM, isolate
  EXPECT_EQ(escape_for_terminal("\xFF"), fffd);
  const std::string plain = "Zürich, 東京, \xF0\x9F\x98\x80, C:\\temp";
  EXPECT_EQ(escape_for_terminal(plain), plain);
}

TEST(Utf8, JsonForATerminalMeansTheSame) {
  const std::string text = "a\u202Eb\u200B \u00E9\U0001F600 \uFEFF\U000E0041\u009B\x7F\u2066";
  const std::string json = "{\n \"" + text + "\": \"" + text + "\"\n}";
  const std::string safe = escape_json(json);
  EXPECT_EQ(nlohmann::json::parse(safe), nlohmann::json::parse(json));
  EXPECT_EQ(safe, escape_for_terminal(safe, Newlines::keep));
  EXPECT_NE(safe.find("a\\u202eb\\u200b \u00E9\U0001F600 \\ufeff\\udb40\\udc41\\u009b\\u007f\\u2066"),
            std::string::npos)
      << safe;
}

TEST(Utf8, NothingUnsafePassesForAnyBytes) {
  EXPECT_TRUE(rc::check([](const std::string& bytes) {
    const std::string safe = escape_for_terminal(bytes);
    RC_ASSERT(is_utf8(safe));
    for (size_t i = 0; i < safe.size();) {
      const Utf8Step step = decode_utf8(safe, i);
      RC_ASSERT(step.code_point >= 0x20 && !(step.code_point >= 0x7F && step.code_point <= 0x9F));
      RC_ASSERT(!(step.code_point >= 0x202A && step.code_point <= 0x202E));
      i += step.length;
    }
  }));
}

}  // namespace
