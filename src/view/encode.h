// How the page's numbers and texts are written down: 8-bit logarithmic codes, byte planes, deflate, base64, JSON and
// HTML escapes. What each loses is stated in docs/page-format.md and tested. Next: page_sections.h, page.cc.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bareattn::view {

using Bytes = std::vector<uint8_t>;

/// Shares and weights in [0, 1] as one byte: 0 is exactly 0; 1..254 are 2^-20 .. 1 in equal steps of log2; 255 is "not
/// a number in [0, 1]" (NaN, infinity, negative, above 1 by more than the rounding of a sum). Values in (0, 2^-20) go
/// to code 1, so that no weight ever looks like none.
inline constexpr double log_code_min_log2 = -20;
inline constexpr int log_code_steps = 253;
inline constexpr uint8_t log_code_nan = 255;
/// |decoded / value - 1| for values in [2^-20, 1]: half a step, 2^(20 / 253 / 2) - 1.
inline constexpr double log_code_relative_error = 0.0278;
uint8_t log_code(double value);
double log_decode(uint8_t code);  // the same arithmetic as the page; NaN for 255

/// Values in [0, top] as one byte, linear: 0 is "not a number", 1..255 are 0 .. top. Error top / 508.
uint8_t linear_code(double value, double top);

/// The low bytes of all values, then the high bytes: the high bytes of binary16 repeat, the low ones do not.
void append_planes(Bytes& out, std::span<const uint16_t> values);

enum class Pack { text, half_floats };  // half_floats: Huffman only, since no byte string repeats
std::string deflate_base64(const Bytes& bytes, Pack pack);
std::string base64(std::span<const uint8_t> bytes);
/// SHA-256 of the text, base64: what a CSP hash source holds.
std::string sha256_base64(std::string_view text);

/// JSON that is pure ASCII, for a <script type="application/json">: < > & become \u003c \u003e \u0026.
std::string json_for_script(std::string json_ascii);
/// For element content and quoted attributes; control characters become U+FFFD.
std::string html_text(std::string_view text);

}  // namespace bareattn::view
