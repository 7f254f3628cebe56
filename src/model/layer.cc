// See layer.h.
#include "model/layer.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "attention/run.h"
#include "kernels/convert.h"
#include "kernels/elementwise.h"

namespace bareattn::model {
namespace {

// Rows that one worker takes at a time: their activations (128 * W floats) stay in its L2 beside a weight panel.
constexpr int64_t projection_rows = 128;
// Elementwise loops are short; 16 rows amortise the handing out.
constexpr int64_t elementwise_rows = 16;

template <class Body>
void for_rows(const Pass& pass, int64_t rows, const Body& body) {
  pass.pool.run((rows + elementwise_rows - 1) / elementwise_rows, [&](int64_t task, int) {
    const int64_t end = std::min(rows, (task + 1) * elementwise_rows);
    for (int64_t r = task * elementwise_rows; r < end; ++r) body(r);
  });
}

/// Heads [first, first + count) of each row of `qkv` as [rows, count, D].
TensorView<const float> heads(const Pass& pass, const Rows& qkv, int64_t first, int64_t count) {
  const int64_t d = pass.config.head_dim;
  return {qkv.row(0) + first * d, {pass.rows, count, d}, {qkv.stride(), d, 1}};
}

void rotate(const Pass& pass, Rows& qkv) {
  const int64_t rotated = pass.config.heads + pass.config.kv_heads;  // Q's heads, then K's
  for_rows(pass, pass.rows, [&](int64_t r) {
    const int64_t position = pass.first_row + r;
    for (int64_t head = 0; head < rotated; ++head) {
      kernels::rotate_pairs(qkv.row(r) + head * pass.config.head_dim, pass.rope.cosine(position),
                            pass.rope.sine(position), pass.rope.dim());
    }
  });
}

// With attention in bf16 they are rounded where they are made, so that whoever sees them, sees what attention used.
void round_queries_and_keys(const Pass& pass, Rows& qkv) {
  const int64_t n = (pass.config.heads + pass.config.kv_heads) * pass.config.head_dim;
  for_rows(pass, pass.rows, [&](int64_t r) {
    thread_local std::vector<uint16_t> rounded;
    rounded.resize(static_cast<size_t>(n));
    kernels::bf16_from_f32(qkv.row(r), rounded.data(), n);
    kernels::f32_from_bf16(rounded.data(), qkv.row(r), n);
  });
}

void store_keys(const Pass& pass, const Rows& qkv, attend::KvCache& cache) {
  const int64_t q = pass.config.heads;
  const int64_t kv = pass.config.kv_heads;
  const auto rows_of = [&](int64_t head) {
    const TensorView<const float> all = heads(pass, qkv, head, 1);
    return TensorView<const float>(all.data, {pass.rows, pass.config.head_dim}, {all.stride[0], 1});
  };
  const auto write = [&](int64_t h, int) { cache.write(h, pass.first_row, rows_of(q + h), rows_of(q + kv + h)); };
  if (pass.rows >= elementwise_rows) return pass.pool.run(kv, write);
  for (int64_t h = 0; h < kv; ++h) write(h, 0);  // a few rows cost less than waking somebody
}

/// branch = Attention(normed)
void attend(const Pass& pass, int layer, attend::KvCache& cache, Workspace& work) {
  const ModelConfig& config = pass.config;
  const LayerWeights& weights = pass.weights.layers[static_cast<size_t>(layer)];
  const int64_t q = config.heads;
  const int64_t kv = config.kv_heads;
  const auto see = [&](Point point, TensorView<const float> values) {
    pass.watch.see(point, layer, pass.first_row, values);
  };

  project(pass.pool, work.normed.view(pass.rows), weights.qkv, work.qkv.row(0), work.qkv.stride());
  see(Point::q, heads(pass, work.qkv, 0, q));
  see(Point::k, heads(pass, work.qkv, q, kv));
  see(Point::v, heads(pass, work.qkv, q + kv, kv));
  if (pass.intervention == nullptr) {
    rotate(pass, work.qkv);
  } else {
    pass.intervention->rotate({pass.rope, pass.pool, layer, pass.first_row, pass.rows},
                              {work.qkv.row(0), work.qkv.stride()});
  }
  if (cache.storage() == attend::Storage::bf16) round_queries_and_keys(pass, work.qkv);
  see(Point::rot_q, heads(pass, work.qkv, 0, q));
  see(Point::rot_k, heads(pass, work.qkv, q, kv));
  if (pass.intervention == nullptr) {
    store_keys(pass, work.qkv, cache);
  } else {
    pass.intervention->store_keys({pass.rope, pass.pool, layer, pass.first_row, pass.rows},
                                  {work.qkv.row(0), work.qkv.stride()}, cache);
  }

  const int64_t d = config.head_dim;
  attend::Sequence sequence;
  sequence.q = heads(pass, work.qkv, 0, q);
  sequence.o = TensorView<float>(work.z.row(0), {pass.rows, q, d}, {work.z.stride(), d, 1});
  sequence.cache = &cache;
  sequence.first_row = pass.first_row;
  sequence.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(d)));
  sequence.terms.window = pass.reach.window;
  sequence.terms.leading_keys = pass.reach.sinks;
  sequence.statistics = pass.watch.statistics(layer, pass.first_row, pass.rows);
  if (pass.intervention == nullptr) {
    attend::run(sequence, pass.pool);
  } else {
    pass.intervention->attend(layer, sequence, pass.pool);
  }
  see(Point::attn_statistics, {});
  see(Point::z, sequence.o);

