// See cache.h.
#include "attention/cache.h"

#include <algorithm>
#include <cmath>

namespace bareattn::attend {

using kernels::block_keys;
using kernels::panel_keys;

KvCache::KvCache(int64_t kv_heads, int64_t head_dim, int64_t value_dim)
    : kv_heads_(kv_heads), head_dim_(head_dim), value_dim_(value_dim), value_stride_((value_dim + 15) / 16 * 16) {}

void KvCache::resize(int64_t length) {
  const auto wanted = static_cast<size_t>((length + block_keys - 1) / block_keys);
  if (wanted < blocks_.size()) blocks_.resize(wanted);
  while (blocks_.size() < wanted) {
    Block block;
    block.data = base::AlignedBuffer(static_cast<size_t>(kv_heads_ * block_keys * (head_dim_ + value_stride_)) * 4);
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

float* KvCache::k_of(int64_t block, int64_t head) const {
  return const_cast<float*>(blocks_[static_cast<size_t>(block)].data.as<float>()) + head * block_keys * head_dim_;
}

float* KvCache::v_of(int64_t block, int64_t head) const {
  return const_cast<float*>(blocks_[static_cast<size_t>(block)].data.as<float>()) +
         kv_heads_ * block_keys * head_dim_ + head * block_keys * value_stride_;
}

void KvCache::write(int64_t head, int64_t first, TensorView<const float> k, TensorView<const float> v) {
  for (int64_t r = 0; r < k.shape[0]; ++r) {
    const int64_t key = first + r, block = key / block_keys, at = key % block_keys;
    float* to_k = k_of(block, head) + at / panel_keys * panel_keys * head_dim_ + at % panel_keys;
    for (int64_t d = 0; d < head_dim_; ++d) to_k[d * panel_keys] = k.at(r, d);
    float* to_v = v_of(block, head) + at * value_stride_;
    float sum = 0;  // of zeros, unless something is not finite
    for (int64_t d = 0; d < value_dim_; ++d) {
      to_v[d] = v.at(r, d);
      sum += to_v[d] * 0.0F;
    }
    if (sum != 0.0F) blocks_[static_cast<size_t>(block)].infinite[static_cast<size_t>(head)] = 1;
  }
}

KvBlock KvCache::block(int64_t head, int64_t index) const {
  return {k_of(index, head), v_of(index, head), blocks_[static_cast<size_t>(index)].infinite[static_cast<size_t>(head)] == 0};
}

const float* KvCache::key(int64_t head, int64_t index) const {
  const int64_t at = index % block_keys;
  return k_of(index / block_keys, head) + at / panel_keys * panel_keys * head_dim_ + at % panel_keys;
}

int64_t KvCache::bytes() const {
  int64_t total = 0;
  for (const Block& block : blocks_) total += static_cast<int64_t>(block.data.bytes());
  return total;
}

}  // namespace bareattn::attend
