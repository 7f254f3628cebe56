// See parse.h.
#include "serve/parse.h"

#include <boost/beast/core/error.hpp>
#include <boost/beast/http/error.hpp>
#include <utility>

namespace bareattn::serving {

namespace beast = boost::beast;
namespace http = beast::http;

namespace {

std::string lower(beast::string_view text) {
  std::string out(text.data(), text.size());
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

}  // namespace

void set_limits(Parser& parser, const ServeLimits& limits) {
  parser.header_limit(static_cast<uint32_t>(limits.header_bytes));
  parser.body_limit(static_cast<uint64_t>(limits.body_bytes));
}

std::optional<Answer> complaint(beast::error_code error) {
  if (error == http::error::header_limit || error == http::error::buffer_overflow)
    return error_answer(431, "the head of the request is too long");
  if (error == http::error::body_limit) return error_answer(413, "the body of the request is too long");
  if (error == http::error::bad_version) return error_answer(505, "HTTP/1.1 is needed");
  if (error == beast::error::timeout) return std::nullopt;
  if (error == http::error::end_of_stream || error == http::error::partial_message) return std::nullopt;
  if (error.category() == make_error_code(http::error::bad_method).category())
    return error_answer(400, "the request is not HTTP/1.1");
  return std::nullopt;
}

Request request_of(http::request<http::string_body>&& message) {
  Request request;
  request.method = std::string(message.method_string());
  request.target = std::string(message.target());
  for (const auto& field : message)
    request.headers.emplace_back(lower(field.name_string()), std::string(field.value()));
  request.body = std::move(message.body());
  return request;
}

}  // namespace bareattn::serving
