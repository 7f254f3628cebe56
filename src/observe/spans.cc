// See spans.h. A regular expression comes from a stranger as much as a text does: PCRE2 counts its steps and its
// memory, and what goes past a limit, over all matches together, is refused, not waited for.
#include "bareattn/spans.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "bareattn/error.h"
#include "bareattn/tokenizer.h"
#include "base/utf8.h"

namespace bareattn {
namespace {

constexpr int64_t most_steps = 50'000'000;  // a text of 100,000 tokens is searched in far fewer
constexpr uint32_t most_kilobytes = 64 << 10;
constexpr int64_t most_matches = 1 << 20;

struct Free {
  void operator()(pcre2_code* p) const { pcre2_code_free(p); }
  void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
  void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
};

std::string message_of(int code) {
  PCRE2_UCHAR buffer[256] = {};
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

[[noreturn]] void fail(std::string_view wanted, const std::string& why) {
  throw InputError(fmt::format("span '{}': {}", base::escape_for_terminal(std::string(wanted.substr(0, 200))), why));
}

// PCRE2 limits the steps of one match and does not tell how many it took. So each match is tried with few, then with
// four times as many, and what was allowed is taken off what is left for all: at most five times the work of a search
// without a limit.
class Search {
 public:
  Search(std::string_view wanted, std::string_view pattern, const std::string& text) : wanted_(wanted), text_(text) {
    const bool utf8 = base::is_utf8(text);
    if (utf8)
      options_ |= PCRE2_NO_UTF_CHECK;
    else
      per_match_ += static_cast<int64_t>(text.size() / 16);  // the rest of the text is checked anew for each match
    int error = 0;
    PCRE2_SIZE offset = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | (utf8 ? 0 : PCRE2_MATCH_INVALID_UTF),
                              &error, &offset, nullptr));
    if (!code_ && error == PCRE2_ERROR_HEAP_FAILED) throw std::bad_alloc();
    if (!code_) fail(wanted, fmt::format("no regular expression: {} at byte {}", message_of(error), offset));
    match_.reset(pcre2_match_data_create(1, nullptr));
    limits_.reset(pcre2_match_context_create(nullptr));
    if (!match_ || !limits_) throw std::bad_alloc();
    pcre2_set_heap_limit(limits_.get(), most_kilobytes);
  }

  // The next match from a byte on, as [begin, end); null: there is none.
  const PCRE2_SIZE* next(size_t from) {
    left_ -= per_match_;
    for (int64_t steps = 64;; steps *= 4) {
      if ((left_ -= steps) < 0) slow("more than " + std::to_string(most_steps) + " steps");
      pcre2_set_match_limit(limits_.get(), static_cast<uint32_t>(steps));
      pcre2_set_depth_limit(limits_.get(), static_cast<uint32_t>(steps));
      const int rc = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text_.data()), text_.size(), from, options_,
                                 match_.get(), limits_.get());
      if (rc == PCRE2_ERROR_NOMATCH) return nullptr;
      if (rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT) continue;
      if (rc == PCRE2_ERROR_NOMEMORY) throw std::bad_alloc();
      if (rc == PCRE2_ERROR_HEAPLIMIT) slow(message_of(rc));
      if (rc < 0) fail(wanted_, "the regular expression cannot be matched: " + message_of(rc));
      return pcre2_get_ovector_pointer(match_.get());
    }
  }

 private:
  [[noreturn]] void slow(const std::string& why) const {
    fail(wanted_, "the regular expression takes too long on this text (" + why + "); a simpler one is needed");
  }

  std::string_view wanted_;
  const std::string& text_;
  int64_t left_ = most_steps, per_match_ = 0;
  uint32_t options_ = PCRE2_NOTEMPTY;
  std::unique_ptr<pcre2_code, Free> code_;
  std::unique_ptr<pcre2_match_data, Free> match_;
  std::unique_ptr<pcre2_match_context, Free> limits_;
};

// Where each piece begins, and the end.
std::vector<int64_t> offsets_of(std::span<const std::string_view> pieces) {
  std::vector<int64_t> offsets{0};
  for (const std::string_view piece : pieces) offsets.push_back(offsets.back() + static_cast<int64_t>(piece.size()));
  return offsets;
}

// Tokens that have a byte in [from, to).
NamedSpan tokens_of(const std::vector<int64_t>& offsets, std::string_view name, int64_t from, int64_t to) {
  const auto begin = std::upper_bound(offsets.begin(), offsets.end(), from) - offsets.begin() - 1;
  const auto end = std::lower_bound(offsets.begin(), offsets.end(), to) - offsets.begin();
  return {std::string(name), begin, end};
}

