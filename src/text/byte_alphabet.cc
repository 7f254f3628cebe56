// See byte_alphabet.h. The two directions are one table, built once from the rule.
#include "text/byte_alphabet.h"

namespace bareattn::text {
namespace {

struct Alphabet {
  std::array<std::string, 256> letter;    // byte -> UTF-8
  std::array<int16_t, 256 + 68> byte_of;  // code point -> byte, -1 where no letter has that code point

  Alphabet() {
    byte_of.fill(-1);
    int next = 256;
    for (int b = 0; b < 256; ++b) {
      const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      const int code_point = printable ? b : next++;
      byte_of[code_point] = static_cast<int16_t>(b);
      if (code_point < 0x80) {
        letter[b] = std::string(1, static_cast<char>(code_point));
      } else {
        letter[b] = {static_cast<char>(0xC0 | code_point >> 6), static_cast<char>(0x80 | (code_point & 0x3F))};
      }
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

std::string_view letter_of_byte(uint8_t byte) { return alphabet().letter[byte]; }

std::optional<std::string> bytes_of_token(std::string_view token) {
  const auto& byte_of = alphabet().byte_of;
  std::string out;
  out.reserve(token.size());
  for (size_t i = 0; i < token.size();) {
    const auto c = static_cast<unsigned char>(token[i]);
    int code_point = c;
    if (c < 0x80) {
      i += 1;
    } else {  // every other letter is two bytes long: U+00A1 to U+0143
      if (c < 0xC2 || c > 0xC5 || i + 1 >= token.size()) return std::nullopt;
      const auto d = static_cast<unsigned char>(token[i + 1]);
      if ((d & 0xC0) != 0x80) return std::nullopt;
      code_point = (c & 0x1F) << 6 | (d & 0x3F);
      i += 2;
    }
    if (code_point >= static_cast<int>(byte_of.size()) || byte_of[code_point] < 0) return std::nullopt;
    out += static_cast<char>(byte_of[code_point]);
  }
  return out;
}

}  // namespace bareattn::text
