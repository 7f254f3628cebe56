// See serve.h.
#include "attention/serve.h"

#include <algorithm>
#include <memory>
#include <numeric>

#include "attention/returns.h"
#include "attention/shared_pool.h"
#include "attention/tile.h"
#include "attention/widen.h"
#include "base/float_environment.h"

namespace bareattn::attend {
namespace {

using kernels::block_keys;
using kernels::panel_keys;

constexpr int64_t chunk_rows = 8 * tile_height;  // of 16-bit rows widened at a time
constexpr int64_t scratch_bytes = int64_t{64} << 20;

// Rows [from, from + count) of one head of a [B, H, S, D] tensor as f32: in place, or widened into `room`.
TensorView<const float> rows_of(const ConstTensor& tensor, const std::array<int64_t, 3>& at, int64_t count,
                                std::vector<float>& room) {
  const int64_t dim = tensor.shape[3];
  const void* first = address(tensor, at[0], at[1], at[2], 0);
  if (is_plain(tensor)) return {static_cast<const float*>(first), {count, dim}, {tensor.stride[2], tensor.stride[3]}};
  room.resize(static_cast<size_t>(count * dim));
  for (int64_t r = 0; r < count; ++r)
    widen(tensor.dtype, address(tensor, at[0], at[1], at[2] + r, 0), tensor.stride[3], dim, room.data() + r * dim);
  return {room.data(), {count, dim}};
}

// Rows of 16-bit numbers: where they are few, waking somebody costs more than doing it.
template <class Body>
void each_row(base::ThreadPool& pool, int64_t rows, int64_t width, Body&& body) {
  constexpr int64_t few = int64_t{1} << 17;
  if (rows * width > few) return pool.run(rows, [&](int64_t r, int) { body(r); });
  for (int64_t r = 0; r < rows; ++r) body(r);
}

thread_local std::unique_ptr<KvCache> kept;

}  // namespace

void pack(const KeyValues& kv, const Piece& piece, int64_t from, int64_t to, KvCache& cache, base::ThreadPool& pool) {
  const int64_t first = from / block_keys, blocks = (to + block_keys - 1) / block_keys - first;
  if (to <= from) return;
  pool.run(blocks * cache.kv_heads(), [&](int64_t task, int) {
    static thread_local std::vector<float> k_room, v_room;
    const int64_t head = task / blocks, block = first + task % blocks;
    const int64_t end = std::min(to, (block + 1) * block_keys);
    for (int64_t key = std::max(from, block * block_keys), next; key < end; key = next) {
      next = std::min(end, (key / panel_keys + 1) * panel_keys);
      const std::array<int64_t, 3> at{piece.batch, head, piece.key + key};
      cache.write(
          head, key, rows_of(*kv.k, at, next - key, k_room),
          kv.v != nullptr ? rows_of(*kv.v, at, next - key, v_room) : TensorView<const float>(nullptr, {next - key, 0}));
    }
  });
}

void serve_piece(const Call& call, const Piece& piece, const ConstTensor& q, const MutableTensor& o,
                 const KvCache& cache, base::ThreadPool& pool) {
  const bool plain_q = is_plain(q), plain_o = is_plain(o), collect = wants_rows(call);
  const int64_t step = plain_q && plain_o ? piece.rows : chunk_rows;
  static thread_local std::vector<float> q_room, o_room;  // fresh pages for every call cost more than widening
  for (int64_t skip = 0; skip < piece.rows; skip += step) {
    const int64_t rows = std::min(step, piece.rows - skip), row = piece.row + skip;
    Sequence sequence;
    const void* q_first = address(q, piece.batch, 0, row, 0);
    if (plain_q) {
      sequence.q = {
          static_cast<const float*>(q_first), {rows, call.heads, call.dim}, {q.stride[2], q.stride[1], q.stride[3]}};
    } else {
      q_room.resize(static_cast<size_t>(rows * call.heads * call.dim));
      each_row(pool, rows, call.heads * call.dim, [&, room = q_room.data()](int64_t r) {
        for (int64_t h = 0; h < call.heads; ++h)
          widen(q.dtype, address(q, piece.batch, h, row + r, 0), q.stride[3], call.dim,
                room + (r * call.heads + h) * call.dim);
      });
      sequence.q = {q_room.data(), {rows, call.heads, call.dim}};
    }
    if (plain_o) {
      sequence.o = {static_cast<float*>(const_cast<void*>(address(o, piece.batch, 0, row, 0))),
                    {rows, call.heads, call.value_dim},
                    {o.stride[2], o.stride[1], o.stride[3]}};
    } else {
      o_room.resize(static_cast<size_t>(rows * call.heads * call.value_dim));
      sequence.o = {o_room.data(), {rows, call.heads, call.value_dim}};
    }
    sequence.cache = &cache;
    sequence.first_row = piece.first_row + skip;
    sequence.scale = call.scale;
    sequence.window = call.window;
    sequence.terms = call.terms(piece, skip);
    const AttentionStatistics statistics = statistics_of(call, piece, skip);
    RowCollector collector(call, piece, skip);
    if (collect || !call.params->returns.statistics.empty()) sequence.statistics = &statistics;
    if (collect) sequence.visitor = &collector;
    run(sequence, pool);
    if (plain_o) continue;
    each_row(pool, rows, call.heads * call.value_dim, [&, room = o_room.data()](int64_t r) {
      for (int64_t h = 0; h < call.heads; ++h)
        narrow(room + (r * call.heads + h) * call.value_dim, call.value_dim, o.dtype,
               const_cast<void*>(address(o, piece.batch, h, row + r, 0)), o.stride[3]);
    });
  }
}

void over_pieces(const Call& call, base::ThreadPool& pool,
                 const std::function<void(const Piece&, base::ThreadPool&)>& body) {
  const auto count = static_cast<int64_t>(call.pieces.size());
  if (pool.size() == 1 || count == 1) {
    for (const Piece& piece : call.pieces) body(piece, pool);
    return;
  }
  const int64_t tiles = (call.rows + tile_height - 1) / tile_height * call.heads;
  const int64_t per_piece = call.params->cu_seqlens_q.empty() ? tiles : tiles / count;
  if (count < 4 * pool.size() && per_piece >= 4 * pool.size()) {
    for (const Piece& piece : call.pieces) body(piece, pool);
    return;
  }
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  const auto work = [&](int64_t i) {
    const Piece& piece = call.pieces[static_cast<size_t>(i)];
    return static_cast<double>(piece.rows) * static_cast<double>(piece.visible);
  };
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return work(a) > work(b); });
  pool.run(count, [&](int64_t task, int) {
    body(call.pieces[static_cast<size_t>(order[static_cast<size_t>(task)])], own_thread());
  });
}

Storage storage_of(Compute compute) { return compute == Compute::bf16 ? Storage::bf16 : Storage::f32; }

Scratch::Scratch(const Call& call, int64_t value_dim, int64_t keys) {
  const Storage storage = storage_of(call.params->compute);
  cache_ = std::move(kept);
  if (cache_ == nullptr || cache_->kv_heads() != call.kv_heads || cache_->head_dim() != call.dim ||
      cache_->value_dim() != value_dim || cache_->storage() != storage)
    cache_ = std::make_unique<KvCache>(call.kv_heads, call.dim, value_dim, storage);
  cache_->reuse(keys);
}

Scratch::~Scratch() {
  if (cache_->bytes() <= scratch_bytes) kept = std::move(cache_);
}

}  // namespace bareattn::attend
