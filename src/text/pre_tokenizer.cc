// The table of pre-tokenizers, and PCRE2 around it. A rule is one or more patterns: each is applied to the pieces that
// the one before left, a match and what lies between matches both being pieces. Look-aheads see a piece's end as the
// end of the text.
//
// Possessive quantifiers (++) say what is true anyway, that giving a character back cannot help, so that neither the
// match limit nor the JIT stack can be reached by a run of a million letters. The white space class is written out:
// PCRE2's \s would also take U+180E, which Unicode dropped in version 6.3, and neither llama.cpp nor the Rust regex
// engines do.
#include "text/pre_tokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <simdjson.h>

#include <stdexcept>
#include <utility>

#include "bareattn/error.h"
#include "base/utf8.h"
#include "text/quote.h"

namespace bareattn::text {
namespace {

#define SPACE R"(\x09-\x0D\x20\x85\xA0\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})"

// Letters and numbers as of Unicode 16, the tables of Hugging Face tokenizers 0.23, which trained the models. PCRE2
// 10.42 knows Unicode 14; what was assigned since is written out and changes nothing once PCRE2 knows it, too.
// (The last two ranges of the numbers are of Unicode 17: its Digits pre-tokenizer has newer tables than its regex.)
// ASCII stands first because PCRE2 tests plain characters by a bitmap and properties by a table.
#define LETTER                                                                                                  \
  R"(A-Za-z\p{L}\x{1C89}-\x{1C8A}\x{A7CB}-\x{A7CD}\x{A7DA}-\x{A7DC}\x{105C0}-\x{105F3}\x{10D4A}-\x{10D65})"     \
  R"(\x{10D6F}-\x{10D85}\x{10EC2}-\x{10EC4}\x{1123F}-\x{11240}\x{11380}-\x{11389}\x{1138B}\x{1138E})"           \
  R"(\x{11390}-\x{113B5}\x{113B7}\x{113D1}\x{113D3}\x{11BC0}-\x{11BE0}\x{11F02}\x{11F04}-\x{11F10})"            \
  R"(\x{11F12}-\x{11F33}\x{1342F}\x{13441}-\x{13446}\x{13460}-\x{143FA}\x{16100}-\x{1611D}\x{16D40}-\x{16D6C})" \
  R"(\x{18CFF}\x{1B132}\x{1B155}\x{1DF25}-\x{1DF2A}\x{1E030}-\x{1E06D}\x{1E4D0}-\x{1E4EB}\x{1E5D0}-\x{1E5ED})"  \
  R"(\x{1E5F0}\x{2B739}\x{2EBF0}-\x{2EE5D}\x{31350}-\x{323AF})"
#define NUMBER                                                                                                 \
  R"(0-9\p{N}\x{10D40}-\x{10D49}\x{116D0}-\x{116E3}\x{11BF0}-\x{11BF9}\x{11F50}-\x{11F59}\x{16130}-\x{16139})" \
  R"(\x{16D70}-\x{16D79}\x{1CCF0}-\x{1CCF9}\x{1D2C0}-\x{1D2D3}\x{1E4F0}-\x{1E4F9}\x{1E5F1}-\x{1E5FA})"         \
  R"(\x{11DE0}-\x{11DE9}\x{16FF4}-\x{16FF6})"
#define CONTRACTIONS "'s|'t|'re|'ve|'m|'ll|'d"

// GPT-2's own pattern: contractions, then letters, numbers or other signs with at most one space before, then white
// space, of which the last character is left to the word after it.
constexpr const char* kGpt2 = CONTRACTIONS "| ?[" LETTER "]++| ?[" NUMBER "]++| ?[^" SPACE LETTER NUMBER "]++|[" SPACE
                                           "]+(?![^" SPACE "])|[" SPACE "]++";

// Every number character is cut out first, then GPT-2's pattern runs on what is between. As one pattern: a number is a
// word alone (never with a space before it), and a number after white space counts as the end of the text.
constexpr const char* kDigitsThenGpt2 = CONTRACTIONS "| ?[" LETTER "]++|[" NUMBER "]| ?[^" SPACE LETTER NUMBER
                                                     "]++|[" SPACE "]+(?![^" SPACE NUMBER "])|[" SPACE "]++";

// What llama.cpp does for a file that says "default": punctuation runs, GPT-2, number runs, numbers by threes.
constexpr const char* kPunctuation = R"([\p{P}$+<=>^~|]++)";
constexpr const char* kNumbers = "[" NUMBER "]++";
constexpr const char* kThreeDigits = "[0-9][0-9][0-9]";

struct Rule {
  const char* name;
  std::vector<const char*> patterns;
};

const std::vector<Rule>& rules() {
  static const std::vector<Rule> table = {
      {"smollm", {kDigitsThenGpt2}},
      {"gpt-2", {kGpt2}},
      {"default", {kPunctuation, kGpt2, kNumbers, kThreeDigits}},
  };
  return table;
}

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
  std::string known;
  for (const Rule& rule : rules()) {
    if (name == rule.name) {
      for (const char* pattern : rule.patterns) patterns_.emplace_back(pattern, jit);
      return;
    }
    known += (known.empty() ? "" : ", ") + std::string(rule.name);
  }
  throw InputError("tokenizer.ggml.pre is " + quoted(name) +
                   ", a pre-tokenizer that is not known here (known: " + known + ")");
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
