// See trace_pages.h.
#include "trace/trace_pages.h"

#include <algorithm>
#include <cstring>

#include "bareattn/error.h"
#include "base/checked.h"
#include "base/page_sums.h"

namespace bareattn::observing {

using base::sum_page_bytes;

TracePages::TracePages(const SafetensorsFile& file) : file_(file) {
  const StoredTensor& sums = *file.find("checksums");
  begin_ = file.data_begin() + sums.end;
  sums_.resize(sums.bytes() / 8);
  file.file().read_at(file.data_begin() + sums.begin, std::as_writable_bytes(std::span(sums_)));
  checked_ = std::make_unique<std::atomic<bool>[]>(sums_.size());
}

std::span<const std::byte> TracePages::body() const { return file_.file().bytes().subspan(begin_); }

void TracePages::check_page(uint64_t page) const {
  if (checked_[page].load(std::memory_order_relaxed)) return;
  const auto all = body();
  const uint64_t from = page * sum_page_bytes, size = std::min<uint64_t>(sum_page_bytes, all.size() - from);
  if (base::page_sum(0, all.subspan(from, size)) != sums_[page]) {
    file_.file().check_unchanged();  // it was cut, perhaps, and what was read are not its bytes
    file_.fail(static_cast<int64_t>(begin_ + from), "the trace was altered after it was written: the " +
                                                        std::to_string(size) +
                                                        " bytes from here do not fit their checksum");
  }
  checked_[page].store(true, std::memory_order_relaxed);
}

std::span<const std::byte> TracePages::bytes(const StoredTensor& tensor, uint64_t offset, uint64_t size) const {
  base::check_range(offset, size, tensor.bytes(), "tensor '" + tensor.name + "'");
  file_.file().check_unchanged();
  const auto part = file_.bytes(tensor).subspan(offset, size);
  if (part.empty()) return part;
  const auto first = static_cast<uint64_t>(part.data() - body().data());
  for (uint64_t page = first / sum_page_bytes; page <= (first + size - 1) / sum_page_bytes; ++page) check_page(page);
  return part;
}

void TracePages::check_all() const {
  file_.file().check_unchanged();
  const uint64_t pages = (body().size() + sum_page_bytes - 1) / sum_page_bytes;
  for (uint64_t page = 0; page < pages; ++page) {
    check_page(page);
    file_.file().forget(begin_ + page * sum_page_bytes, sum_page_bytes);
  }
}

}  // namespace bareattn::observing
