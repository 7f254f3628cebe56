// Exact attention on the CPU, every weight observable. O = softmax(softcap(scale * Q K^T) + bias) V, the order of the
// ONNX Attention operator. What is returned beside O is exact and costs O(N) memory: nothing N x N is ever allocated.
// One call is attention(q, k, v, o, params) at the end of this file; keys that stay are attention_cache.h, rectangles
// of weights are weights.h.
#pragma once
#include <cstdint>
#include <optional>
#include <span>

#include "bareattn/tensor.h"
#include "bareattn/tensor_view.h"

namespace bareattn {

/// Column sums and pooled sums are kept in fixed point, so that any order of addition gives the same bits.
/// One weight p in [0, 1] is rounded to a multiple of 2^-27 (error <= 3.8e-9).
inline constexpr int weight_fraction_bits = 27;
inline double from_fixed(uint64_t sum) { return static_cast<double>(sum) / (1 << weight_fraction_bits); }

/// Tokens a side that a block of a pooled map may have.
constexpr bool is_pool_block(int64_t tokens) {
  return tokens > 0 && (tokens % 16 == 0 || tokens == 1 || tokens == 2 || tokens == 4 || tokens == 8);
}

/// Where one call writes what it saw. Every pointer may be null: not wanted, not paid for.
/// Per-row arrays are [Hq, rows] with `row_stride` elements from head to head. All logarithms are natural.
struct AttentionStatistics {
  int64_t row_stride = 0;
  float* lse = nullptr;              // log sum exp of the row's logits (sink included); -inf: no visible key
  float* max_logit = nullptr;        // largest visible logit
  float* row_sum = nullptr;          // sum of e^(logit - max_logit): with max_logit, what weights() can be given
  int32_t* max_key = nullptr;        // its key, the first one on a tie; -1: no visible key
  float* entropy = nullptr;          // -sum p ln p, nats
  float* sum_squares = nullptr;      // sum p^2; 1 / it is the participation ratio
  float* mean_distance = nullptr;    // sum p (position of the row - j), tokens
  float* first_mass = nullptr;       // weight on key 0
  float* self_weight = nullptr;      // weight on the row's own key
  float* previous_weight = nullptr;  // weight on the key before it (0 for the first row)
  float* recent_mass = nullptr;      // weight on the last 64 keys, the row's own included
  // sqrt(sum p (distance - mean_distance)^2), tokens. Its square is within 600 * 2^-24 * 256^2 (2.4) of the exact one,
  // and mostly within 0.05: sums of 512 keys in f32.
  float* distance_spread = nullptr;
  // Sums over keys chosen by the caller: sum_j p_ij g[j][c] with g = key_columns [Sk, columns] (an indicator of a span
  // gives the weight on the span), into [columns, Hq, rows], `column_stride` from column to column. Within
  // (600 + blocks of 512 keys) * 2^-24 * sum_j p_ij |g|. They cost what `columns` + 2, rounded up to 16, more columns
  // of V do.
  int columns = 0;
  int64_t column_stride = 0;
  const float* key_columns = nullptr;
  float* column_sums = nullptr;
  // Per key, added to (the caller zeroes them): [Hq, Sk] with `key_stride` from head to head, fixed point.
  int64_t key_stride = 0;
  uint64_t* received = nullptr;  // sum over rows of the weight on this key
  // Map of `pool_block` x `pool_block` cells over absolute positions, causal half only: row block r, key block c <= r
  // at r (r + 1) / 2 + c; `pool_stride` elements from head to head. pool_block: see is_pool_block. Added to /
  // maximised.
  int pool_block = 0;
  int64_t pool_stride = 0;
  uint64_t* pool_sum = nullptr;  // fixed point
  float* pool_max = nullptr;
};

/// A mask over [Hq, Sq, Sk] of one sequence; any stride may be 0 (broadcast) or negative.
struct MaskView {
  enum class Kind { none, boolean, additive };  // boolean: true = seen; additive: added to the score, -inf = not seen
  Kind kind = Kind::none;
  TensorView<const uint8_t> seen;    // [Hq, Sq, Sk]
  TensorView<const float> additive;  // [Hq, Sq, Sk]
};

/// A bias by spans, the one table of steering: score(h, i, j) += value[h][row_span[i]][key_span[j]]; -inf cuts the
/// edge. Rows and keys name their span by small integers, so the table costs O(Sq + Sk) whatever the spans' shapes.
struct SpanBias {
  int row_spans = 0, key_spans = 0;
  std::span<const uint8_t> row_span;  // [positions]: span of the row at each absolute position
  std::span<const uint8_t> key_span;  // [positions]
  std::span<const float> value;       // [Hq, row_spans, key_spans]
  std::span<const float> head_scale;  // [Hq]: multiplies the scores of a head (inverse temperature); empty = 1
};

/// Everything that is done to scores after scale * q.k.
struct ScoreTerms {
  float softcap = 0;                    // c: s = c tanh(s / c); 0 = off
  std::span<const float> alibi_slopes;  // [Hq]: s += slope * (j - position of the row)
  const SpanBias* bias = nullptr;
  MaskView mask;
  std::span<const float> sinks;  // [Hq]: a logit that joins the denominator and the LSE, never the blend
  // Where window >= 0: keys [leading_keys, position of the row - window) are not seen, and blocks of them are skipped.
  int64_t window = -1, leading_keys = 0;
};

enum class CausalAlign : uint8_t {
  top_left,      // row i stands at position i
  bottom_right,  // the last row stands at the last key: row i at i + Sk - Sq (Sk: the entry's kv_length)
};

/// What is returned beside O, from the same pass. Everything is per batch entry b; with cu_seqlens B is 1 and rows and
/// keys count over the whole packed axis (keys named by index count from their own sequence's first).
struct AttentionReturns {
  std::span<const AttentionStatistics> statistics;  // [B] or empty
  // The `top_k` keys of largest weight per row, largest first, the smaller index first on a tie. Where fewer keys are
  // seen: key -1 and weight 0 (NaN in a row of NaN).
  int top_k = 0;
  int32_t* top_keys = nullptr;   // [B, Hq, Sq, top_k]
  float* top_weights = nullptr;  // [B, Hq, Sq, top_k]
  // All weights of selected rows (ascending); 0 where a key is not seen.
  std::span<const int64_t> full_rows;
  float* full_weights = nullptr;  // [B, Hq, full_rows, Sk]
};

/// 1 / sqrt(D), what attention() multiplies q.k by where nothing else is said.
float default_scale(int64_t dim);

/// How the two products are computed. f32: exact products of the inputs as they are. bf16: q, k, v and, before the
/// blend, the weights are rounded to bf16 (nearest even; bf16 inputs lose nothing), products are summed in f32 in the
/// hardware's pair order; about twice as fast where the processor has a bf16 dot, and the same bits where it has not.
/// Each output is then within 2^-8 of sum_j p_j |v_j| of the f32 result of the rounded inputs. Softmax, statistics and
/// weights() are f32 in both.
enum class Compute : uint8_t { f32, bf16 };

/// Names and meaning of the ONNX Attention operator. Row i of batch entry b stands at position first + i among the
/// keys, first = `offset` or what causal_align says; windows, causality and ALiBi count from there.
struct AttentionParams {
  std::optional<float> scale;  // none: default_scale(D)
  bool is_causal = false;      // key j <= position of the row
  CausalAlign causal_align = CausalAlign::top_left;
  std::optional<int64_t> offset;  // position of row 0, e.g. the number of keys that were there before
  int64_t left_window = -1;       // key j >= position - left_window; -1: unbounded
  int64_t leading_keys = 0;       // ... and the first keys, which are seen beside the left window
  int64_t right_window = -1;      // key j <= position + right_window; -1: unbounded
  float softcap = 0;              // c: s = c tanh(s / c); 0: off
  // Boolean (true: seen) or additive in f32, f16, bf16; rank 1 to 4, aligned to the right of [B, Hq, Sq, Sk]; 1 is
  // repeated, except that a last axis shorter than Sk hides the keys past it.
  ConstTensor attn_mask;
  const SpanBias* bias = nullptr;
  std::span<const float> alibi_slopes;  // [Hq]
  std::span<const float> sinks;         // [Hq]
  std::span<const int64_t> kv_lengths;  // [B]: keys past it are not seen (ONNX nonpad_kv_seqlen); empty: all are
  // Variable length: sequences one after the other on one axis, B = 1. [sequences + 1], from 0 to Sq (Sk), ascending.
  std::span<const int64_t> cu_seqlens_q, cu_seqlens_k;
  Compute compute = Compute::f32;  // reference_attention() and the backward pass are f32 always
  int threads = 0;                 // 0: one per available core. The bits of the result never depend on it.
  AttentionReturns returns;
};

/// O [B, Hq, Sq, Dv] of Q [B, Hq, Sq, D], K [B, Hkv, Sk, D], V [B, Hkv, Sk, Dv]; any strides; Hkv divides Hq and query
/// head h reads key-value head h / (Hq / Hkv). All in one of f32, f16, bf16 (O may differ). 16-bit inputs are widened
/// exactly, so the result is the f32 attention of the widened values, rounded once where O is 16-bit.
///
/// Error of each element against exact arithmetic, inputs as they are: |o - exact| <= c eps sum_j p_j |v_j|, with
/// eps = 2^-24 and c = attention_error_factor(). A row that sees no key is 0 with LSE -inf. What is not seen never
/// shows, NaN and infinity included; a NaN that is seen shows, in its own rows.
///
/// std::invalid_argument for shapes, types or values that do not fit, and for an O that overlaps an input or itself.
/// Memory beyond the arguments: the packed keys and values of one sequence per running thread, and O(threads * tile).
/// May be called from any thread at any time; the floating-point environment of the caller has no influence.
void attention(const ConstTensor& q, const ConstTensor& k, const ConstTensor& v, const MutableTensor& o,
               const AttentionParams& params = {});

/// The same, slow and clear, in f64: the oracle of the tests, and the place to read what each parameter means. Takes
/// f64 tensors as well; statistics are rounded to their type once. Its fixed-point sums differ from attention()'s by
/// the rounding of each weight.
void reference_attention(const ConstTensor& q, const ConstTensor& k, const ConstTensor& v, const MutableTensor& o,
                         const AttentionParams& params = {});

/// The factor c of the bound above for dot products of length D over at most `keys` visible keys whose scores are at
/// most `largest` in size: what |q . k| scale, bias and the maximum lose, what exp loses, and what the blend loses.
double attention_error_factor(int64_t dim, int64_t keys, double largest);

/// Two results over disjoint sets of keys become one: o1 [rows, Dv] and lse1 [rows] take in o2 and lse2. Rows of lse
/// -inf have seen nothing. Order matters only to rounding.
void merge_partial(TensorView<float> o1, TensorView<float> lse1, TensorView<const float> o2,
                   TensorView<const float> lse2);

}  // namespace bareattn
