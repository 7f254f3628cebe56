// How a request is read: Boost.Beast's parser with this server's limits, and what it found as a Request. No socket, so
// that any bytes can be tried (fuzz/http_fuzz.cc). Next: gate.h, who is let in.
#pragma once
#include <boost/beast/core/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <optional>

#include "bareattn/serve.h"
#include "serve/message.h"

namespace bareattn::serving {

using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;

void set_limits(Parser& parser, const ServeLimits& limits);
/// What went wrong while reading, as an answer; nothing where there is nobody to answer.
std::optional<Answer> complaint(boost::beast::error_code error);
Request request_of(boost::beast::http::request<boost::beast::http::string_body>&& message);

}  // namespace bareattn::serving
