// One connection: one request, one answer, closed. Without keep-alive nothing of one request can be taken for a part of
// another. Every step has a deadline, and while the answer is computed the socket is watched, so that work for a client
// that has gone is dropped. Boost.Beast reads; message.h writes the head.
#pragma once
#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "bareattn/serve.h"
#include "serve/gate.h"
#include "serve/parse.h"
#include "serve/routes.h"
#include "serve/work.h"

namespace bareattn::serving {

/// What all connections share; outlives them.
struct House {
  Gate gate;
  Routes& routes;
  Work& work;
  ServeLimits limits;
  std::chrono::steady_clock::time_point last_request{};  // of the network thread
};

/// Who is asked to go first where there is no room for another: the oldest of the least worth. One that showed the
/// token is never closed for another.
enum class Worth { answered, waiting, stranger, known, dropped };  // waiting: for a whole request

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Closed = std::function<void(Connection*)>;
  Connection(boost::asio::ip::tcp::socket socket, House& house, Closed closed);
  ~Connection();
  void start();
  /// Closes it at once; what is computed for it is dropped.
  void drop();
  Worth worth() const { return worth_; }

 private:
  void on_read(boost::beast::error_code error);
  void serve(Request request);
  void watch();
  void send(Answer answer);
  void drain();

  House& house_;
  Closed closed_;
  boost::beast::tcp_stream stream_;
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  std::shared_ptr<Gone> gone_ = std::make_shared<Gone>(false);
  Answer answer_;
  std::string head_;
  std::array<char, 4096> rest_{};
  int64_t passed_over_ = 0;  // bytes after the request
  Worth worth_ = Worth::waiting;
  bool sent_ = false;
};

}  // namespace bareattn::serving
