// A checked call, carried out: pieces over the pool, keys and values packed, 16-bit rows widened in chunks.
#pragma once
#include <functional>
#include <span>

#include "attention/cache.h"
#include "attention/call.h"

namespace bareattn::attend {

/// Keys and values of the caller, [B, Hkv, Sk, D] and [B, Hkv, Sk, Dv]; v may be null where only keys are needed.
struct KeyValues {
  const ConstTensor* k;
  const ConstTensor* v;
};

/// Writes keys [from, to) of a piece's own numbering into the cache at the same places (with room for them).
void pack(const KeyValues& kv, const Piece& piece, int64_t from, int64_t to, KvCache& cache, base::ThreadPool& pool);

/// Rows of one piece against its packed keys.
void serve_piece(const Call& call, const Piece& piece, const ConstTensor& q, const MutableTensor& o,
                 const KvCache& cache, base::ThreadPool& pool);

/// body(piece, pool) for every piece: one after the other with the whole pool each, or, where each is small, side by
/// side with one thread each. The bits do not depend on it.
void over_pieces(const Call& call, base::ThreadPool& pool,
                 const std::function<void(const Piece&, base::ThreadPool&)>& body);

/// Packed keys of one sequence, kept from call to call on each thread, given back when larger than 64 MiB.
Storage storage_of(Compute compute);

class Scratch {
 public:
  Scratch(const Call& call, int64_t value_dim, int64_t keys);
  ~Scratch();
  KvCache& cache() { return *cache_; }

 private:
  std::unique_ptr<KvCache> cache_;
};

}  // namespace bareattn::attend
