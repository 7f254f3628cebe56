// See cache.h.
#include "attention/cache.h"

#include <algorithm>

#include "kernels/convert.h"

namespace bareattn::attend {

using kernels::block_keys;
using kernels::panel_keys;

KvCache::KvCache(int64_t kv_heads, int64_t head_dim, int64_t value_dim, Storage storage)
    : kv_heads_(kv_heads),
      head_dim_(head_dim),
      value_dim_(value_dim),
      value_stride_((value_dim + 15) / 16 * 16),
      storage_(storage) {}

void KvCache::resize(int64_t length) {
  const auto wanted = static_cast<size_t>((length + block_keys - 1) / block_keys);
  if (wanted < blocks_.size()) blocks_.resize(wanted);
  while (blocks_.size() < wanted) {
    Block block;
    block.data = base::AlignedBuffer(static_cast<size_t>(kv_heads_ * block_keys * (panel_dims() + value_stride_) * width()));
    block.infinite.assign(static_cast<size_t>(kv_heads_), 0);
    blocks_.push_back(std::move(block));
  }
  length_ = length;
}

void KvCache::reuse(int64_t length) {
  if (length > length_) resize(std::max(length, static_cast<int64_t>(blocks_.size()) * block_keys));
  length_ = length;
  for (Block& block : blocks_) std::fill(block.infinite.begin(), block.infinite.end(), uint8_t{0});
}

std::byte* KvCache::k_of(int64_t block, int64_t head) const {
  auto* data = const_cast<std::byte*>(blocks_[static_cast<size_t>(block)].data.as<std::byte>());
  return data + head * block_keys * panel_dims() * width();
}

std::byte* KvCache::v_of(int64_t block, int64_t head) const {
  return k_of(block, kv_heads_) + head * block_keys * value_stride_ * width();
}

void KvCache::write(int64_t head, int64_t first, TensorView<const float> k, TensorView<const float> v) {
  const bool wide = storage_ == Storage::f32;
  for (int64_t r = 0; r < k.shape[0]; ++r) {
    const int64_t key = first + r, block = key / block_keys, at = key % block_keys;
    const int64_t panel = at / panel_keys * panel_keys * panel_dims(), lane = at % panel_keys;
    auto* k32 = reinterpret_cast<float*>(k_of(block, head)) + panel + lane;
    auto* k16 = reinterpret_cast<uint16_t*>(k_of(block, head)) + panel + 2 * lane;
    for (int64_t d = 0; d < head_dim_; ++d) {
      if (wide)
        k32[d * panel_keys] = k.at(r, d);
      else
        k16[d / 2 * 2 * panel_keys + d % 2] = kernels::bf16_from_f32(k.at(r, d));
    }
    auto* v32 = reinterpret_cast<float*>(v_of(block, head)) + at * value_stride_;
    auto* v16 = reinterpret_cast<uint16_t*>(v_of(block, head)) + at / 2 * 2 * value_stride_ + at % 2;
    float sum = 0;  // of zeros, unless something is not finite
    for (int64_t d = 0; d < value_dim_; ++d) {
      if (wide)
        v32[d] = v.at(r, d);
      else
        v16[2 * d] = kernels::bf16_from_f32(v.at(r, d));
      sum += (wide ? v32[d] : kernels::f32_from_bf16(v16[2 * d])) * 0.0F;
    }
    if (sum != 0.0F) blocks_[static_cast<size_t>(block)].infinite[static_cast<size_t>(head)] = 1;
  }
}

KvBlock KvCache::block(int64_t head, int64_t index) const {
  const std::byte* k = k_of(index, head);
  const std::byte* v = v_of(index, head);
  return {reinterpret_cast<const float*>(k), reinterpret_cast<const float*>(v), reinterpret_cast<const uint16_t*>(k),
          reinterpret_cast<const uint16_t*>(v), blocks_[static_cast<size_t>(index)].infinite[static_cast<size_t>(head)] == 0};
}

int64_t KvCache::bytes() const {
  int64_t total = 0;
  for (const Block& block : blocks_) total += static_cast<int64_t>(block.data.bytes());
  return total;
}

}  // namespace bareattn::attend
