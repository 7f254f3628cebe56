// See message.h.
#include "serve/message.h"

#include <nlohmann/json.hpp>
#include <stdexcept>

namespace bareattn::serving {

int Request::count(std::string_view name) const {
  int found = 0;
  for (const auto& [key, value] : headers) found += key == name ? 1 : 0;
  return found;
}

std::string_view Request::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

Answer json_answer(int status, std::string json) {
  Answer answer;
  answer.status = status;
  answer.body = std::make_shared<const std::string>(std::move(json));
  return answer;
}

Answer error_answer(int status, std::string_view sentence) {
  const nlohmann::json error = {{"error", sentence}};
  return json_answer(status, error.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
}

Answer bytes_answer(std::shared_ptr<const std::string> bytes) {
  Answer answer;
  answer.type = "application/octet-stream";
  answer.body = std::move(bytes);
  return answer;
}

std::string_view reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 202:
      return "Accepted";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 431:
      return "Request Header Fields Too Large";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Internal Server Error";
  }
}

std::string head_of(const Answer& answer) {
  std::string head = "HTTP/1.1 " + std::to_string(answer.status) + " " + std::string(reason(answer.status)) + "\r\n";
  const auto add = [&head](std::string_view name, std::string_view value) {
    if (value.find_first_of("\r\n") != std::string_view::npos || value.find('\0') != std::string_view::npos)
      throw std::logic_error("a header of an answer holds a line break");
    head.append(name).append(": ").append(value).append("\r\n");
  };
  if (answer.status != 304) {
    add("Content-Type", answer.type);
    add("Content-Length", std::to_string(answer.body ? answer.body->size() : 0));
  }
  add("Cache-Control", answer.etag.empty() ? "no-store" : "private, max-age=86400, immutable");
  if (!answer.etag.empty()) add("ETag", answer.etag);
  add("Content-Security-Policy", answer.policy);
  add("X-Content-Type-Options", "nosniff");
  add("X-Frame-Options", "DENY");
  add("Cross-Origin-Opener-Policy", "same-origin");
  add("Cross-Origin-Resource-Policy", "same-origin");
  add("Referrer-Policy", "no-referrer");
  add("Connection", "close");
  for (const auto& [name, value] : answer.headers) add(name, value);
  return head + "\r\n";
}

}  // namespace bareattn::serving
