// See pre_tokenizer_rules.h.
//
// Possessive quantifiers (++) say what is true anyway, that giving a character back cannot help. Where it can help, in
// the words of gpt-4o and tekken and in white space before a line end, what is given back is one run of the text, once:
// the next alternative takes the whole run. So time stays linear, and neither the match limit nor the JIT stack can be
// reached by a run of a million letters. The white space class is written out: PCRE2's \s would also take U+180E, which
// Unicode dropped in version 6.3, and neither llama.cpp nor the Rust regex engines do.
//
// llama.cpp writes the rules of gpt-4o and tekken with ASCII capitals only; here they are as their models were trained
// with them.
#include "text/pre_tokenizer_rules.h"

#include <algorithm>

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

// Of the same tables: marks, signs, and the two halves that gpt-4o and tekken cut words at, letters that may begin one
// with a capital and letters that may follow it (those without case, and marks, are in both).
#define MARK                                                                                        \
  R"(\p{M}\x{897}\x{CF3}\x{ECE}\x{10D69}-\x{10D6D}\x{10EFC}-\x{10EFF}\x{11241}\x{113B8}-\x{113C0})" \
  R"(\x{113C2}\x{113C5}\x{113C7}-\x{113CA}\x{113CC}-\x{113D0}\x{113D2}\x{113E1}-\x{113E2})"         \
  R"(\x{11F00}-\x{11F01}\x{11F03}\x{11F34}-\x{11F3A}\x{11F3E}-\x{11F42}\x{11F5A}\x{13440})"         \
  R"(\x{13447}-\x{13455}\x{1611E}-\x{1612F}\x{1E08F}\x{1E4EC}-\x{1E4EF}\x{1E5EE}-\x{1E5EF})"
#define SIGN                                                                                               \
  R"(\p{P}\p{S}\x{1B4E}-\x{1B4F}\x{1B7F}\x{10D6E}\x{113D4}-\x{113D5}\x{113D7}-\x{113D8})"                  \
  R"(\x{11B00}-\x{11B09}\x{11BE1}\x{11F43}-\x{11F4F}\x{16D6D}-\x{16D6F}\x{1E5FF}\x{2427}-\x{2429})"        \
  R"(\x{2FFC}-\x{2FFF}\x{31E4}-\x{31E5}\x{31EF}\x{10D8E}-\x{10D8F}\x{1CC00}-\x{1CCEF}\x{1CD00}-\x{1CEB3})" \
  R"(\x{1F6DC}\x{1F774}-\x{1F776}\x{1F77B}-\x{1F77F}\x{1F7D9}\x{1F8B2}-\x{1F8BB}\x{1F8C0}-\x{1F8C1})"      \
  R"(\x{1FA75}-\x{1FA77}\x{1FA87}-\x{1FA89}\x{1FA8F}\x{1FAAD}-\x{1FAAF}\x{1FABB}-\x{1FABF}\x{1FAC6})"      \
  R"(\x{1FACE}-\x{1FACF}\x{1FADA}-\x{1FADC}\x{1FADF}\x{1FAE8}-\x{1FAE9}\x{1FAF7}-\x{1FAF8})"               \
  R"(\x{1FBCB}-\x{1FBEF})"
#define CAPITAL                                                                                       \
  R"(A-Z\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}\x{897}\x{CF3}\x{ECE}\x{1C89}\x{A7CB}-\x{A7CC}\x{A7DA}\x{A7DC})" \
  R"(\x{105C0}-\x{105F3}\x{10D4A}-\x{10D65}\x{10D69}-\x{10D6D}\x{10D6F}\x{10EC2}-\x{10EC4})"          \
  R"(\x{10EFC}-\x{10EFF}\x{1123F}-\x{11241}\x{11380}-\x{11389}\x{1138B}\x{1138E}\x{11390}-\x{113B5})" \
  R"(\x{113B7}-\x{113C0}\x{113C2}\x{113C5}\x{113C7}-\x{113CA}\x{113CC}-\x{113D3}\x{113E1}-\x{113E2})" \
  R"(\x{11BC0}-\x{11BE0}\x{11F00}-\x{11F10}\x{11F12}-\x{11F3A}\x{11F3E}-\x{11F42}\x{11F5A}\x{1342F})" \
  R"(\x{13440}-\x{13455}\x{13460}-\x{143FA}\x{16100}-\x{1612F}\x{16D40}-\x{16D6C}\x{18CFF}\x{1B132})" \
  R"(\x{1B155}\x{1E030}-\x{1E06D}\x{1E08F}\x{1E4D0}-\x{1E4EF}\x{1E5D0}-\x{1E5F0}\x{2B739})"           \
  R"(\x{2EBF0}-\x{2EE5D}\x{31350}-\x{323AF})"
