// Who is let in, decided before anything is routed: the checks that keep other sites in the same browser, other
// programs and other machines out. Pure functions of the request. What each refuses: docs/serve.md; the attacks:
// tests/cli/test_serve_attacks.py.
#pragma once
#include <optional>
#include <string>

#include "serve/message.h"

namespace bareattn::serving {

struct Gate {
  int port = 0;
  std::string token;  // 32 hex digits
  int most_headers = 64;

  /// The refusal, or nothing where the request may go on. The page's shell at "/" holds no data and needs no token.
  std::optional<Answer> refusal(const Request& request) const;
  static bool needs_token(std::string_view target);
};

/// 128 bits from the system's generator, in hex.
std::string random_token();
/// Takes the same time wherever the two differ.
bool same_secret(std::string_view a, std::string_view b);

}  // namespace bareattn::serving
