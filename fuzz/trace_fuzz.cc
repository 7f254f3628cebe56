// libFuzzer on the trace reader, from the header to the last cell. The first byte chooses what a file is made of: the
// rest of the input as it is; a whole small trace with bytes of it exchanged; that trace's data under a header that is
// the rest of the input. With bit 4 its checksums and digest are made to fit, so that what is behind them is reached;
// with bit 8 heads are compared and swept too, which takes ten times as long. A file is refused with an InputError, or
// everything that can be asked of it is answered: tokens, measures, maps, tiles and rows. Anything else (a crash,
// another exception) is a finding. `./x fuzz trace_fuzz` builds and runs it.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "../tests/gguf_builder.h"
#include "bareattn/agreement.h"
#include "bareattn/error.h"
#include "bareattn/sweep.h"
#include "bareattn/trace.h"
#include "base/page_sums.h"
#include "base/temporary_folder.h"
#include "base/utf8.h"
#include "trace/trace_format.h"

namespace {

using namespace bareattn;

void require(bool promise) {
  if (!promise) std::abort();
}

std::string whole_trace() {
  const test::TemporaryFile model(test::tiny_llama().build());
  const base::TemporaryFolder folder;
  TraceOptions options;
  options.measures = {.spread = true, .values = true, .agreement = true};
  options.spans = {{"a", 0, 3}, {"b", 2, 9}};
  write_trace(folder.file("run"), Model::load(model.path(), {.threads = 1}), test::byte_tokens(20), options, {}, 1);
  std::ifstream in(folder.file("run"), std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct Layout {
  size_t data = 0, sums = 0;  // where the data begin, and how many bytes of checksums stand there
};

Layout layout_of(const std::string& trace) {
  uint64_t header = 0;
  std::memcpy(&header, trace.data(), 8);
  const size_t data = 8 + header;
  size_t pages = 1;  // as trace_tensors: pages of what follows the checksums, and one more
  while (pages * base::sum_page_bytes < trace.size() - data - pages * 8) ++pages;
  return {data, pages * 8};
}

// The checksums and the digest that fit what the file holds now; `header` is where its data begin.
void mend(std::string& file, size_t data, size_t sums) {
  if (file.size() < data + sums) return;
  const auto bytes = std::as_bytes(std::span(file));
  for (size_t page = 0; page * 8 < sums; ++page) {
    const size_t from = data + sums + page * base::sum_page_bytes;
    if (from >= file.size()) break;
    const uint64_t sum = base::page_sum(0, bytes.subspan(from, std::min(base::sum_page_bytes, file.size() - from)));
    std::memcpy(file.data() + data + page * 8, &sum, 8);
  }
  const std::string key = "\"digest\":\"", header = file.substr(8, data - 8);
  const size_t at = header.find(key);
  if (at == std::string::npos || at + key.size() + 64 > header.size()) return;
  const std::string digest =
      observing::trace_digest(header, header.substr(at + key.size(), 64), bytes.subspan(data, sums));
  if (digest.size() == 64) file.replace(8 + at + key.size(), 64, digest);
}

template <class Read>
void attempt(const Read& read) {
  try {
    read();
  } catch (const InputError&) {  // not kept, or altered
  }
}

void ask_everything(const Trace& trace, bool compare) {
  const ModelConfig& c = trace.model().config();
  const auto n = static_cast<int64_t>(trace.tokens().size());
  require(trace.token_texts().size() == trace.tokens().size());
  for (const std::string& text : trace.token_texts()) require(base::is_utf8(text));
  if (n > 64 || int64_t{c.layers} * c.heads > 64) return;
  for (int layer = 0; layer < c.layers; ++layer)
    for (int head = 0; head < c.heads; ++head) {
      const HeadId id{layer, head};
      for (int m = 0; m < measure_count; ++m) attempt([&] { (void)trace.rows(static_cast<Measure>(m), id); });
      for (size_t set = 0; set < trace.span_sets().size(); ++set)
        attempt([&] { require(trace.span_mass(static_cast<int>(set), id).size() == trace.tokens().size()); });
      attempt([&] { require(static_cast<int64_t>(trace.tile(id, {0, n}, {0, n}).size()) == n * n); });
      attempt([&] { (void)trace.top_keys(id, n - 1, 5); });
      attempt([&] { (void)trace.carried(id); });
      attempt([&] { (void)trace.received(id); });
      attempt([&] { (void)trace.max_key(id); });
      attempt([&] {
        require(static_cast<int64_t>(trace.pool_sum(id).size()) == trace.pool_blocks() * (trace.pool_blocks() + 1) / 2);
      });
      attempt([&] { (void)trace.role(id); });
    }
  if (!compare) return trace.verify();
  attempt([&] { (void)head_agreement(trace, {.threads = 1}); });
  attempt([&] { (void)sweep(trace, {.threads = 1}); });
  trace.verify();
}

void run(const std::string& path, bool compare) {
  try {
    ask_everything(*Trace::open(path), compare);
  } catch (const InputError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string whole = whole_trace();
  static const Layout layout = layout_of(whole);
  static const bool mends = [] {
    std::string copy = whole;
    copy[layout.data] ^= 1;  // a checksum
    mend(copy, layout.data, layout.sums);
    return copy == whole;
  }();
  require(mends);
  static const int fd = memfd_create("trace", MFD_CLOEXEC);
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::string file;
  size_t begin = layout.data;
  if (data[0] % 4 == 0) {
    file = rest;
  } else if (data[0] % 4 == 1) {
    const uint64_t length = rest.size();
    file.assign(reinterpret_cast<const char*>(&length), 8);
    file.append(rest).append(whole, layout.data);
    begin = 8 + rest.size();
  } else {  // records of three bytes of place and one of content
    file = whole;
    for (size_t i = 0; i + 4 <= rest.size(); i += 4) {
      const auto byte = [&](size_t k) { return static_cast<size_t>(static_cast<uint8_t>(rest[i + k])); };
      file[(byte(0) | byte(1) << 8 | byte(2) << 16) % file.size()] = rest[i + 3];
    }
  }
  if ((data[0] & 4) != 0 && data[0] % 4 != 0) mend(file, begin, layout.sums);
  if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, file.data(), file.size(), 0) != static_cast<ssize_t>(file.size()))
    std::abort();
  run("/proc/self/fd/" + std::to_string(fd), (data[0] & 8) != 0);
  return 0;
}
