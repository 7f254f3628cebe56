// See cache.h.
#include "attention/cache.h"

#include <algorithm>

#include "attention/pointer.h"
#include "kernels/convert.h"
#include "kernels/pack.h"

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
  if (const size_t more = wanted - blocks_.size(); more > 0) {
    const auto slab = std::make_shared<base::AlignedBuffer>(more * static_cast<size_t>(block_bytes()));
    for (size_t i = 0; i < more; ++i)
      blocks_.push_back({{slab, slab->as<std::byte>() + static_cast<int64_t>(i) * block_bytes()},
                         std::vector<uint8_t>(static_cast<size_t>(kv_heads_), 0)});
  }
  length_ = length;
}

void KvCache::reuse(int64_t length) {
  if (length > length_) resize(std::max(length, static_cast<int64_t>(blocks_.size()) * block_keys));
  length_ = length;
  for (Block& block : blocks_) std::fill(block.infinite.begin(), block.infinite.end(), uint8_t{0});
}

std::byte* KvCache::k_of(int64_t block, int64_t head) const {
  return blocks_[static_cast<size_t>(block)].data.get() + head * block_keys * panel_dims() * width();
}

std::byte* KvCache::v_of(int64_t block, int64_t head) const {
  return k_of(block, kv_heads_) + head * block_keys * value_stride_ * width();
}

namespace {

// Row r of x: where it lies, or gathered into `room`.
const float* dense(TensorView<const float> x, int64_t r, std::vector<float>& room) {
  const int64_t n = x.shape[1];
  if (x.stride[1] == 1 || n == 0) return pointer_to(x, r, 0);
  room.resize(static_cast<size_t>(n));
  for (int64_t d = 0; d < n; ++d) room[static_cast<size_t>(d)] = x.at(r, d);
  return room.data();
}

// Whether some element has the exponent of infinity and NaN.
template <class Bits>
bool some_infinite(const Bits* x, int64_t n, Bits exponent) {
  Bits found = 0;
  for (int64_t i = 0; i < n; ++i) found |= static_cast<Bits>((x[i] & exponent) == exponent);
  return found != 0;
}

}  // namespace

void KvCache::write(int64_t head, int64_t first, TensorView<const float> k, TensorView<const float> v) {
  for (int64_t r = 0, rows; r < k.shape[0]; r += rows) {  // rows of one panel
    const int64_t key = first + r, lane = key % panel_keys;
    rows = std::min(k.shape[0] - r, panel_keys - lane);
    const bool wide = storage_ == Storage::f32;
    const bool finite = wide ? write_wide({head, key, r, rows}, k, v) : write_narrow({head, key, r, rows}, k, v);
    if (!finite) blocks_[static_cast<size_t>(key / block_keys)].infinite[static_cast<size_t>(head)] = 1;
  }
}

bool KvCache::write_wide(const Run& run, TensorView<const float> k, TensorView<const float> v) {
  const int64_t at = run.key % block_keys, lane = at % panel_keys;
  auto* panel = reinterpret_cast<float*>(k_of(run.key / block_keys, run.head)) + (at - lane) * head_dim_ + lane;
  std::vector<float> room;
  if (k.stride[1] == 1 && head_dim_ > 0) {
    kernels::transpose32(&k.at(run.row, 0), k.stride[0], run.rows, head_dim_, panel, panel_keys);
  } else {
    for (int64_t r = 0; r < run.rows; ++r)
      for (int64_t d = 0; d < head_dim_; ++d) panel[d * panel_keys + r] = k.at(run.row + r, d);
  }
  auto* values = reinterpret_cast<float*>(v_of(run.key / block_keys, run.head)) + at * value_stride_;
  bool finite = true;
  for (int64_t r = 0; r < run.rows; ++r) {
    const float* row = dense(v, run.row + r, room);
    std::copy_n(row, value_dim_, values + r * value_stride_);
    finite &= !some_infinite(reinterpret_cast<const uint32_t*>(row), value_dim_, 0x7F800000U);
  }
  return finite;
}

// K: pairs of dims are one 32-bit unit, so that a panel is transposed as in f32. V: pairs of keys.
bool KvCache::write_narrow(const Run& run, TensorView<const float> k, TensorView<const float> v) {
  const int64_t at = run.key % block_keys, lane = at % panel_keys, dims = panel_dims();
  std::vector<float> room;
  std::vector<uint16_t> rows(static_cast<size_t>(run.rows * dims), 0), other(static_cast<size_t>(2 * value_dim_));
  for (int64_t r = 0; r < run.rows; ++r)
    kernels::bf16_from_f32(dense(k, run.row + r, room), rows.data() + r * dims, head_dim_);
  auto* panel = reinterpret_cast<uint16_t*>(k_of(run.key / block_keys, run.head)) + (at - lane) * dims + 2 * lane;
  kernels::transpose32(rows.data(), dims / 2, run.rows, dims / 2, panel, panel_keys);
  bool finite = true;
  for (int64_t r = 0, taken; r < run.rows; r += taken) {
    const int64_t key = at + r;
    taken = key % 2 == 0 && r + 1 < run.rows ? 2 : 1;
    for (int64_t i = 0; i < taken; ++i)
      kernels::bf16_from_f32(dense(v, run.row + r + i, room), other.data() + i * value_dim_, value_dim_);
    finite &= !some_infinite<uint16_t>(other.data(), taken * value_dim_, 0x7F80);
    auto* to = reinterpret_cast<uint16_t*>(v_of(run.key / block_keys, run.head)) + key / 2 * 2 * value_stride_;
    const uint16_t *even = other.data(), *odd = even + value_dim_;
    if (taken == 2)
      for (int64_t d = 0; d < value_dim_; ++d) to[2 * d] = even[d], to[2 * d + 1] = odd[d];
    else
      for (int64_t d = 0; d < value_dim_; ++d) to[2 * d + key % 2] = even[d];
  }
  return finite;
}

KvBlock KvCache::block(int64_t head, int64_t index) const {
  const std::byte* k = k_of(index, head);
  const std::byte* v = v_of(index, head);
  return {reinterpret_cast<const float*>(k), reinterpret_cast<const float*>(v), reinterpret_cast<const uint16_t*>(k),
          reinterpret_cast<const uint16_t*>(v),
          blocks_[static_cast<size_t>(index)].infinite[static_cast<size_t>(head)] == 0};
}

int64_t KvCache::bytes() const { return static_cast<int64_t>(blocks_.size()) * block_bytes(); }

}  // namespace bareattn::attend
