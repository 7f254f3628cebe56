// See bareattn/attention_cache.h: one packed cache per sequence of the batch.
#include "bareattn/attention_cache.h"

#include <algorithm>

#include "attention/overlap.h"
#include "attention/returns.h"
#include "attention/serve.h"
#include "attention/shared_pool.h"
#include "base/float_environment.h"

namespace bareattn {

using attend::Piece;
using attend::refuse;

struct AttentionCache::Parts {
  int64_t kv_heads, head_dim, value_dim;
  Compute compute;
  std::vector<attend::KvCache> sequences;
  std::vector<int64_t> lengths;
};

namespace {

std::string text(int64_t n) { return std::to_string(n); }

void check_axis(const char* name, const ConstTensor& tensor, int axis, int64_t wanted, const char* what) {
  if (tensor.rank != 4) refuse(name, "rank " + text(tensor.rank), "rank 4");
  if (tensor.shape[axis] != wanted)
    refuse(name, std::string(what) + " " + text(tensor.shape[axis]) + " in shape " + attend::shape_text(tensor),
           text(wanted));
}

void check_types(const ConstTensor& k, const ConstTensor& v) {
  for (const ConstTensor* tensor : {&k, &v})
    if (tensor->dtype == DType::f64 || tensor->dtype == DType::boolean)
      refuse(tensor == &k ? "k" : "v", name(tensor->dtype), "float32, float16 or bfloat16");
}

void check_pages(const PagedKeyValues& pages, int64_t batch) {
  const int64_t page = pages.k.rank == 4 ? pages.k.shape[2] : 0;
  if (page <= 0)
    refuse("pages.k", "shape " + attend::shape_text(pages.k), "[pages, Hkv, page, D] with a page of 1 or more");
  check_axis("pages.v", pages.v, 0, pages.k.shape[0], "pages");
  check_axis("pages.v", pages.v, 2, page, "page size");
  check_types(pages.k, pages.v);
  if (pages.table.rank != 2 || pages.table.shape[0] != batch)
    refuse("pages.table", "rank " + text(pages.table.rank) + ", " + text(pages.table.shape[0]) + " rows",
           "[" + text(batch) + ", pages]");
  if (static_cast<int64_t>(pages.lengths.size()) != batch)
    refuse("pages.lengths", text(static_cast<int64_t>(pages.lengths.size())) + " lengths", text(batch));
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t length = pages.lengths[static_cast<size_t>(b)], used = length / page + (length % page != 0 ? 1 : 0);
    if (length < 0 || used > pages.table.shape[1])
      refuse("pages.lengths", text(length), "0 to " + text(pages.table.shape[1] * page) + ", what the table holds");
    for (int64_t i = 0; i < used; ++i)
      if (pages.table.at(b, i) < 0 || pages.table.at(b, i) >= pages.k.shape[0])
        refuse("pages.table", "page " + text(pages.table.at(b, i)), "0 to " + text(pages.k.shape[0] - 1));
  }
}

}  // namespace

AttentionCache::AttentionCache(int64_t batch, int64_t kv_heads, int64_t head_dim, int64_t value_dim, Compute compute) {
  for (const auto& [what, n] :
       {std::pair{"batch", batch}, {"kv_heads", kv_heads}, {"head_dim", head_dim}, {"value_dim", value_dim}})
    if (n < 0 || n > (int64_t{1} << 24)) refuse(what, text(n), "0 to 2^24");
  parts_ = std::make_unique<Parts>(Parts{kv_heads, head_dim, value_dim, compute, {}, {}});
  for (int64_t b = 0; b < batch; ++b)
    parts_->sequences.emplace_back(kv_heads, head_dim, value_dim, attend::storage_of(compute));
  parts_->lengths.assign(static_cast<size_t>(batch), 0);
}
AttentionCache::~AttentionCache() = default;
AttentionCache::AttentionCache(AttentionCache&&) noexcept = default;
AttentionCache& AttentionCache::operator=(AttentionCache&&) noexcept = default;

void AttentionCache::append(const ConstTensor& k, const ConstTensor& v, std::span<const int64_t> counts) {
  const base::DefaultFloatEnvironment environment;
  check_types(k, v);
  for (const auto& [what, tensor, dim] : {std::tuple{"k", &k, head_dim()}, {"v", &v, value_dim()}}) {
    check_axis(what, *tensor, 0, batch(), "batch");
    check_axis(what, *tensor, 1, kv_heads(), "key-value heads");
    check_axis(what, *tensor, 3, dim, "dim");
  }
  check_axis("v", v, 2, k.shape[2], "length");
  if (!counts.empty() && static_cast<int64_t>(counts.size()) != batch())
    refuse("counts", text(static_cast<int64_t>(counts.size())) + " counts", text(batch()));
  for (int64_t count : counts)
    if (count < 0 || count > k.shape[2]) refuse("counts", text(count), "0 to " + text(k.shape[2]));
  const attend::PoolLease lease(k.shape[2] < 512 ? 1 : 0);
  for (int64_t b = 0; b < batch(); ++b) {
    auto& length = parts_->lengths[static_cast<size_t>(b)];
    const int64_t added = counts.empty() ? k.shape[2] : counts[static_cast<size_t>(b)];
    auto& cache = parts_->sequences[static_cast<size_t>(b)];
    cache.resize(length + added);
    // Key length + i of the sequence is key i of the arrays.
    attend::pack({&k, &v}, Piece{b, 0, 0, -length, 0, 0, 0}, length, length + added, cache, lease.pool());
    length += added;
  }
}

