// See layer.h.
#include "model/layer.h"

#include <algorithm>
#include <vector>

#include "attention/run.h"
#include "kernels/convert.h"
#include "kernels/elementwise.h"
#include "kernels/plain.h"
#include "model/scores.h"

namespace bareattn::model {
namespace {

/// Heads [first, first + count) of each row of `qkv` as [rows, count, D].
TensorView<const float> heads(const Pass& pass, const Rows& qkv, int64_t first, int64_t count) {
  const int64_t d = pass.architecture.head_dim;
  return {qkv.row(0) + first * d, {pass.rows, count, d}, {qkv.stride(), d, 1}};
}

void add_bias(const Pass& pass, const std::vector<float>& bias, Rows& rows) {
  if (bias.empty()) return;
  for_rows(pass.pool, pass.rows,
           [&](int64_t r) { kernels::add(bias.data(), static_cast<int64_t>(bias.size()), rows.row(r)); });
}

/// RMS norms of Q and K, of each head or of all of them together.
void normalize_heads(const Pass& pass, const LayerWeights& weights, Rows& qkv) {
  const Architecture& a = pass.architecture;
  if (a.qk_norm == QkNorm::none) return;
  const int64_t d = a.head_dim;
  for_rows(pass.pool, pass.rows, [&](int64_t r) {
    float* at = qkv.row(r);
    for (const auto& [count, norm] : {std::pair{int64_t{a.heads}, &weights.q_norm}, {a.kv_heads, &weights.k_norm}}) {
      const int64_t parts = a.qk_norm == QkNorm::per_head ? count : 1, width = count * d / parts;
      for (int64_t part = 0; part < parts; ++part, at += width)
        kernels::rms_norm(at, norm->weight.data(), width, a.norm_epsilon, at);
    }
  });
}

// With attention in bf16 they are rounded where they are made, so that whoever sees them, sees what attention used.
void round_queries_and_keys(const Pass& pass, Rows& qkv) {
  const int64_t n = int64_t{pass.architecture.heads + pass.architecture.kv_heads} * pass.architecture.head_dim;
  for_rows(pass.pool, pass.rows, [&](int64_t r) {
    thread_local std::vector<uint16_t> rounded;
    rounded.resize(static_cast<size_t>(n));
    kernels::bf16_from_f32(qkv.row(r), rounded.data(), n);
    kernels::f32_from_bf16(rounded.data(), qkv.row(r), n);
  });
}

/// branch = Attention(input)
void attend(const Pass& pass, int layer, const Rows& input, attend::KvCache& cache, Workspace& work) {
  const Architecture& a = pass.architecture;
  const LayerWeights& weights = pass.weights.layers[static_cast<size_t>(layer)];
  const int64_t q = a.heads, kv = a.kv_heads, d = a.head_dim;
  const auto see = [&](Point point, TensorView<const float> values) {
    pass.watch.see(point, layer, pass.first_row, values);
  };
  const AttentionSteps::Chunk chunk{a, pass.rope.of(layer), pass.pool, layer, pass.first_row, pass.rows};

  project(pass.pool, input.view(pass.rows), weights.qkv, work.qkv.row(0), work.qkv.stride());
  add_bias(pass, weights.qkv_bias, work.qkv);
  see(Point::q, heads(pass, work.qkv, 0, q));
  see(Point::k, heads(pass, work.qkv, q, kv));
  see(Point::v, heads(pass, work.qkv, q + kv, kv));
  normalize_heads(pass, weights, work.qkv);
  pass.steps.rotate(chunk, {work.qkv.row(0), work.qkv.stride()});
  if (cache.storage() == attend::Storage::bf16) round_queries_and_keys(pass, work.qkv);
  see(Point::rot_q, heads(pass, work.qkv, 0, q));
  see(Point::rot_k, heads(pass, work.qkv, q, kv));
  pass.steps.store_keys(chunk, {work.qkv.row(0), work.qkv.stride()}, cache);

  attend::Sequence sequence;
  sequence.q = heads(pass, work.qkv, 0, q);
  sequence.o = TensorView<float>(work.z.row(0), {pass.rows, q, d}, {work.z.stride(), d, 1});
  sequence.cache = &cache;
  sequence.first_row = pass.first_row;
  set_scores(sequence, pass.rules.layer(layer));
  sequence.statistics = pass.watch.statistics(layer, pass.first_row, pass.rows);
  pass.steps.attend(layer, sequence, pass.pool);
  see(Point::attn_statistics, {});
  see(Point::z, sequence.o);

  project(pass.pool, work.z.view(pass.rows), weights.output, work.branch.row(0), work.branch.stride());
  add_bias(pass, weights.output_bias, work.branch);
}

void activate(const Pass& pass, Workspace& work) {
  const Architecture& a = pass.architecture;
  const int64_t width = a.mlp_width;
  for_rows(pass.pool, pass.rows, [&](int64_t r) {
    const float* gate = work.gate_up.row(r);
    const float* up = a.gated ? gate + pass.weights.up_begin : nullptr;
    float* to = work.mlp.row(r);
    if (a.activation == Nonlinearity::gelu) return kernels::gelu(gate, up, width, to);
    if (a.activation == Nonlinearity::gelu_tanh) return kernels::gelu_tanh(gate, up, width, to);
    up != nullptr ? kernels::silu_multiply(gate, up, width, to) : kernels::silu(gate, up, width, to);
  });
}

/// branch = MLP(input)
void feed_forward(const Pass& pass, int layer, const Rows& input, Workspace& work) {
  const LayerWeights& weights = pass.weights.layers[static_cast<size_t>(layer)];
  const int64_t width = pass.architecture.mlp_width;
  Rows& gate_up = work.gate_up;
  const auto see = [&](Point point, TensorView<const float> values) {
    pass.watch.see(point, layer, pass.first_row, values);
  };

  project(pass.pool, input.view(pass.rows), weights.gate_up, gate_up.row(0), gate_up.stride());
  add_bias(pass, weights.gate_up_bias, gate_up);
  see(Point::mlp_pre, {gate_up.row(0), {pass.rows, width}, {gate_up.stride(), 1}});
  if (pass.architecture.gated)
    see(Point::mlp_pre_linear, {gate_up.row(0) + pass.weights.up_begin, {pass.rows, width}, {gate_up.stride(), 1}});
  activate(pass, work);
  see(Point::mlp_post, work.mlp.view(pass.rows));
  project(pass.pool, work.mlp.view(pass.rows), weights.down, work.branch.row(0), work.branch.stride());
  add_bias(pass, weights.down_bias, work.branch);
}

bool norms(const Pass& pass, NormPlace place) {
  const NormPlace here = pass.architecture.norm_place;
  return here == place || (here == NormPlace::both && (place == NormPlace::before || place == NormPlace::after));
}

/// What a branch reads: x, or its norm, which `point` sees.
const Rows& entry(const Pass& pass, int layer, Point point, const NormWeights& norm, Workspace& work) {
  if (!norms(pass, NormPlace::before)) return work.x;
  normalize(pass, work.x, {0, pass.rows}, norm, work.normed);
  pass.watch.see(point, layer, pass.first_row, work.normed.view(pass.rows));
  return work.normed;
}

/// The branch as it is added.
void leave(const Pass& pass, const NormWeights& norm, Workspace& work) {
  const Architecture& a = pass.architecture;
  if (norms(pass, NormPlace::after)) normalize(pass, work.branch, {0, pass.rows}, norm, work.branch);
  if (a.residual_multiplier == 1.0F) return;
  for_rows(pass.pool, pass.rows,
           [&](int64_t r) { kernels::scale(a.residual_multiplier, a.width, work.branch.row(r)); });
}

void add(const Pass& pass, const Rows& branch, Workspace& work) {
  for_rows(pass.pool, pass.rows,
           [&](int64_t r) { kernels::add(branch.row(r), pass.architecture.width, work.x.row(r)); });
}

/// Of NormPlace::sum: x becomes its norm.
void settle(const Pass& pass, const NormWeights& norm, Workspace& work) {
  if (norms(pass, NormPlace::sum)) normalize(pass, work.x, {0, pass.rows}, norm, work.x);
}

}  // namespace

Workspace::Workspace(const Architecture& a, const Weights& weights, int64_t rows)
    : x(rows, a.width),
      normed(rows, a.width),
      qkv(rows, int64_t{a.heads + 2 * a.kv_heads} * a.head_dim),
      z(rows, int64_t{a.heads} * a.head_dim),
      branch(rows, a.width),
      held(a.parallel ? rows : 0, a.width),
      gate_up(rows, weights.up_begin + a.mlp_width),
      mlp(rows, a.mlp_width) {}

void run_layer(const Pass& pass, int layer, attend::KvCache& cache, Workspace& work) {
  const LayerWeights& weights = pass.weights.layers[static_cast<size_t>(layer)];
  const bool parallel = pass.architecture.parallel;
  const auto see = [&](Point point, const Rows& values) {
    pass.watch.see(point, layer, pass.first_row, values.view(pass.rows));
  };

  see(Point::resid_pre, work.x);
  attend(pass, layer, entry(pass, layer, Point::ln1, weights.attention_norm, work), cache, work);
  leave(pass, weights.attention_post_norm, work);
  see(Point::attn_out, work.branch);
  if (parallel) {
    std::swap(work.branch, work.held);
  } else {
    add(pass, work.branch, work);
    settle(pass, weights.attention_post_norm, work);
    see(Point::resid_mid, work.x);
  }

  feed_forward(pass, layer, entry(pass, layer, Point::ln2, weights.mlp_norm, work), work);
  leave(pass, weights.mlp_post_norm, work);
  see(Point::mlp_out, work.branch);
  if (parallel) add(pass, work.held, work);
  add(pass, work.branch, work);
  settle(pass, weights.mlp_post_norm, work);
  see(Point::resid_post, work.x);
}

HeadWrites::HeadWrites(const Pass& pass, int64_t rows)
    : pass_(pass),
      normed_(rows, pass.architecture.width),
      qkv_(rows, int64_t{pass.architecture.heads + 2 * pass.architecture.kv_heads} * pass.architecture.head_dim),
      z_(pass.architecture.heads, int64_t{pass.architecture.heads} * pass.architecture.head_dim),
      written_(pass.architecture.heads, pass.architecture.width) {}

void HeadWrites::take(int layer, const Rows& x, int64_t rows) {
  const LayerWeights& weights = pass_.weights.layers[static_cast<size_t>(layer)];
  layer_ = layer;
  const bool normed = norms(pass_, NormPlace::before);
  if (normed) normalize(pass_, x, {0, rows}, weights.attention_norm, normed_);
  project(pass_.pool, (normed ? normed_ : x).view(rows), weights.qkv, qkv_.row(0), qkv_.stride());
  if (weights.qkv_bias.empty()) return;
  for (int64_t r = 0; r < rows; ++r)
    kernels::add(weights.qkv_bias.data(), static_cast<int64_t>(weights.qkv_bias.size()), qkv_.row(r));
}

const Rows& HeadWrites::of(int64_t row) {
  const Architecture& a = pass_.architecture;
  const int64_t heads = a.heads, dim = a.head_dim, group = heads / a.kv_heads;
  for (int64_t h = 0; h < heads; ++h) {  // row h of z: the row's value in the place of head h, 0 elsewhere
    std::fill(z_.row(h), z_.row(h) + heads * dim, 0.0F);
    const float* value = qkv_.row(row) + (heads + a.kv_heads + h / group) * dim;
    std::copy(value, value + dim, z_.row(h) + h * dim);
  }
  const LayerWeights& weights = pass_.weights.layers[static_cast<size_t>(layer_)];
  project(pass_.pool, z_.view(heads), weights.output, written_.row(0), written_.stride());
  // Of what all heads write together the norm would be another number: the direction is right, and the final norm
  // takes the size away.
  if (norms(pass_, NormPlace::after)) normalize(pass_, written_, {0, heads}, weights.attention_post_norm, written_);
  return written_;
}

}  // namespace bareattn::model
