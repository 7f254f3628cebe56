// Server: accepts on 127.0.0.1, hands each connection its request's way, and keeps the limits. One thread does all the
// networking; answers are computed on the threads of work.h. Who is let in: gate.h. What is answered: routes.h.
#include "bareattn/serve.h"

#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <list>
#include <thread>

#include "bareattn/error.h"
#include "base/float_environment.h"
#include "serve/connection.h"

namespace bareattn {

namespace net = boost::asio;
using net::ip::tcp;
using serving::Connection;
using Clock = std::chrono::steady_clock;

namespace {
/// The connections there are, oldest first. Outlives the server in the hands of the last of them.
struct Crowd {
  std::list<Connection*> all;
  std::atomic<int> size = 0;
};
}  // namespace

struct Server::Impl {
  net::io_context io{1};
  tcp::acceptor acceptor{io};
  net::steady_timer tick{io};
  bool bound;
  std::shared_ptr<Crowd> crowd = std::make_shared<Crowd>();
  serving::Routes routes;
  std::unique_ptr<serving::Work> work;
  std::unique_ptr<serving::House> house;
  std::string token = serving::random_token();
  bool kept_nothing = false;  // since the last request

  Impl(std::shared_ptr<const Trace> trace, const ServeOptions& options, const Progress& progress)
      : bound(bind(options.port)),  // first: a port that is taken is found before the heads are read
        routes(shown(trace, options, progress), beside(trace, options, progress), options) {
    routes.connections = [crowd = crowd] { return crowd->size.load(); };
    const int threads = options.threads > 0 ? options.threads : static_cast<int>(std::thread::hardware_concurrency());
    work = std::make_unique<serving::Work>(threads);
    house = std::make_unique<serving::House>(
        serving::House{{port(), token, options.limits.headers}, routes, *work, fitting(options.limits), Clock::now()});
  }

  /// As many connections as there are descriptors for, and some left for the files of a run.
  ServeLimits fitting(ServeLimits limits) {
    constexpr int64_t kept = 16, fewest = 4;
    rlimit descriptors{};
    if (getrlimit(RLIMIT_NOFILE, &descriptors) != 0 || descriptors.rlim_cur == RLIM_INFINITY) return limits;
    const auto all = static_cast<int64_t>(std::min<rlim_t>(descriptors.rlim_cur, 1 << 20));
    const int64_t room = std::max(fewest, all - acceptor.native_handle() - kept);
    limits.connections = static_cast<int>(std::min<int64_t>(limits.connections, room));
    limits.waiting = std::min(limits.waiting, std::max(1, limits.connections / 2));
    return limits;
  }

  static std::shared_ptr<const serving::Shown> shown(const std::shared_ptr<const Trace>& trace,
                                                     const ServeOptions& options, const Progress& progress) {
    serving::ShownOptions how;
    how.title = options.title;
    how.value_weighted = options.value_weighted;
    how.live = options.model != nullptr;
    const bool own = options.lesson && options.model && options.model->sha256() == trace->model().sha256();
    if (own) how.lesson = options.lesson;
    how.against = options.against != nullptr;
    how.cache_bytes = options.limits.cache_bytes;
    return std::make_shared<const serving::Shown>(trace, how, progress);
  }
  static std::shared_ptr<const serving::Shown> beside(const std::shared_ptr<const Trace>& trace,
                                                      const ServeOptions& options, const Progress& progress) {
    if (!options.against) return nullptr;
    serving::ShownOptions how;
    how.before = trace;
    how.cache_bytes = options.limits.cache_bytes;
    return std::make_shared<const serving::Shown>(options.against, how, progress);
  }

  ~Impl() {
    for (Connection* connection : std::list(crowd->all)) connection->drop();
    work.reset();  // waits for what is being computed: nobody wants it any more, so it ends soon
  }

  bool bind(int port) {
    boost::system::error_code error;
    const tcp::endpoint here(net::ip::address_v4::loopback(), static_cast<uint16_t>(port));
    acceptor.open(tcp::v4());
    acceptor.set_option(tcp::acceptor::reuse_address(true));  // a port in TIME_WAIT is free; one in use is not
    acceptor.bind(here, error);
    if (!error) acceptor.listen(net::socket_base::max_listen_connections, error);
    if (error) throw OutputError("port " + std::to_string(port) + " of 127.0.0.1 cannot be had: " + error.message());
    return true;
  }
  int port() const { return acceptor.local_endpoint().port(); }

  void accept() {
    acceptor.async_accept([this](boost::system::error_code error, tcp::socket socket) {
      if (error == net::error::operation_aborted) return;
      // Out of descriptors: one comes free where somebody goes, and else with time.
      if (error) return later([this] { accept(); }, make_room() ? 1 : 50);
      take(std::move(socket));
      accept();
    });
  }

  template <class Then>
  void later(Then then, int milliseconds) {
    auto timer = std::make_shared<net::steady_timer>(io, std::chrono::milliseconds(milliseconds));
    timer->async_wait([timer, then](boost::system::error_code error) {
      if (!error) then();
    });
  }

  /// Closes the oldest connection of the least worth; false where all have shown the token.
  bool make_room() {
    const std::list<Connection*>& all = crowd->all;
    const auto least = std::min_element(all.begin(), all.end(), [](const Connection* a, const Connection* b) {
      return a->worth() < b->worth();  // of equals the first is taken, and the oldest stands first
    });
    if (least == all.end() || (*least)->worth() >= serving::Worth::known) return false;
    (*least)->drop();
    return true;
  }

  void take(tcp::socket socket) {
    const std::list<Connection*>& all = crowd->all;
    const auto count = [&](auto is) { return std::count_if(all.begin(), all.end(), is); };
    const auto waits = [](const Connection* c) { return c->worth() == serving::Worth::waiting; };
    if (count(waits) >= house->limits.waiting) (*std::find_if(all.begin(), all.end(), waits))->drop();
    const auto stays = [](const Connection* c) { return c->worth() != serving::Worth::dropped; };
    if (count(stays) >= house->limits.connections && !make_room()) return;  // closed with the socket
    const auto connection = std::make_shared<Connection>(std::move(socket), *house, [crowd = crowd](Connection* gone) {
      crowd->all.remove(gone);
      crowd->size = static_cast<int>(crowd->all.size());
    });
    crowd->all.push_back(connection.get());
    crowd->size = static_cast<int>(all.size());
    connection->start();
  }

  void watch(const std::function<bool()>& stop) {
    tick.expires_after(std::chrono::milliseconds(100));
    tick.async_wait([this, &stop](boost::system::error_code error) {
      if (error || stop()) return io.stop();
      const bool idle = Clock::now() - house->last_request > std::chrono::duration<double>(house->limits.idle_seconds);
      if (idle && !kept_nothing) routes.forget();
      kept_nothing = idle;
      watch(stop);
    });
  }
};

Server::Server(std::shared_ptr<const Trace> trace, const ServeOptions& options, const Progress& progress)
    : impl_(std::make_unique<Impl>(std::move(trace), options, progress)) {}
Server::~Server() = default;

int Server::port() const { return impl_->port(); }
const std::string& Server::token() const { return impl_->token; }
std::string Server::url() const { return "http://127.0.0.1:" + std::to_string(port()) + "/#token=" + token(); }

void Server::run(const std::function<bool()>& stop) {
  const base::DefaultFloatEnvironment environment;
  impl_->accept();
  impl_->watch(stop);
  impl_->io.run();
}

}  // namespace bareattn
