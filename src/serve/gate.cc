// See gate.h. The order matters: Host comes first, so that a page under another name (DNS rebinding) learns nothing,
// not even which routes there are.
#include "serve/gate.h"

#include <openssl/crypto.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <stdexcept>

namespace bareattn::serving {
namespace {

/// The token of "Bearer TOKEN", or nothing.
std::string_view bearer(std::string_view value) {
  constexpr std::string_view scheme = "Bearer ";
  return value.starts_with(scheme) ? value.substr(scheme.size()) : std::string_view{};
}

}  // namespace

std::string random_token() {
  std::array<unsigned char, 16> bits{};
  if (getentropy(bits.data(), bits.size()) != 0)
    throw std::runtime_error("the system gave no random numbers for the token");
  std::string hex;
  for (const unsigned char byte : bits) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

bool same_secret(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

bool Gate::needs_token(std::string_view target) { return target.starts_with("/api/"); }

std::optional<Answer> Gate::refusal(const Request& request) const {
  const std::array<std::string, 3> names{"127.0.0.1", "localhost", "[::1]"};
  const auto ours = [&](std::string_view host) {
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      // Of port 80 browsers say the name alone.
      return host == name + ":" + std::to_string(port) || (port == 80 && host == name);
    });
  };
  if (request.count("host") != 1 || !ours(request.header("host")))
    return error_answer(403, "the Host header is none of this server's names");
  if (request.target.empty() || request.target[0] != '/')
    return error_answer(400, "the target of a request is a path that begins with /");
  if (static_cast<int>(request.headers.size()) > most_headers)
    return error_answer(431, "more than " + std::to_string(most_headers) + " headers");
  for (const char* once : {"content-length", "origin", "sec-fetch-site", "authorization", "content-type"}) {
    if (request.count(once) > 1) return error_answer(400, std::string("more than one ") + once + " header");
  }
  if (request.count("transfer-encoding") != 0) return error_answer(400, "Transfer-Encoding is not taken");
  if (request.count("upgrade") != 0) return error_answer(400, "Upgrade is not taken");

  // Requests of other sites, frames without an origin, and files: whatever they ask for.
  const std::string_view origin = request.header("origin");
  if (request.count("origin") != 0 && !(origin.starts_with("http://") && ours(origin.substr(7))))
    return error_answer(403, "the request comes from another origin");
  const std::string_view site = request.header("sec-fetch-site");
  const bool navigation = request.target == "/" && request.header("sec-fetch-mode") == "navigate" &&
                          request.header("sec-fetch-dest") == "document";
  if (!site.empty() && site != "same-origin" && site != "none" && !navigation)
    return error_answer(403, "the request comes from another site");
  const bool changes = request.method != "GET";
  if (request.method != "GET" && request.method != "POST" && request.method != "DELETE") {
    Answer answer = error_answer(405, "GET, POST and DELETE are taken");
    answer.headers.emplace_back("Allow", "GET, POST, DELETE");
    return answer;
  }
  if (!changes && !request.body.empty()) return error_answer(400, "a GET has no body");
  if (!needs_token(request.target)) return std::nullopt;
  if (!same_secret(bearer(request.header("authorization")), token))
    return error_answer(401, "the token is missing or wrong; open the address that bareattn serve printed");
  return std::nullopt;
}

}  // namespace bareattn::serving
