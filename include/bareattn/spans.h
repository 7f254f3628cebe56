// Named spans of a text: the system prompt, the question, the special tokens, whatever a regular expression finds. The
// measures then say how much weight every head puts on each (docs/measures.md, "Named spans").
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bareattn {

class Tokenizer;

/// Tokens [begin, end) under a name ("system", "question"). Spans of one name are one set of tokens.
struct NamedSpan {
  std::string name;
  int64_t begin = 0, end = 0;
};

/// Most names that are measured at once; more are refused.
inline constexpr int most_span_names = 64;

/// "NAME=BEGIN:END" (tokens; either may be left out) or "NAME=REGEX": PCRE2 with UTF-8, over the text that the pieces
/// make when joined; a dot stops at a newline, (?s) lets it pass. Every match is a span of the tokens it touches, empty
/// matches are none. InputError where the name is empty, the range is no part of the text, the expression is wrong,
/// finds nothing, or takes too long: 10 million steps a match, 64 MB.
std::vector<NamedSpan> find_spans(std::string_view wanted, std::span<const std::string_view> pieces);

/// What can be told without being asked: "special" (control tokens; absent where there are none), and in a text of the
/// chat template "system" (all before the turn in which `question` stands, special tokens apart) and "question" (the
/// last place where these bytes stand).
std::vector<NamedSpan> known_spans(const Tokenizer& tokenizer, std::span<const int32_t> tokens,
                                   std::string_view question = {});

/// Names in order of their first appearance; and for each the tokens, as sorted ranges that do not touch.
struct SpanSet {
  std::string name;
  std::vector<NamedSpan> ranges;
  int64_t tokens = 0;
};
/// InputError for a span outside [0, length) or more than most_span_names names.
std::vector<SpanSet> span_sets(std::span<const NamedSpan> spans, int64_t length);

}  // namespace bareattn
