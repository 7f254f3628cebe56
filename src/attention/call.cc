// See call.h: the checks. Sizes of products are checked too, so that no later offset can wrap.
#include "attention/call.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "attention/overlap.h"
#include "attention/shared_pool.h"
#include "attention/widen.h"

namespace bareattn::attend {
namespace {

std::string text(int64_t n) { return std::to_string(n); }

void check_type(const char* name, const ConstTensor& tensor, Types types) {
  const bool known = tensor.dtype == DType::f32 || tensor.dtype == DType::f16 || tensor.dtype == DType::bf16 ||
                     (tensor.dtype == DType::f64 && types == Types::reference);
  if (!known) refuse(name, bareattn::name(tensor.dtype), "float32, float16 or bfloat16");
}

void check_tensor(const char* name, const ConstTensor& tensor, Types types) {
  if (tensor.rank != 4) refuse(name, "rank " + text(tensor.rank), "rank 4: [batch, heads, length, dim]");
  for (int axis = 0; axis < 4; ++axis)
    if (tensor.shape[axis] < 0) refuse(name, "shape " + shape_text(tensor), "no negative size");
  check_type(name, tensor, types);
  if (tensor.data == nullptr && tensor.size() != 0)
    refuse(name, "a null pointer", "data of shape " + shape_text(tensor));
}

void check_heads(const Call& call) {
  if (call.heads == 0) return;
  if (call.kv_heads == 0 || call.heads % call.kv_heads != 0)
    refuse("q, k", text(call.heads) + " query heads, " + text(call.kv_heads) + " key-value heads",
           "a number of query heads that the key-value heads divide");
}

void check_per_head(const char* name, size_t given, int64_t heads) {
  if (given != 0 && given != static_cast<size_t>(heads))
    refuse(name, text(static_cast<int64_t>(given)) + " values", text(heads) + ", one per query head");
}

void check_scalars(const AttentionParams& params) {
  if (params.left_window < -1) refuse("left_window", text(params.left_window), "-1 (unbounded) or more");
  if (params.right_window < -1) refuse("right_window", text(params.right_window), "-1 (unbounded) or more");
  if (params.leading_keys < 0) refuse("leading_keys", text(params.leading_keys), "0 or more");
  if (!(params.softcap >= 0) || std::isinf(params.softcap))
    refuse("softcap", std::to_string(params.softcap), "0 (off) or a finite positive number");
  if (params.threads < 0 || params.threads > max_threads)
    refuse("threads", text(params.threads), "0 (all cores) to " + text(max_threads));
  // What is measured of a row counts its distance from a block of keys in 32 bits.
  constexpr int64_t limit = int64_t{1} << 30;
  if (params.offset && (*params.offset > limit || *params.offset < -limit))
    refuse("offset", text(*params.offset), "-2^30 to 2^30");
}

// A width that no two positions are apart is none; so that a position and a width can be added without a look.
int64_t window_of(int64_t given) { return given > (int64_t{1} << 62) ? Window::unbounded : given; }

std::vector<int64_t> checked_bounds(const char* name, std::span<const int64_t> bounds, int64_t total) {
  std::vector<int64_t> list(bounds.begin(), bounds.end());
  if (list.empty() || list.front() != 0 || list.back() != total)
    refuse(name, list.empty() ? "nothing" : text(list.front()) + " .. " + text(list.back()), "0 .. " + text(total));
  for (size_t i = 1; i < list.size(); ++i)
    if (list[i] < list[i - 1]) refuse(name, text(list[i]) + " after " + text(list[i - 1]), "ascending numbers");
  return list;
}

void make_pieces(Call& call, std::span<const int64_t> lengths) {
  const AttentionParams& params = *call.params;
  const int64_t seen = call.mask.rank == 0 ? call.keys : std::min(call.keys, call.mask.shape[3]);
  const auto place = [&](Piece piece, int64_t length) {
    piece.visible = std::clamp<int64_t>(seen - piece.key, 0, length);
    const bool last = params.causal_align == CausalAlign::bottom_right;
    piece.first_row = params.offset ? *params.offset : last ? length - piece.rows : 0;
    call.pieces.push_back(piece);
  };
  if (params.cu_seqlens_q.empty() && params.cu_seqlens_k.empty()) {
    for (int64_t b = 0; b < call.batch; ++b) {
      const int64_t length = lengths.empty() ? call.keys : lengths[static_cast<size_t>(b)];
      place({b, 0, call.rows, 0, length, 0, 0}, length);
    }
    return;
  }
  if (call.batch != 1) refuse("q", "batch " + text(call.batch), "batch 1 with cu_seqlens: sequences lie on one axis");
  if (!params.kv_lengths.empty()) refuse("kv_lengths", "lengths beside cu_seqlens", "one of the two");
  if (!lengths.empty()) refuse("cu_seqlens_q", "packed sequences against a cache", "batch entries");
  const auto q = checked_bounds("cu_seqlens_q", params.cu_seqlens_q, call.rows);
  const auto k = checked_bounds("cu_seqlens_k", params.cu_seqlens_k, call.keys);
  if (q.size() != k.size())
    refuse("cu_seqlens_k", text(static_cast<int64_t>(k.size())) + " bounds",
           text(static_cast<int64_t>(q.size())) + ", as many as cu_seqlens_q has");
  for (size_t i = 1; i < q.size(); ++i)
    place({0, q[i - 1], q[i] - q[i - 1], k[i - 1], k[i] - k[i - 1], 0, 0}, k[i] - k[i - 1]);
}

// Mask axes to [B, Hq, Sq, keys], repeated ones with stride 0; types that the kernels do not read become f32.
void take_mask(Call& call) {
  const ConstTensor& given = call.params->attn_mask;
  if (given.rank == 0) return;
  const std::string shape = shape_text(given);
  if (given.rank < 1 || given.rank > 4) refuse("attn_mask", "rank " + text(given.rank), "rank 1 to 4");
  if (given.dtype == DType::f64) refuse("attn_mask", "float64", "bool, float32, float16 or bfloat16");
  const int64_t wanted[4] = {call.batch, call.heads, call.rows, call.keys};
  ConstTensor mask = given;
  mask.rank = 4;
  for (int axis = 0; axis < 4; ++axis) {
    const int from = axis - (4 - given.rank);
    mask.shape[axis] = from < 0 ? 1 : given.shape[from];
    mask.stride[axis] = from < 0 ? 0 : given.stride[from];
    const bool fits = axis == 3 ? mask.shape[3] >= 0 && mask.shape[3] <= wanted[3]
                                : mask.shape[axis] == 1 || mask.shape[axis] == wanted[axis];
    if (!fits)
      refuse("attn_mask", "shape " + shape,
             "something that repeats to [" + text(wanted[0]) + ", " + text(wanted[1]) + ", " + text(wanted[2]) + ", " +
                 text(wanted[3]) + "]");
    if (axis < 3 && mask.shape[axis] == 1) mask.stride[axis] = 0;
  }
  if (mask.dtype != DType::boolean && !is_plain(mask)) {
    std::array<int64_t, 4> n = mask.shape, step{};
    call.mask_floats.resize(static_cast<size_t>(n[0] * n[1] * n[2] * n[3]));
    for (int64_t i = 0, at = 0; i < n[0]; ++i)
      for (int64_t j = 0; j < n[1]; ++j)
        for (int64_t r = 0; r < n[2]; ++r, at += n[3])
          widen(mask.dtype, address(mask, i, j, r, 0), mask.stride[3], n[3], call.mask_floats.data() + at);
    step = {n[1] * n[2] * n[3], n[2] * n[3], n[3], 1};
    for (int axis = 0; axis < 3; ++axis) mask.stride[axis] = n[axis] == 1 ? 0 : step[axis];
    mask.stride[3] = 1;
    mask.data = call.mask_floats.data();
    mask.dtype = DType::f32;
  }
  call.mask = mask;
}

void check_bias(const Call& call) {
  const SpanBias* bias = call.params->bias;
  if (bias == nullptr) return;
  check_per_head("bias.head_scale", bias->head_scale.size(), call.heads);
  if (bias->value.empty()) return;
  for (const auto& [name, count] : {std::pair{"bias.row_spans", bias->row_spans}, {"bias.key_spans", bias->key_spans}})
    if (count < 1 || count > 256) refuse(name, text(count), "1 to 256");
  const int64_t values = call.heads * bias->row_spans * bias->key_spans;
  if (static_cast<int64_t>(bias->value.size()) != values)
    refuse("bias.value", text(static_cast<int64_t>(bias->value.size())) + " values",
           text(values) + ": [Hq, row_spans, key_spans]");
  const auto check = [](const char* name, std::span<const uint8_t> spans, int64_t positions, int64_t count) {
    if (static_cast<int64_t>(spans.size()) < positions)
      refuse(name, text(static_cast<int64_t>(spans.size())) + " positions", text(positions));
    for (uint8_t span : spans)
      if (span >= count) refuse(name, "span " + text(span), "less than " + text(count));
  };
  for (const Piece& piece : call.pieces) {
    if (piece.first_row < 0) refuse("bias", "a first row at position " + text(piece.first_row), "0 or more");
    check("bias.row_span", bias->row_span, piece.first_row + piece.rows, bias->row_spans);
    check("bias.key_span", bias->key_span, piece.keys, bias->key_spans);
  }
}

void check_returns(const Call& call) {
  const AttentionReturns& returns = call.params->returns;
  if (!returns.statistics.empty() && static_cast<int64_t>(returns.statistics.size()) != call.batch)
    refuse("statistics", text(static_cast<int64_t>(returns.statistics.size())) + " entries",
           text(call.batch) + ", one per batch entry");
  for (const AttentionStatistics& statistics : returns.statistics) {
    if (statistics.pool_sum == nullptr && statistics.pool_max == nullptr) continue;
    if (!is_pool_block(statistics.pool_block))
      refuse("pool_block", text(statistics.pool_block), "1, 2, 4, 8 or a multiple of 16");
    for (const Piece& piece : call.pieces)
      if (piece.first_row < 0) refuse("pool_sum", "a first row at position " + text(piece.first_row), "0 or more");
    if (!call.params->cu_seqlens_q.empty()) refuse("pool_sum", "a pooled map of packed sequences", "batch entries");
  }
  if (returns.top_k < 0) refuse("top_k", text(returns.top_k), "0 or more");
  if (returns.top_k > 0 && (returns.top_keys == nullptr || returns.top_weights == nullptr))
    refuse("top_keys, top_weights", "a null pointer", "memory for [B, Hq, Sq, top_k]");
  for (size_t i = 0; i < returns.full_rows.size(); ++i) {
    const int64_t row = returns.full_rows[i];
    if (row < 0 || row >= call.rows || (i > 0 && row <= returns.full_rows[i - 1]))
      refuse("full_rows", "row " + text(row), "ascending rows in [0, " + text(call.rows) + ")");
  }
  if (!returns.full_rows.empty() && returns.full_weights == nullptr)
    refuse("full_weights", "a null pointer", "memory for [B, Hq, rows, Sk]");
}

void finish(Call& call, const AttentionParams& params, std::span<const int64_t> lengths) {
  call.params = &params;
  check_heads(call);
  check_scalars(params);
  check_per_head("alibi_slopes", params.alibi_slopes.size(), call.heads);
  check_per_head("sinks", params.sinks.size(), call.heads);
  call.scale = params.scale.value_or(default_scale(call.dim));
  call.window.left =
      params.leading_keys > 0 ? Window::unbounded : window_of(params.left_window);  // else terms() has it
  call.window.right = params.is_causal ? 0 : window_of(params.right_window);
  if (!params.kv_lengths.empty()) {
    if (static_cast<int64_t>(params.kv_lengths.size()) != call.batch)
      refuse("kv_lengths", text(static_cast<int64_t>(params.kv_lengths.size())) + " lengths",
             text(call.batch) + ", one per batch entry");
    for (int64_t length : params.kv_lengths)
      if (length < 0 || length > call.keys) refuse("kv_lengths", text(length), "0 to " + text(call.keys));
    if (lengths.empty()) lengths = params.kv_lengths;
  }
  take_mask(call);
  make_pieces(call, lengths);
  check_bias(call);
  check_returns(call);
}

}  // namespace

void refuse(const std::string& argument, const std::string& given, const std::string& needed) {
  throw std::invalid_argument(argument + ": given " + given + "; needed " + needed);
}

std::string shape_text(const ConstTensor& tensor) {
  std::string out = "[";
  for (int axis = 0; axis < tensor.rank; ++axis) out += (axis ? ", " : "") + text(tensor.shape[axis]);
  return out + "]";
}

ScoreTerms Call::terms(const Piece& piece, int64_t skip) const {
  ScoreTerms terms;
  terms.softcap = params->softcap;
  terms.alibi_slopes = params->alibi_slopes;
  terms.bias = params->bias;
  terms.sinks = params->sinks;
  if (params->leading_keys > 0) {
    terms.window = window_of(params->left_window);
    terms.leading_keys = params->leading_keys;
  }
  if (mask.rank == 0 || piece.visible == 0) return terms;
  const void* first = address(mask, piece.batch, 0, piece.row + skip, piece.key);
  const auto view = [&](auto* data) {
    return TensorView(data, {heads, piece.rows - skip, piece.visible},
                      {mask.stride[1], mask.stride[2], mask.stride[3]});
  };
  if (mask.dtype == DType::boolean) {
    terms.mask.kind = MaskView::Kind::boolean;
    terms.mask.seen = view(static_cast<const uint8_t*>(first));
  } else {
    terms.mask.kind = MaskView::Kind::additive;
    terms.mask.additive = view(static_cast<const float*>(first));
  }
  return terms;
}

Call make_call(const ConstTensor& q, const ConstTensor& k, const ConstTensor* v, const AttentionParams& params,
               Types types) {
  check_tensor("q", q, types);
  check_tensor("k", k, types);
  if (v != nullptr) check_tensor("v", *v, types);
  const auto same = [](const char* names, const char* axis, int64_t a, int64_t b) {
    if (a != b) refuse(names, std::string(axis) + " " + text(a) + " and " + text(b), "the same");
  };
  same("q, k", "batch", q.shape[0], k.shape[0]);
  same("q, k", "head dim", q.shape[3], k.shape[3]);
  if (v != nullptr) {
    same("k, v", "batch", k.shape[0], v->shape[0]);
    same("k, v", "key-value heads", k.shape[1], v->shape[1]);
    same("k, v", "length", k.shape[2], v->shape[2]);
  }
  for (const ConstTensor* other : {&k, v})
    if (other != nullptr && other->dtype != q.dtype)
      refuse(other == &k ? "k" : "v", bareattn::name(other->dtype),
             std::string(bareattn::name(q.dtype)) + ", as q has");
  Call call;
  call.batch = q.shape[0];
  call.heads = q.shape[1];
  call.kv_heads = k.shape[1];
  call.rows = q.shape[2];
  call.keys = k.shape[2];
  call.dim = q.shape[3];
  call.value_dim = v == nullptr ? 0 : v->shape[3];
  finish(call, params, {});
  return call;
}

Call make_call(const ConstTensor& q, const CachedKeys& keys, const AttentionParams& params, Types types) {
  check_tensor("q", q, types);
  if (q.shape[0] != keys.batch) refuse("q", "batch " + text(q.shape[0]), text(keys.batch) + ", as the cache has");
  if (q.shape[3] != keys.dim) refuse("q", "head dim " + text(q.shape[3]), text(keys.dim) + ", as the cache has");
  Call call;
  call.batch = q.shape[0];
  call.heads = q.shape[1];
  call.kv_heads = keys.kv_heads;
  call.rows = q.shape[2];
  call.dim = q.shape[3];
  call.value_dim = keys.value_dim;
  for (int64_t length : keys.lengths) call.keys = std::max(call.keys, length);
  if (!params.kv_lengths.empty()) refuse("kv_lengths", "lengths beside a cache", "none: the cache knows them");
  finish(call, params, keys.lengths);
  return call;
}

void check_output(const Call& call, const MutableTensor& o, std::span<const NamedTensor> inputs, Types types) {
  check_tensor("o", o, types);
  const int64_t wanted[4] = {call.batch, call.heads, call.rows, call.value_dim};
  for (int axis = 0; axis < 4; ++axis)
    if (o.shape[axis] != wanted[axis])
      refuse("o", "shape " + shape_text(o),
             "[" + text(wanted[0]) + ", " + text(wanted[1]) + ", " + text(wanted[2]) + ", " + text(wanted[3]) + "]");
  check_overlap("o", o, inputs);
}

void check_overlap(const char* output_name, const ConstTensor& output, std::span<const NamedTensor> inputs) {
  if (overlaps_itself(output)) refuse(output_name, "strides by which elements share memory", "one place per element");
  for (const NamedTensor& input : inputs)
    if (input.tensor != nullptr && may_overlap(output, *input.tensor))
      refuse(output_name, std::string("memory that overlaps ") + input.name, "memory of its own");
}

}  // namespace bareattn::attend

namespace bareattn {

float default_scale(int64_t dim) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(std::max<int64_t>(1, dim))));  // D = 0: scores are 0
}

}  // namespace bareattn
