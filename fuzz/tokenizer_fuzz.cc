// libFuzzer on the tokenizer. The first byte chooses: a text through one of three fixed vocabularies, which must come
// back exactly; or a whole TokenizerSpec made from the input, which must be refused with an InputError or then give
// every text back that it does not refuse. Anything else (a crash, another exception, a lost byte) is a finding.
// Build: clang++ with -fsanitize=fuzzer,address,undefined, this file and the library; `./x fuzz` does.
#include <cstdlib>
#include <string>
#include <string_view>

#include "../tests/tokenizer_testing.h"
#include "bareattn/error.h"

namespace {

using bareattn::Tokenizer;
using bareattn::TokenizerSpec;

void expect_round_trip(const Tokenizer& tokenizer, std::string_view text, bool special) {
  std::vector<int32_t> ids;
  try {
    ids = tokenizer.encode(text, special);
  } catch (const bareattn::InputError&) {
    return;  // a byte that this vocabulary cannot spell
  }
  if (tokenizer.decode(ids) != text) std::abort();
  for (const int32_t id : ids) {
    if (!special && tokenizer.is_special(id)) std::abort();
  }
}

const Tokenizer& fixed(size_t which) {
  static const auto merges = [] {
    auto list = bareattn::testing::replacement_merges();
    for (const auto& [a, b] : {std::pair("a", "a"),
                               {"aa", "a"},
                               {" ", "a"},
                               {" ", " "},
                               {"\n", "\n"},
                               {"0", "0"},
                               {"\xEF", "\xEF"},
                               {"\xBD", "F"},
                               {"'", "s"},
                               {"aa", "aa"}}) {
      list.emplace_back(a, b);
    }
    return list;
  }();
  static const auto make = [](const char* pre, std::string_view missing) {
    auto spec = bareattn::testing::small_spec(merges, {"<s>", "<s><s>", "a<"}, missing);
    spec.pre = pre;
    return Tokenizer(std::move(spec));
  };
  static const Tokenizer all[] = {make("smollm", "\x04\xF5\xFF"), make("gpt-2", ""),
                                  make("default",
                                       "\x80"
                                       "bc")};
  return all[which % 3];
}

/// Takes the input apart: every part ends at a byte of 0xFA.
struct Parts {
  std::string_view rest;
  std::string_view next() {
    const size_t end = std::min(rest.find('\xFA'), rest.size());
    const std::string_view part = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return part;
  }
  int32_t number() {
    const std::string_view part = next();
    int32_t value = 0;
    for (const char c : part) value = static_cast<int32_t>(static_cast<uint32_t>(value) << 8 | static_cast<uint8_t>(c));
    return part.empty() ? -1 : value;
  }
};

void fuzz_spec(std::string_view input) {
  Parts parts{input};
  const auto text = std::string(parts.next());
  const auto counts = std::string(parts.next());
  const auto count = [&](size_t i) { return i < counts.size() ? static_cast<uint8_t>(counts[i]) : 0; };
  auto spec = count(0) & 1 ? bareattn::testing::small_spec({{"a", "b"}}, {"<s>"}) : TokenizerSpec{};
  spec.model = count(0) & 2 ? std::string(parts.next()) : "gpt2";
  spec.pre = count(0) & 4 ? std::string(parts.next()) : "smollm";
  for (int i = 0; i < count(1); ++i) spec.tokens.emplace_back(parts.next());
  for (int i = 0; i < count(2); ++i) spec.token_types.push_back(parts.number());
  for (int i = 0; i < count(3); ++i) spec.merges.emplace_back(parts.next());
  if (count(0) & 8) spec.bos_id = parts.number();
  if (count(0) & 16) spec.eos_id = parts.number();
  if (count(0) & 32) spec.chat_template = parts.next();
  try {
    const Tokenizer tokenizer(std::move(spec));
    expect_round_trip(tokenizer, text, true);
    expect_round_trip(tokenizer, text, false);
    const bareattn::ChatMessage message{"user", text};
    tokenizer.apply_chat_template({&message, 1}, true);
  } catch (const bareattn::InputError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] < 192) {
    expect_round_trip(fixed(data[0] >> 1), input, data[0] & 1);
  } else {
    fuzz_spec(input);
  }
  return 0;
}
