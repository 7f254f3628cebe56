// Keys and values that stay from call to call, packed once as the kernels read them: decoding does no repacking. Also
// the reader of paged caches: pages of any size, in any order, are packed when they are new.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "bareattn/attention.h"

namespace bareattn {

/// Keys and values in pages, as a serving system keeps them. Key j of sequence b is row j % page of page
/// table[b, j / page].
struct PagedKeyValues {
  ConstTensor k;                     // [pages, Hkv, page, D], any strides
  ConstTensor v;                     // [pages, Hkv, page, Dv]
  TensorView<const int32_t> table;   // [B, at least ceil(length / page)]
  std::span<const int64_t> lengths;  // [B]
};

class AttentionCache {
 public:
  /// compute: what params.compute must be of the calls against it; bf16 keeps keys and values as bf16, in half the
  /// memory.
  AttentionCache(int64_t batch, int64_t kv_heads, int64_t head_dim, int64_t value_dim, Compute compute = Compute::f32);
  ~AttentionCache();
  AttentionCache(AttentionCache&&) noexcept;
  AttentionCache& operator=(AttentionCache&&) noexcept;

  /// k [B, Hkv, n, D], v [B, Hkv, n, Dv] come after what is there; with `counts` [B] only the first counts[b] of them.
  void append(const ConstTensor& k, const ConstTensor& v, std::span<const int64_t> counts = {});
  /// Everything past what is there, up to the pages' lengths (which may not be shorter).
  void append(const PagedKeyValues& pages);
  /// Forgets keys past `length` of sequence b.
  void truncate(int64_t b, int64_t length);

  int64_t batch() const;
  int64_t kv_heads() const;
  int64_t head_dim() const;
  int64_t value_dim() const;
  Compute compute() const;
  std::span<const int64_t> lengths() const;  // [B]
  int64_t bytes() const;

  struct Parts;
  const Parts& parts() const { return *parts_; }

 private:
  std::unique_ptr<Parts> parts_;
};

/// attention() against a cache. Rows stand where params says: bottom_right (or an offset) for rows that were just
/// appended. A mask covers every cached key; statistics and rows are as wide as the longest sequence.
void attention(const ConstTensor& q, const AttentionCache& cache, const MutableTensor& o,
               const AttentionParams& params = {});

/// attention() against pages, which are packed for this call; the bits are those of the same keys in one piece.
void attention(const ConstTensor& q, const PagedKeyValues& pages, const MutableTensor& o,
               const AttentionParams& params = {});

}  // namespace bareattn