  project(pass.pool, work.z.view(pass.rows), weights.output, work.branch.row(0), work.branch.stride());
  see(Point::attn_out, work.branch.view(pass.rows));
}

/// branch = SwiGLU(normed)
void feed_forward(const Pass& pass, int layer, Workspace& work) {
  const LayerWeights& weights = pass.weights.layers[static_cast<size_t>(layer)];
  const int64_t width = pass.config.mlp_width;
  const int64_t up = pass.weights.up_begin;
  Rows& gate_up = work.gate_up;
  const auto see = [&](Point point, TensorView<const float> values) {
    pass.watch.see(point, layer, pass.first_row, values);
  };

  project(pass.pool, work.normed.view(pass.rows), weights.gate_up, gate_up.row(0), gate_up.stride());
  see(Point::mlp_pre, {gate_up.row(0), {pass.rows, width}, {gate_up.stride(), 1}});
  see(Point::mlp_pre_linear, {gate_up.row(0) + up, {pass.rows, width}, {gate_up.stride(), 1}});
  for_rows(pass, pass.rows,
           [&](int64_t r) { kernels::silu_multiply(gate_up.row(r), gate_up.row(r) + up, width, work.mlp.row(r)); });
  see(Point::mlp_post, work.mlp.view(pass.rows));
  project(pass.pool, work.mlp.view(pass.rows), weights.down, work.branch.row(0), work.branch.stride());
  see(Point::mlp_out, work.branch.view(pass.rows));
}

void add_branch(const Pass& pass, Workspace& work) {
  for_rows(pass, pass.rows, [&](int64_t r) { kernels::add(work.branch.row(r), pass.config.width, work.x.row(r)); });
}

}  // namespace

Workspace::Workspace(const ModelConfig& config, const Weights& weights, int64_t rows)
    : x(rows, config.width),
      normed(rows, config.width),
      qkv(rows, int64_t{config.heads + 2 * config.kv_heads} * config.head_dim),
      z(rows, int64_t{config.heads} * config.head_dim),
      branch(rows, config.width),
      gate_up(rows, weights.up_begin + config.mlp_width),
      mlp(rows, config.mlp_width) {}

void run_layer(const Pass& pass, int layer, attend::KvCache& cache, Workspace& work) {
  const LayerWeights& weights = pass.weights.layers[static_cast<size_t>(layer)];
  const auto see = [&](Point point, const Rows& values) {
    pass.watch.see(point, layer, pass.first_row, values.view(pass.rows));
  };

  see(Point::resid_pre, work.x);
  normalize(pass, work.x, 0, pass.rows, weights.attention_norm, work.normed);
  see(Point::ln1, work.normed);
  attend(pass, layer, cache, work);
  add_branch(pass, work);

  see(Point::resid_mid, work.x);
  normalize(pass, work.x, 0, pass.rows, weights.mlp_norm, work.normed);
  see(Point::ln2, work.normed);
  feed_forward(pass, layer, work);
  add_branch(pass, work);
  see(Point::resid_post, work.x);
}

void normalize(const Pass& pass, const Rows& x, int64_t first, int64_t rows, const std::vector<float>& weight,
               Rows& normed) {
  for_rows(pass, rows, [&](int64_t r) {
    kernels::rms_norm(x.row(first + r), weight.data(), pass.config.width, pass.config.norm_epsilon, normed.row(r));
  });
}

void project(base::ThreadPool& pool, TensorView<const float> x, const kernels::PackedMatrix& w, float* y, int64_t ldy) {
  const int64_t rows = x.shape[0];
  const int64_t row_tiles = (rows + projection_rows - 1) / projection_rows;
  const int64_t panels = (w.n + kernels::panel_rows - 1) / kernels::panel_rows;
  // Enough tasks for every worker to find a last one; columns are cut only where the rows do not give that many.
  const int64_t wanted = pool.size() == 1 ? 1 : 4 * pool.size();
  const int64_t column_tiles = std::clamp<int64_t>((wanted + row_tiles - 1) / row_tiles, 1, panels);
  const int64_t panels_per_tile = (panels + column_tiles - 1) / column_tiles;
  pool.run(row_tiles * column_tiles, [&](int64_t task, int) {
    const int64_t first = task / column_tiles * projection_rows;
    const int64_t n_begin = task % column_tiles * panels_per_tile * kernels::panel_rows;
    const int64_t n_end = std::min(w.n, n_begin + panels_per_tile * kernels::panel_rows);
    if (n_begin >= n_end) return;
    kernels::gemm(x.data + first * x.stride[0], x.stride[0], std::min(projection_rows, rows - first), w, n_begin, n_end,
                  y + first * ldy, ldy);
  });
}

}  // namespace bareattn::model
