// A request as the network floor has read it, and an answer as the routes make it: nothing here knows of sockets, so
// that every check can be tested without one.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bareattn::serving {

struct Request {
  std::string method;                                        // "GET", as it came
  std::string target;                                        // "/api/text?v=1", as it came
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;

  int count(std::string_view name) const;
  /// Of the only header of that name; empty where there is none.
  std::string_view header(std::string_view name) const;
};

struct Answer {
  int status = 200;
  std::string type = "application/json";
  std::shared_ptr<const std::string> body;  // shared with the cache
  std::string policy = "default-src 'none'; frame-ancestors 'none'";
  std::string etag;  // not empty: may be kept by the browser for as long as the run's id stands in the address
  std::vector<std::pair<std::string, std::string>> headers;  // besides those that every answer has
};

Answer json_answer(int status, std::string json);
/// {"error": sentence}; the sentence may hold anything.
Answer error_answer(int status, std::string_view sentence);
Answer bytes_answer(std::shared_ptr<const std::string> bytes);

/// "Not Found"
std::string_view reason(int status);
/// Status line and headers. Everything that came from outside is refused a place here, so nothing can split it.
std::string head_of(const Answer& answer);

}  // namespace bareattn::serving
