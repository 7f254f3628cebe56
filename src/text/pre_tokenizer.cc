// PCRE2 around the rules of pre_tokenizer_rules.h. A rule is one or more patterns: each is applied to the pieces that
// the one before left, a match and what lies between matches both being pieces. Look-aheads see a piece's end as the
// end of the text.
#include "text/pre_tokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <simdjson.h>

#include <stdexcept>
#include <utility>

#include "bareattn/error.h"
#include "base/utf8.h"
#include "text/pre_tokenizer_rules.h"
#include "text/quote.h"

namespace bareattn::text {
namespace {

std::string pcre2_message(int code) {
  PCRE2_UCHAR buffer[256] = {};
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

// PCRE2 needs valid UTF-8. Every byte that is in no valid character becomes U+0001: to the patterns it is what U+FFFD
// is, and being one byte long it leaves all offsets as they are.
std::string with_placeholders(std::string_view bytes) {
  std::string out(bytes);
  for (size_t i = 0; i < bytes.size();) {
    const base::Utf8Step step = base::decode_utf8(bytes, i);
    if (!step.valid) out.replace(i, step.length, step.length, '\x01');
    i += step.length;
  }
  return out;
}

struct FreeMatch {
  void operator()(pcre2_match_data* m) const { pcre2_match_data_free(m); }
};

}  // namespace

struct PreTokenizer::Pattern {
  struct FreeCode {
    void operator()(pcre2_code* c) const { pcre2_code_free(c); }
  };
  std::unique_ptr<pcre2_code, FreeCode> code;
  bool jit = false;

  Pattern(const char* text, bool with_jit) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text), PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &error,
                             &offset, nullptr));
    if (!code && error == PCRE2_ERROR_HEAP_FAILED) throw std::bad_alloc();
    if (!code) throw std::logic_error(std::string("pre-tokenizer pattern: ") + pcre2_message(error));
    // No JIT (a build of PCRE2 without it, or memory that may not be made executable) only costs time.
    jit = with_jit && pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE) == 0;
  }

  /// Splits one piece that begins at `from` and ends at `to`. False: `see` wanted no more.
  bool split(std::string_view text, size_t from, size_t to, const See& see) const {
    // One block for each call, so that a const PreTokenizer can be used by many threads.
    const std::unique_ptr<pcre2_match_data, FreeMatch> owned(pcre2_match_data_create(1, nullptr));
    if (!owned) throw std::bad_alloc();
    pcre2_match_data* const match = owned.get();
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data()) + from;
    const size_t length = to - from;
    const PCRE2_SIZE* found = pcre2_get_ovector_pointer(match);
    size_t done = 0;
    while (done < length) {
      const int rc = jit ? pcre2_jit_match(code.get(), subject, length, done, 0, match, nullptr)
                         : pcre2_match(code.get(), subject, length, done, PCRE2_NO_UTF_CHECK, match, nullptr);
      if (rc == PCRE2_ERROR_NOMATCH) break;
      if (rc == PCRE2_ERROR_NOMEMORY) throw std::bad_alloc();
      if (rc < 0) throw std::runtime_error("pre-tokenizer: PCRE2 stopped: " + pcre2_message(rc));
      const size_t begin = found[0], end = found[1];  // `see` may match with other patterns, not with this block
      if (begin > done && !see(from + begin)) return false;
      if (!see(from + end)) return false;  // no pattern matches nothing, so this moves on
      done = end;
    }
    return done == length || see(to);
  }
};

PreTokenizer::PreTokenizer(std::string_view name, bool jit) {
  const PreTokenizerRule* rule = find_pre_tokenizer(name);
  if (rule == nullptr) {
    throw InputError("tokenizer.ggml.pre is " + quoted(name) +
                     ", a pre-tokenizer that is not known here (known: " + known_pre_tokenizers() + ")");
  }
  for (const char* pattern : rule->patterns) patterns_.emplace_back(pattern, jit);
}

PreTokenizer::~PreTokenizer() = default;
PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;
PreTokenizer& PreTokenizer::operator=(PreTokenizer&&) noexcept = default;

void PreTokenizer::split(std::string_view text, std::vector<size_t>& ends) const {
  split(text, [&ends](size_t end) {
    ends.push_back(end);
    return true;
  });
}

void PreTokenizer::split(std::string_view text, const See& see) const {
  if (text.empty()) return;
  if (simdjson::validate_utf8(text.data(), text.size())) {
    split_by(0, text, {0, text.size()}, see);
  } else {
    split_by(0, with_placeholders(text), {0, text.size()}, see);
  }
}

bool PreTokenizer::split_by(size_t first, std::string_view text, Piece piece, const See& see) const {
  if (first + 1 == patterns_.size()) return patterns_[first].split(text, piece.from, piece.to, see);
  size_t from = piece.from;
  return patterns_[first].split(text, piece.from, piece.to, [&](size_t to) {
    const Piece part{std::exchange(from, to), to};
    return split_by(first + 1, text, part, see);
  });
}

}  // namespace bareattn::text
