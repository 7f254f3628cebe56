// See encode.h.
#include "view/encode.h"

#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/sha256.h"

namespace bareattn::view {

uint8_t log_code(double value) {
  if (!(value >= 0) || value > 1 + 1e-3) return log_code_nan;  // a share is a sum of roundings: a little above 1 is 1
  if (value == 0) return 0;
  const double place = (std::log2(std::min(value, 1.0)) - log_code_min_log2) / -log_code_min_log2;
  return static_cast<uint8_t>(1 + std::lround(std::max(place, 0.0) * log_code_steps));
}

double log_decode(uint8_t code) {
  if (code == log_code_nan) return std::numeric_limits<double>::quiet_NaN();
  if (code == 0) return 0;
  return std::exp2(log_code_min_log2 + (code - 1) * (-log_code_min_log2 / log_code_steps));
}

uint8_t linear_code(double value, double top) {
  if (!std::isfinite(value)) return 0;
  return static_cast<uint8_t>(1 + std::lround(std::clamp(value / top, 0.0, 1.0) * 254));
}

void append_planes(Bytes& out, std::span<const uint16_t> values) {
  const size_t start = out.size(), n = values.size();
  out.resize(start + 2 * n);
  for (size_t i = 0; i < n; ++i) {
    out[start + i] = static_cast<uint8_t>(values[i] & 0xFF);
    out[start + n + i] = static_cast<uint8_t>(values[i] >> 8);
  }
}

std::string deflate_base64(const Bytes& bytes, Pack pack) {
  z_stream stream{};
  const bool halves = pack == Pack::half_floats;
  // Level 6 on the pooled maps; the planes of Q and K are all but random: searching them for repeats costs ten times
  // the time of plain Huffman coding and saves under one percent.
  if (deflateInit2(&stream, halves ? 1 : 6, Z_DEFLATED, 15, 9, halves ? Z_HUFFMAN_ONLY : Z_DEFAULT_STRATEGY) != Z_OK) {
    throw std::bad_alloc();  // all else that it may refuse stands in the call
  }
  const std::unique_ptr<z_stream, int (*)(z_stream*)> ends(&stream, deflateEnd);
  Bytes out(deflateBound(&stream, static_cast<uLong>(bytes.size())));
  // zlib counts in 32 bits: feed in pieces.
  size_t in_done = 0, out_done = 0;
  int status = Z_OK;
  constexpr size_t piece = size_t{1} << 30;
  do {
    const size_t in_now = std::min(piece, bytes.size() - in_done);
    const size_t out_now = std::min(piece, out.size() - out_done);
    stream.next_in = const_cast<Bytef*>(bytes.data() + in_done);
    stream.avail_in = static_cast<uInt>(in_now);
    stream.next_out = out.data() + out_done;
    stream.avail_out = static_cast<uInt>(out_now);
    status = deflate(&stream, in_done + in_now == bytes.size() ? Z_FINISH : Z_NO_FLUSH);
    in_done += in_now - stream.avail_in;
    out_done += out_now - stream.avail_out;
  } while (status == Z_OK);
  if (status != Z_STREAM_END) throw std::runtime_error("zlib could not compress a section of the page");
  return base64({out.data(), out_done});
}

std::string base64(std::span<const uint8_t> bytes) {
  static constexpr char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.resize((bytes.size() + 2) / 3 * 4);
  size_t to = 0;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t left = std::min<size_t>(3, bytes.size() - i);
    uint32_t word = static_cast<uint32_t>(bytes[i]) << 16;
    if (left > 1) word |= static_cast<uint32_t>(bytes[i + 1]) << 8;
    if (left > 2) word |= bytes[i + 2];
    out[to++] = alphabet[word >> 18];
    out[to++] = alphabet[(word >> 12) & 63];
    out[to++] = left > 1 ? alphabet[(word >> 6) & 63] : '=';
    out[to++] = left > 2 ? alphabet[word & 63] : '=';
  }
  return out;
}

std::string sha256_base64(std::string_view text) {
  const std::string hex = base::sha256(text);
  std::vector<uint8_t> digest;
  for (size_t i = 0; i < hex.size(); i += 2)
    digest.push_back(static_cast<uint8_t>(std::stoul(hex.substr(i, 2), nullptr, 16)));
  return base64(digest);
}

std::string json_for_script(std::string json_ascii) {
  std::string out;
  out.reserve(json_ascii.size() + json_ascii.size() / 16);
  for (const char c : json_ascii) {
    switch (c) {
      case '<':
        out += "\\u003c";
        break;
      case '>':
        out += "\\u003e";
        break;
      case '&':
        out += "\\u0026";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string html_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        if ((static_cast<unsigned char>(c) < 0x20) || c == 0x7F) {
          out += "\xEF\xBF\xBD";
        } else {
          out += c;
        }
    }
  }
  return out;
}

}  // namespace bareattn::view
