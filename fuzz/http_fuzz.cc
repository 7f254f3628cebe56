// libFuzzer on requests to the served page: Beast's parser with this server's limits, the gate, the routes over a small
// trace. The first byte chooses: the rest as a request as it is; or as one to this server, its method and target, with
// or without the token, its headers and its body. The head of every answer is one head: no line of the client's is in
// it. Nothing throws but what connection.cc turns into an answer; anything else is a finding.
#include <boost/asio/buffer.hpp>
#include <cstdlib>
#include <string>

#include "../tests/gguf_builder.h"
#include "bareattn/error.h"
#include "base/temporary_folder.h"
#include "serve/gate.h"
#include "serve/parse.h"
#include "serve/routes.h"

namespace {

using namespace bareattn;
using namespace bareattn::serving;

void require(bool promise) {
  if (!promise) std::abort();
}

std::shared_ptr<const Shown> small_run() {
  const test::TemporaryFile model(test::tiny_llama().build());
  const base::TemporaryFolder folder;
  TraceOptions options;
  options.measures.values = options.measures.agreement = true;
  write_trace(folder.file("run"), Model::load(model.path(), {.threads = 1}), test::byte_tokens(40), options, {}, 1);
  return std::make_shared<const Shown>(Trace::open(folder.file("run")), ShownOptions{}, Progress{});
}

void check(const Answer& answer) {
  const std::string head = head_of(answer);
  require(head.starts_with("HTTP/1.1 ") && head.find("\r\n\r\n") == head.size() - 4);
  require(answer.status == 304 || answer.body != nullptr);
}

void run(const std::string& bytes, Routes& routes, const Gate& gate) {
  Parser parser;
  const ServeLimits limits;
  set_limits(parser, limits);
  parser.eager(true);
  boost::beast::error_code error;
  parser.put(boost::asio::buffer(bytes), error);
  if (error) {
    if (const auto answer = complaint(error)) check(*answer);
    return;
  }
  if (!parser.is_done()) return;
  const Request request = request_of(parser.release());
  if (const auto refusal = gate.refusal(request)) return check(*refusal);
  const Gone gone = false;
  try {
    check(routes.answer(request, gone));
  } catch (const InputError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Gate gate{.port = 8000, .token = std::string(32, '7')};
  static const auto shown = small_run();
  static Routes routes(shown, shown, {}, {"script", "style"});
  if (size == 0) return 0;
  std::string rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 4 == 0) {
    run(rest, routes, gate);
    return 0;
  }
  // METHOD TARGET LF headers, each ended by LF, LF body
  const auto until = [&rest](const char* mark) {
    const size_t end = std::min(rest.find(mark), rest.size());
    std::string part = rest.substr(0, end);
    rest.erase(0, end + 1);
    return part;
  };
  std::string request = until("\n") + " HTTP/1.1\r\nHost: localhost:8000\r\n";
  if (data[0] % 4 != 1) request += "Authorization: Bearer " + gate.token + "\r\n";
  for (std::string line = until("\n"); !line.empty(); line = until("\n")) request += line + "\r\n";
  if (data[0] % 4 == 3) request += "Content-Length: " + std::to_string(rest.size()) + "\r\n";
  run(request + "\r\n" + rest, routes, gate);
  return 0;
}
