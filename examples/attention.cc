// Attention alone, without a model: the output, each row's entropy, and the key that got most. Needs no argument.
#include <bareattn/attention.h>

#include <cstdio>
#include <random>
#include <vector>

int main() {
  const int64_t batch = 1, heads = 8, kv_heads = 2, length = 1000, dim = 64;
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> q(batch * heads * length * dim), k(batch * kv_heads * length * dim), v(k.size()), o(q.size());
  for (auto* list : {&q, &k, &v})
    for (float& x : *list) x = normal(random);
  std::vector<float> entropy(heads * length);
  std::vector<uint64_t> received(heads * length);
  bareattn::AttentionStatistics seen;
  seen.row_stride = seen.key_stride = length;
  seen.entropy = entropy.data();    // [heads, length]
  seen.received = received.data();  // [heads, length]
  bareattn::AttentionParams params;
  params.is_causal = true;
  params.returns.statistics = {&seen, 1};
  using View = bareattn::TensorView<float>;
  bareattn::attention(View(q.data(), {batch, heads, length, dim}), View(k.data(), {batch, kv_heads, length, dim}),
                      View(v.data(), {batch, kv_heads, length, dim}), View(o.data(), {batch, heads, length, dim}),
                      params);
  std::printf("o[0] %.6f, entropy of the last row %.4f nats, weight on key 0 over all rows %.4f\n", o[0],
              entropy[length - 1], bareattn::from_fixed(received[0]));
}
