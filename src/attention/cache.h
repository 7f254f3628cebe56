// Keys and values as the kernels want them, packed once when they arrive and read by every query tile and every head of
// a group: K in panels of 64 keys, dim-major; V as rows. Memory comes in blocks of 512 keys (the contract's block), so
// a cache grows without copying and takes O(keys), in slabs (so that they may be huge pages) of what is asked for at
// once; it is the KV cache of a Session and the scratch of one call alike.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "bareattn/tensor_view.h"
#include "base/aligned.h"
#include "kernels/kernels.h"

namespace bareattn::attend {

enum class Storage { f32, bf16 };  // bf16: rounded once, on arrival; scores and blend then run on bf16 pairs

/// One block of one key-value head; k, v in f32 storage, k16, v16 in bf16 storage.
struct KvBlock {
  const float* k;       // [8 panels][D][64]
  const float* v;       // [512, ldv]
  const uint16_t* k16;  // [8 panels][D up to even / 2][64][2]
  const uint16_t* v16;  // [512 / 2][ldv][2]
  bool finite;          // every V in it is finite: a zero weight times it is zero
};

class KvCache {
 public:
  KvCache(int64_t kv_heads, int64_t head_dim, int64_t value_dim, Storage storage = Storage::f32);

  /// Room for keys [0, length) from now on; not thread-safe. Keys past the written ones are zero.
  void resize(int64_t length);
  /// Forgets what was written but keeps the memory, with room for keys [0, length): scratch of one call after another.
  void reuse(int64_t length);
  /// Writes keys [first, first + rows) of one head; rows within the length. Different heads, or rows of different
  /// blocks, may be written by different threads. k [rows, D], v [rows, Dv].
  void write(int64_t head, int64_t first, TensorView<const float> k, TensorView<const float> v);

  KvBlock block(int64_t head, int64_t index) const;
  int64_t length() const { return length_; }
  int64_t kv_heads() const { return kv_heads_; }
  int64_t head_dim() const { return head_dim_; }
  int64_t value_dim() const { return value_dim_; }
  int64_t value_stride() const { return value_stride_; }  // of V rows: Dv up to a multiple of 16
  int64_t bytes() const;
  Storage storage() const { return storage_; }
  int64_t panel_dims() const { return storage_ == Storage::f32 ? head_dim_ : (head_dim_ + 1) / 2 * 2; }

 private:
  struct Block {
    std::shared_ptr<std::byte> data;  // K of every head, then V of every head; of a slab that several blocks share
    std::vector<uint8_t> infinite;    // per head
  };
  struct Run {
    int64_t head, key, row, rows;  // rows [row, row + rows) of what is given become keys from `key` on, of one panel
  };
  bool write_wide(const Run& run, TensorView<const float> k, TensorView<const float> v);  // whether V is finite
  bool write_narrow(const Run& run, TensorView<const float> k, TensorView<const float> v);
  int64_t block_bytes() const { return kv_heads_ * kernels::block_keys * (panel_dims() + value_stride_) * width(); }
  int64_t width() const { return storage_ == Storage::f32 ? 4 : 2; }
  std::byte* k_of(int64_t block, int64_t head) const;
  std::byte* v_of(int64_t block, int64_t head) const;

  int64_t kv_heads_, head_dim_, value_dim_, value_stride_, length_ = 0;
  Storage storage_;
  std::vector<Block> blocks_;
};

}  // namespace bareattn::attend
