// See connection.h.
#include "serve/connection.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/buffers_cat.hpp>
#include <boost/beast/http/read.hpp>
#include <chrono>

#include "bareattn/error.h"
#include "bareattn/model.h"
#include "serve/parse.h"

namespace bareattn::serving {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

namespace {

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

/// What a route says, and what it throws as an answer: no sentence of an exception can do more than be read.
Answer answer_of(Routes& routes, const Request& request, const Gone& gone) {
  try {
    return routes.answer(request, gone);
  } catch (const Cancelled&) {
    return error_answer(503, "the answer was no longer wanted");
  } catch (const InputError& error) {  // the trace was altered while it was open
    return error_answer(500, error.what());
  } catch (const std::bad_alloc&) {
    return error_answer(500, "out of memory");
  } catch (const std::exception& error) {
    return error_answer(500, error.what());
  }
}

}  // namespace

Connection::Connection(net::ip::tcp::socket socket, House& house, Closed closed)
    : house_(house),
      closed_(std::move(closed)),
      stream_(std::move(socket)),
      buffer_(static_cast<size_t>(house.limits.header_bytes + 4096)) {}

Connection::~Connection() {
  *gone_ = true;
  closed_(this);
}

void Connection::start() {
  parser_.emplace();
  set_limits(*parser_, house_.limits);
  stream_.expires_after(milliseconds(house_.limits.request_seconds));  // for all of it, however slowly it drips
  http::async_read(stream_, buffer_, *parser_,
                   [self = shared_from_this()](beast::error_code error, size_t) { self->on_read(error); });
}

void Connection::drop() {
  *gone_ = true;
  worth_ = Worth::dropped;
  beast::error_code ignored;
  stream_.socket().close(ignored);
}

void Connection::on_read(beast::error_code error) {
  worth_ = Worth::stranger;
  if (error) {
    if (auto answer = complaint(error)) send(std::move(*answer));
    return;
  }
  house_.last_request = std::chrono::steady_clock::now();
  if (parser_->get().version() != 11) return send(error_answer(505, "HTTP/1.1 is needed"));
  Request request = request_of(parser_->release());
  if (auto refusal = house_.gate.refusal(request)) return send(std::move(*refusal));
  if (Gate::needs_token(request.target)) worth_ = Worth::known;
  serve(std::move(request));
}

void Connection::serve(Request request) {
  stream_.expires_never();
  watch();
  const Lane lane = Routes::lane(request);
  // The job holds no connection, only a way back to it: what the client has left is freed at once.
  house_.work.add(lane, [weak = weak_from_this(), gone = gone_, &routes = house_.routes,
                         executor = stream_.get_executor(), request = std::move(request)] {
    // Of a page that closes, its last word often comes after it: a change is made although nobody waits for the answer.
    if (*gone && request.method == "GET") return;
    Answer answer = answer_of(routes, request, *gone);
    net::post(executor, [weak, answer = std::move(answer)]() mutable {
      if (const auto self = weak.lock()) self->send(std::move(answer));
    });
  });
}

void Connection::watch() {
  // Readable means closed, or bytes after the request. Those are passed over, so that the end is seen behind them.
  stream_.socket().async_wait(net::ip::tcp::socket::wait_read, [self = shared_from_this()](beast::error_code error) {
    if (error || self->sent_) return;
    beast::error_code failed;
    const size_t size = self->stream_.socket().receive(net::buffer(self->rest_), 0, failed);
    self->passed_over_ += static_cast<int64_t>(size);
    if (failed || size == 0 || self->passed_over_ > self->house_.limits.body_bytes) return self->drop();
    self->watch();
  });
}

void Connection::send(Answer answer) {
  if (sent_) return;
  sent_ = true;
  answer_ = std::move(answer);
  head_ = head_of(answer_);
  beast::error_code ignored;
  const net::const_buffer body =
      answer_.body && answer_.status != 304 ? net::buffer(*answer_.body) : net::const_buffer{};
  stream_.expires_after(milliseconds(house_.limits.answer_seconds));
  net::async_write(stream_, std::array<net::const_buffer, 2>{net::buffer(head_), body},
                   [self = shared_from_this()](beast::error_code error, size_t) {
                     if (error) return;
                     if (self->worth_ != Worth::dropped) self->worth_ = Worth::answered;
                     beast::error_code closing;
                     self->stream_.socket().shutdown(net::ip::tcp::socket::shutdown_send, closing);
                     self->answer_ = {};
                     self->stream_.expires_after(std::chrono::seconds(1));
                     self->drain();
                   });
}

void Connection::drain() {
  // Closing over unread bytes would reset the connection and take the answer from the client.
  stream_.async_read_some(net::buffer(rest_), [self = shared_from_this()](beast::error_code error, size_t) {
    if (!error) self->drain();
  });
}

}  // namespace bareattn::serving
