// The front door of the backward pass: check, clear, hand out blocks of keys. One sweep: each block of keys computes
// its tiles once, keeps dK and dV to itself and adds its share of dQ when the block before it has (5 products per tile;
// a second sweep for dQ, without any waiting, would compute 7). Blocks of different heads follow one another, so that
// workers rarely meet in one dQ. The arithmetic is backward_block.cc's.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "attention/backward_block.h"
#include "attention/pointer.h"
#include "attention/serve.h"
#include "attention/shared_pool.h"
#include "attention/widen.h"
#include "bareattn/attention_backward.h"
#include "base/float_environment.h"

namespace bareattn {
namespace {

using namespace attend;  // NOLINT: the floor's own names

void check_shape(const char* name, const ConstTensor& tensor, std::initializer_list<int64_t> wanted) {
  ConstTensor expected;
  for (const int64_t n : wanted) expected.shape[static_cast<size_t>(expected.rank++)] = n;
  bool same = tensor.rank == expected.rank;
  for (int axis = 0; same && axis < tensor.rank; ++axis) same = tensor.shape[axis] == expected.shape[axis];
  if (!same) refuse(name, "shape " + shape_text(tensor), shape_text(expected));
  if (tensor.data == nullptr && tensor.size() != 0)
    refuse(name, "a null pointer", "data of shape " + shape_text(tensor));
}

void check(const Call& call, const AttentionForward& forward, const ConstTensor& d_o, const AttentionGradients& out) {
  const int64_t b = call.batch, h = call.heads, s = call.rows;
  check_shape("o", forward.o, {b, h, s, call.value_dim});
  check_shape("d_o", d_o, {b, h, s, call.value_dim});
  check_shape("lse", forward.lse, {b, h, s});
  for (const NamedTensor& given : {NamedTensor{"o", &forward.o}, NamedTensor{"d_o", &d_o}})
    if (given.tensor->dtype != DType::f32 && given.tensor->dtype != forward.q.dtype)
      refuse(given.name, name(given.tensor->dtype), std::string("float32 or ") + name(forward.q.dtype) + ", as q has");
  const ConstTensor lse = forward.lse;
  const NamedTensor inputs[] = {{"q", &forward.q},
                                {"k", &forward.k},
                                {"v", &forward.v},
                                {"o", &forward.o},
                                {"lse", &lse},
                                {"d_o", &d_o},
                                {"attn_mask", &call.params->attn_mask}};
  const auto output = [&](const char* name, const TensorView<float>& tensor, std::initializer_list<int64_t> wanted) {
    if (tensor.data == nullptr) return;
    check_shape(name, tensor, wanted);
    check_overlap(name, tensor, inputs);
  };
  output("d_q", out.d_q, {b, h, s, call.dim});
  output("d_k", out.d_k, {b, call.kv_heads, call.keys, call.dim});
  output("d_v", out.d_v, {b, call.kv_heads, call.keys, call.value_dim});
  output("d_mask", out.d_mask, {b, h, s, call.keys});
  output("d_sinks", out.d_sinks, {h});
  if (out.d_sinks.data != nullptr && call.params->sinks.empty()) refuse("d_sinks", "no sinks", "params.sinks");
  if (out.d_bias.data == nullptr) return;
  const SpanBias* bias = call.params->bias;
  if (bias == nullptr || bias->value.empty()) refuse("d_bias", "no bias", "params.bias with values");
  output("d_bias", out.d_bias, {h, bias->row_spans, bias->key_spans});
}

void clear(const TensorView<float>& tensor, base::ThreadPool& pool) {
  if (tensor.data == nullptr || tensor.size() == 0) return;
  TensorView<float> t = tensor;
  while (t.rank < 4) {
    t.shape[static_cast<size_t>(t.rank)] = 1;
    t.stride[static_cast<size_t>(t.rank++)] = 1;
  }
  pool.run(t.shape[0] * t.shape[1], [&](int64_t task, int) {
    for (int64_t i = 0; i < t.shape[2]; ++i) {
      float* row = pointer_to(t, task / t.shape[1], task % t.shape[1], i);
      for (int64_t j = 0; j < t.shape[3]; ++j) row[j * t.stride[3]] = 0.0F;
    }
  });
}

// d_sinks[h] -= e^(sink - lse) dO O, over the rows of a piece in order.
void add_sinks(const BackwardJob& job, base::ThreadPool& pool) {
  const Call& call = *job.call;
  const int64_t dims = call.value_dim, padded = (dims + kernels::lanes - 1) / kernels::lanes * kernels::lanes;
  pool.run(call.heads, [&](int64_t head, int) {
    std::vector<float> o(static_cast<size_t>(padded)), d_o(o.size());
    const float sink = call.params->sinks[static_cast<size_t>(head)];
    double sum = 0;
    for (int64_t r = 0; r < job.piece->rows; ++r) {
      const int64_t b = job.piece->batch, row = job.piece->row + r;
      const float lse = job.forward->lse.at(b, head, row);
      if (std::isinf(lse) && lse < 0) continue;  // neither a key nor a sink
      const auto read = [&](const ConstTensor& tensor, float* to) {
        widen(tensor.dtype, address(tensor, b, head, row, 0), tensor.stride[3], dims, to);
      };
      read(job.forward->o, o.data());
      read(*job.d_o, d_o.data());
      float p[kernels::lanes];
      std::fill_n(p, kernels::lanes, sink - lse);
      kernels::table().exp_below(p, p, kernels::lanes);
      sum -= static_cast<double>(p[0]) * kernels::table().backward->dot(d_o.data(), o.data(), padded);
    }
    job.gradients->d_sinks.at(head) += static_cast<float>(sum);
  });
}

void run_backward(const BackwardJob& job, base::ThreadPool& pool) {
  const int64_t blocks = job.blocks(), heads = job.call->kv_heads;
  Progress progress(blocks * heads);
  static thread_local std::vector<BackwardBlock> scratch;  // of the calling thread: it survives from call to call
  if (static_cast<int>(scratch.size()) < pool.size()) scratch.resize(static_cast<size_t>(pool.size()));
  std::vector<BackwardBlock>& workers = scratch;
  pool.run(blocks * heads, [&](int64_t task, int worker) {  // early keys are seen by the most rows
    workers[static_cast<size_t>(worker)].compute(job, task % heads, task / heads, progress, task,
                                                 task < heads ? -1 : task - heads);
  });
}

}  // namespace

void attention_backward(const AttentionForward& forward, const ConstTensor& d_o, const AttentionGradients& gradients,
                        const AttentionParams& params) {
  const Call call = make_call(forward.q, forward.k, &forward.v, params, Types::fast);
  check(call, forward, d_o, gradients);
  const base::DefaultFloatEnvironment environment;
  const PoolLease lease(params.threads);
  for (const TensorView<float>* out :
       {&gradients.d_q, &gradients.d_k, &gradients.d_v, &gradients.d_bias, &gradients.d_sinks, &gradients.d_mask})
    clear(*out, lease.pool());
  if (call.heads == 0 || call.rows == 0) return;
  const auto serve = [&](const Piece& piece, base::ThreadPool& pool) {
    BackwardJob job{&call, &piece, &forward, &d_o, &gradients};
    run_backward(job, pool);
    if (gradients.d_sinks.data != nullptr) add_sinks(job, pool);
  };
  // Sums over the batch are made in its order, so pieces cannot run side by side there.
  if (gradients.d_bias.data == nullptr && gradients.d_sinks.data == nullptr)
    over_pieces(call, lease.pool(), serve);
  else
    for (const Piece& piece : call.pieces) serve(piece, lease.pool());
}

double attention_backward_error_factor(const BackwardSize& size) {
  // p = e^(s - lse): the score's error twice (its own, the LSE's), the LSE's rounding and that of the difference, at
  // most 2 largest + ln keys, the row sum's chain, exp.
  const auto keys = static_cast<double>(std::max<int64_t>(1, size.keys)), rows = static_cast<double>(size.rows);
  const double lse = size.largest + std::log(keys);
  const double p = 2 * (static_cast<double>(size.dim) + 6) * size.largest + 2 * lse + 2 * size.largest + 36 + 2.2;
  // dP is one chain over Dv; delta is one over Dv / 16, of an O with the forward's error.
  const double ds =
      p + static_cast<double>(size.value_dim) + 8 + attention_error_factor(size.dim, size.keys, size.largest);
  // Sums over rows and keys: chains of at most 384, and one addition per block; a slope of the softcap, scale.
  const double sums = std::min(std::max(rows, keys), 384.0) + std::max(rows, keys) / 256 + 3;
  return ds + sums + 8;
}

}  // namespace bareattn