void AttentionCache::append(const PagedKeyValues& pages) {
  const base::DefaultFloatEnvironment environment;
  check_pages(pages, batch());
  check_axis("pages.k", pages.k, 1, kv_heads(), "key-value heads");
  check_axis("pages.v", pages.v, 1, kv_heads(), "key-value heads");
  check_axis("pages.k", pages.k, 3, head_dim(), "dim");
  check_axis("pages.v", pages.v, 3, value_dim(), "dim");
  const int64_t page = pages.k.shape[2];
  for (int64_t b = 0; b < batch(); ++b)
    if (pages.lengths[static_cast<size_t>(b)] < parts_->lengths[static_cast<size_t>(b)])
      refuse("pages.lengths", text(pages.lengths[static_cast<size_t>(b)]),
             text(parts_->lengths[static_cast<size_t>(b)]) + " or more, what is there already");
  for (int64_t b = 0; b < batch(); ++b) {
    auto& length = parts_->lengths[static_cast<size_t>(b)];
    auto& cache = parts_->sequences[static_cast<size_t>(b)];
    const int64_t end = pages.lengths[static_cast<size_t>(b)];
    cache.resize(end);
    for (int64_t key = length, next; key < end; key = next) {
      next = std::min(end, (key / page + 1) * page);
      attend::pack({&pages.k, &pages.v}, Piece{pages.table.at(b, key / page), 0, 0, -(key / page * page), 0, 0, 0}, key,
                   next, cache, attend::own_thread());
    }
    length = end;
  }
}

void AttentionCache::truncate(int64_t b, int64_t length) {
  if (b < 0 || b >= batch()) refuse("b", text(b), "0 to " + text(batch() - 1));
  auto& now = parts_->lengths[static_cast<size_t>(b)];
  if (length < 0 || length > now) refuse("length", text(length), "0 to " + text(now));
  parts_->sequences[static_cast<size_t>(b)].resize(length);
  now = length;
}

int64_t AttentionCache::batch() const { return static_cast<int64_t>(parts_->sequences.size()); }
int64_t AttentionCache::kv_heads() const { return parts_->kv_heads; }
int64_t AttentionCache::head_dim() const { return parts_->head_dim; }
int64_t AttentionCache::value_dim() const { return parts_->value_dim; }
Compute AttentionCache::compute() const { return parts_->compute; }
std::span<const int64_t> AttentionCache::lengths() const { return parts_->lengths; }
int64_t AttentionCache::bytes() const {
  int64_t total = 0;
  for (const auto& cache : parts_->sequences) total += cache.bytes();
  return total;
}

void attention(const ConstTensor& q, const AttentionCache& cache, const MutableTensor& o,
               const AttentionParams& params) {
  using namespace attend;  // NOLINT: the floor's own names
  const Call call =
      make_call(q, CachedKeys{cache.batch(), cache.kv_heads(), cache.head_dim(), cache.value_dim(), cache.lengths()},
                params, Types::fast);
  if (params.compute != cache.compute())
    refuse("compute", params.compute == Compute::bf16 ? "bf16" : "f32",
           cache.compute() == Compute::bf16 ? "bf16, as the cache holds" : "f32, as the cache holds");
  const NamedTensor inputs[] = {{"q", &q}, {"attn_mask", &params.attn_mask}};
  check_output(call, o, inputs, Types::fast);
  for (const Piece& piece : call.pieces)
    if (piece.visible != piece.keys)
      refuse("attn_mask", "shape " + shape_text(params.attn_mask),
             "a last axis of " + text(call.keys) + ", every cached key");
  if (wants_rows(call)) clear_rows(call);
  if (call.heads == 0 || call.rows == 0) return;
  const base::DefaultFloatEnvironment environment;
  const PoolLease lease(params.threads);
  over_pieces(call, lease.pool(), [&](const Piece& piece, base::ThreadPool& pool) {
    serve_piece(call, piece, q, o, cache.parts().sequences[static_cast<size_t>(piece.batch)], pool);
  });
}

void attention(const ConstTensor& q, const PagedKeyValues& pages, const MutableTensor& o,
               const AttentionParams& params) {
  if (pages.k.rank != 4 || pages.v.rank != 4)
    refuse("pages.k, pages.v", "rank " + text(pages.k.rank) + " and " + text(pages.v.rank), "rank 4");
  AttentionCache cache(static_cast<int64_t>(pages.lengths.size()), pages.k.shape[1], pages.k.shape[3], pages.v.shape[3],
                       params.compute);
  cache.append(pages);
  attention(q, cache, o, params);
}

}  // namespace bareattn