// "3:17", ":", "5:"; false: it is an expression.
bool read_range(std::string_view wanted, std::string_view text, int64_t length, NamedSpan& span) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || text.find_first_not_of("0123456789:") != std::string_view::npos ||
      text.find(':', colon + 1) != std::string_view::npos)
    return false;
  const auto number = [&](std::string_view digits, int64_t missing) {
    int64_t value = missing;
    if (!digits.empty() && std::from_chars(digits.data(), digits.data() + digits.size(), value).ec != std::errc())
      fail(wanted, "the number is too large");
    return value;
  };
  span.begin = number(text.substr(0, colon), 0);
  span.end = number(text.substr(colon + 1), length);
  if (span.begin >= span.end || span.end > length)
    fail(wanted, fmt::format("tokens {}:{} are no part of a text of {} tokens", span.begin, span.end, length));
  return true;
}

}  // namespace

std::vector<NamedSpan> find_spans(std::string_view wanted, std::span<const std::string_view> pieces) {
  const size_t equals = wanted.find('=');
  if (equals == std::string_view::npos || equals == 0 || equals + 1 == wanted.size())
    fail(wanted, "NAME=BEGIN:END or NAME=REGEX is needed");
  const std::string_view name = wanted.substr(0, equals), pattern = wanted.substr(equals + 1);
  NamedSpan range{std::string(name), 0, 0};
  if (read_range(wanted, pattern, static_cast<int64_t>(pieces.size()), range)) return {range};

  std::string text;
  for (const std::string_view piece : pieces) text += piece;
  const std::vector<int64_t> offsets = offsets_of(pieces);
  Search search(wanted, pattern, text);
  std::vector<NamedSpan> found;
  for (size_t at = 0; at <= text.size();) {
    const PCRE2_SIZE* here = search.next(at);
    if (here == nullptr) break;
    if (here[1] <= here[0] || here[1] <= at) {  // \K can make a match that ends before it begins
      ++at;
      continue;
    }
    found.push_back(tokens_of(offsets, name, static_cast<int64_t>(here[0]), static_cast<int64_t>(here[1])));
    if (static_cast<int64_t>(found.size()) > most_matches)
      fail(wanted, fmt::format("more than {} matches", most_matches));
    at = here[1];
  }
  if (found.empty()) fail(wanted, "the regular expression matches nothing in the text");
  return found;
}

std::vector<NamedSpan> known_spans(const Tokenizer& tokenizer, std::span<const int32_t> tokens,
                                   std::string_view question) {
  std::vector<NamedSpan> spans;
  std::vector<std::string_view> pieces;
  std::string text;
  const auto count = static_cast<int64_t>(tokens.size());
  for (const int32_t id : tokens) text += pieces.emplace_back(tokenizer.piece(id));
  const size_t at = question.empty() ? std::string::npos : text.rfind(question);
  if (at != std::string::npos) {
    const auto offsets = offsets_of(pieces);
    const auto from = static_cast<int64_t>(at);
    const NamedSpan asked = tokens_of(offsets, "question", from, from + static_cast<int64_t>(question.size()));
    int64_t turn = asked.begin;  // its turn begins with the last special token before it
    while (turn > 0 && !tokenizer.is_special(tokens[static_cast<size_t>(turn)])) --turn;
    for (int64_t i = 0; i < turn; ++i)
      if (!tokenizer.is_special(tokens[static_cast<size_t>(i)])) spans.push_back({"system", i, i + 1});
    spans.push_back(asked);
  }
  for (int64_t i = 0; i < count; ++i)
    if (tokenizer.is_special(tokens[static_cast<size_t>(i)])) spans.push_back({"special", i, i + 1});
  std::vector<NamedSpan> joined;
  for (const SpanSet& set : span_sets(spans, count)) joined.insert(joined.end(), set.ranges.begin(), set.ranges.end());
  return joined;
}

std::vector<SpanSet> span_sets(std::span<const NamedSpan> spans, int64_t length) {
  std::vector<SpanSet> sets;
  for (const NamedSpan& span : spans) {
    if (span.begin < 0 || span.begin > span.end || span.end > length) {
      throw InputError(fmt::format("span '{}' is [{}, {}); the text has {} tokens",
                                   base::escape_for_terminal(span.name), span.begin, span.end, length));
    }
    if (!base::is_utf8(span.name))  // what is written of two names must differ
      throw InputError(fmt::format("span '{}': its name is no UTF-8", base::escape_for_terminal(span.name)));
    auto set = std::find_if(sets.begin(), sets.end(), [&](const SpanSet& s) { return s.name == span.name; });
    if (set == sets.end()) {
      if (sets.size() == most_span_names) throw InputError(fmt::format("more than {} names of spans", most_span_names));
      set = sets.insert(sets.end(), {span.name, {}, 0});
    }
    set->ranges.push_back(span);
  }
  for (SpanSet& set : sets) {
    std::sort(set.ranges.begin(), set.ranges.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
    std::vector<NamedSpan> joined;
    for (const NamedSpan& one : set.ranges) {
      if (!joined.empty() && one.begin <= joined.back().end)
        joined.back().end = std::max(joined.back().end, one.end);
      else if (one.begin < one.end)
        joined.push_back(one);
    }
    for (const NamedSpan& one : joined) set.tokens += one.end - one.begin;
    set.ranges = std::move(joined);
  }
  return sets;
}

}  // namespace bareattn