#define SMALL                                                                                          \
  R"(a-z\p{Ll}\p{Lm}\p{Lo}\p{M}\x{897}\x{CF3}\x{ECE}\x{1C8A}\x{A7CD}\x{A7DB}\x{105C0}-\x{105F3})"      \
  R"(\x{10D4A}-\x{10D4F}\x{10D69}-\x{10D6D}\x{10D6F}-\x{10D85}\x{10EC2}-\x{10EC4}\x{10EFC}-\x{10EFF})" \
  R"(\x{1123F}-\x{11241}\x{11380}-\x{11389}\x{1138B}\x{1138E}\x{11390}-\x{113B5}\x{113B7}-\x{113C0})"  \
  R"(\x{113C2}\x{113C5}\x{113C7}-\x{113CA}\x{113CC}-\x{113D3}\x{113E1}-\x{113E2}\x{11BC0}-\x{11BE0})"  \
  R"(\x{11F00}-\x{11F10}\x{11F12}-\x{11F3A}\x{11F3E}-\x{11F42}\x{11F5A}\x{1342F}\x{13440}-\x{13455})"  \
  R"(\x{13460}-\x{143FA}\x{16100}-\x{1612F}\x{16D40}-\x{16D6C}\x{18CFF}\x{1B132}\x{1B155})"            \
  R"(\x{1DF25}-\x{1DF2A}\x{1E030}-\x{1E06D}\x{1E08F}\x{1E4D0}-\x{1E4EF}\x{1E5D0}-\x{1E5F0}\x{2B739})"  \
  R"(\x{2EBF0}-\x{2EE5D}\x{31350}-\x{323AF})"

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

// Contractions in either case; a word with one other sign before it; signs with the line ends after them; white space,
// of which line ends stay together.
#define ANY_CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define LEAD "[^\\r\\n" LETTER NUMBER "]"
#define SIGNS " ?[^" SPACE LETTER NUMBER "]++"
#define BLANKS "[" SPACE "]*[\\r\\n]++|[" SPACE "]+(?![^" SPACE "])|[" SPACE "]++"
#define WORDS ANY_CONTRACTION "|" LEAD "?+[" LETTER "]++"
#define REST "|" SIGNS "[\\r\\n]*+|" BLANKS

constexpr const char* kLlama3 = WORDS "|[" NUMBER "]{1,3}+" REST;
constexpr const char* kQwen2 = WORDS "|[" NUMBER "]" REST;
// Marks are part of words. A mark may also be the one sign before a word, so that it must be possible to give it back.
constexpr const char* kQwen35 =
    ANY_CONTRACTION "|" LEAD "?[" LETTER MARK "]++|[" NUMBER "]| ?[^" SPACE LETTER MARK NUMBER "]++[\\r\\n]*+|" BLANKS;

#define CASED_WORDS(ending) LEAD "?[" CAPITAL "]*[" SMALL "]+" ending "|" LEAD "?[" CAPITAL "]+[" SMALL "]*" ending
#define CASED_REST "|" SIGNS "[\\r\\n/]*+|" BLANKS
constexpr const char* kTekken = CASED_WORDS("") "|[" NUMBER "]" CASED_REST;
constexpr const char* kGpt4o = CASED_WORDS(ANY_CONTRACTION "?+") "|[" NUMBER "]{1,3}+" CASED_REST;

constexpr const char* kThreeNumbers = "[" NUMBER "]{1,3}+";
constexpr const char* kHanAndKana = R"([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]++)";
constexpr const char* kDeepseek = R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]++|[^\r\n)" LETTER SIGN
                                  "]?[" LETTER MARK "]++| ?[" SIGN "]++[\\r\\n]*+|" BLANKS;

const std::vector<PreTokenizerRule>& rules() {
  static const std::vector<PreTokenizerRule> table = [] {
    std::vector<PreTokenizerRule> all = {
        {"default", {kPunctuation, kGpt2, kNumbers, kThreeDigits}},
        {"qwen35", {kQwen35}},
        {"tekken", {kTekken}, true, true},
        {"gpt-4o", {kGpt4o}},
        {"llama4", {kGpt4o}},
        {"deepseek-v3", {kThreeNumbers, kHanAndKana, kDeepseek}},
        {"glm4", {kLlama3}, true, false},
    };
    for (const char* name : {"llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "lfm2"})
      all.push_back({name, {kLlama3}, true, true});
    for (const char* name : {"dbrx", "smaug-bpe", "chatglm-bpe"}) all.push_back({name, {kLlama3}});
    for (const char* name : {"qwen2", "deepseek-r1-qwen", "megrez", "stablelm2", "hunyuan", "grok-2"})
      all.push_back({name, {kQwen2}});
    for (const char* name :
         {"gpt-2", "phi-2", "mpt", "olmo", "jais", "modern-bert", "exaone4", "granite-docling", "roberta-bpe"})
      all.push_back({name, {kGpt2}});
    for (const char* name : {"smollm", "starcoder", "refact", "command-r", "codeshell"})
      all.push_back({name, {kDigitsThenGpt2}});
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return std::string_view(a.name) < b.name; });
    return all;
  }();
  return table;
}

}  // namespace

const PreTokenizerRule* find_pre_tokenizer(std::string_view name) {
  const auto& all = rules();
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& rule) { return name == rule.name; });
  return found == all.end() ? nullptr : &*found;
}

bool adds_bos_by_default(std::string_view model, std::string_view pre) {
  const PreTokenizerRule* rule = model == "gpt2" ? find_pre_tokenizer(pre) : nullptr;
  return model == "llama" || model == "bert" || (rule != nullptr && rule->add_bos);
}

std::string known_pre_tokenizers() {
  std::string all;
  for (const PreTokenizerRule& rule : rules()) all += (all.empty() ? "" : ", ") + std::string(rule.name);
  return all;
}

}  // namespace bareattn::text
