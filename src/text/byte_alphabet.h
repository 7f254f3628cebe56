// The byte alphabet of byte-level BPE: 256 printable characters, one for each byte, so that a vocabulary can be stored
// as text. Printable Latin-1 stands for itself; the other 68 bytes are U+0100, U+0101, ... in ascending order, so a
// space is U+0120 (written as G with a dot) and a newline U+010A. Nothing here knows about merges or words: see bpe.h.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bareattn::text {

/// The character of one byte, as UTF-8.
std::string_view letter_of_byte(uint8_t byte);

/// The bytes that a token in the byte alphabet stands for; nothing when some character is not of the alphabet.
std::optional<std::string> bytes_of_token(std::string_view token);

}  // namespace bareattn::text
