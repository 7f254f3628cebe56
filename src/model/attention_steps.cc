// See attention_steps.h.
#include "model/attention_steps.h"

#include <algorithm>

#include "kernels/elementwise.h"
#include "kernels/plain.h"

namespace bareattn::model {

void AttentionSteps::rotate(const Chunk& chunk, Qkv qkv) const {
  const Architecture& a = chunk.architecture;
  if (!a.layer(chunk.layer).rotary) return;
  const auto turn = a.pairing == Pairing::halves ? kernels::rotate_halves : kernels::rotate_pairs;
  for_rows(chunk.pool, chunk.rows, [&](int64_t r) {
    const float *cosine = chunk.rope.cosine(chunk.first_row + r), *sine = chunk.rope.sine(chunk.first_row + r);
    for (int64_t head = 0; head < a.heads + a.kv_heads; ++head)  // Q's heads, then K's
      turn(qkv.data + r * qkv.stride + head * a.head_dim, cosine, sine, chunk.rope.dim());
  });
}

void AttentionSteps::store_keys(const Chunk& chunk, Qkv qkv, attend::KvCache& cache) const {
  const int64_t q = chunk.architecture.heads, kv = chunk.architecture.kv_heads, d = chunk.architecture.head_dim;
  const auto rows_of = [&](int64_t head) {
    return TensorView<const float>(qkv.data + head * d, {chunk.rows, d}, {qkv.stride, 1});
  };
  const auto write = [&](int64_t h, int) { cache.write(h, chunk.first_row, rows_of(q + h), rows_of(q + kv + h)); };
  if (chunk.rows >= 16) return chunk.pool.run(kv, write);
  for (int64_t h = 0; h < kv; ++h) write(h, 0);  // a few rows cost less than waking somebody
}

void AttentionSteps::attend(int, attend::Sequence& sequence, base::ThreadPool& pool) const {
  attend::run(sequence, pool);
}

}  // namespace bareattn::model
