// The gradients of attention(): what the forward call was given, what it gave (O and the LSE), dO, and where each
// gradient goes. Exact, repeatable, nothing N x N: the weights are computed again from the LSE, tile by tile. All
// parameters of the forward are understood except `returns`; types are those of attention().
#pragma once
#include "bareattn/attention.h"

namespace bareattn {

/// What attention() was given and gave. `lse` is AttentionStatistics.lse: log sum exp of each row, sink included.
struct AttentionForward {
  ConstTensor q;                // [B, Hq, Sq, D]
  ConstTensor k;                // [B, Hkv, Sk, D]
  ConstTensor v;                // [B, Hkv, Sk, Dv]
  ConstTensor o;                // [B, Hq, Sq, Dv]
  TensorView<const float> lse;  // [B, Hq, Sq]
};

/// Where the gradients go: f32, any strides, overwritten. Null data: not wanted, and its share of the work not done.
struct AttentionGradients {
  TensorView<float> d_q;      // [B, Hq, Sq, D]
  TensorView<float> d_k;      // [B, Hkv, Sk, D], summed over the heads of the group
  TensorView<float> d_v;      // [B, Hkv, Sk, Dv], likewise
  TensorView<float> d_bias;   // [Hq, row_spans, key_spans]: of params.bias->value, summed over the batch
  TensorView<float> d_sinks;  // [Hq]: of params.sinks, summed over the batch
  TensorView<float> d_mask;   // [B, Hq, Sq, Sk]: of an additive mask, before any sum over its repeated axes; 0 where a
                              // key is not seen. The only one that costs memory N x N, which is the caller's.
};

/// With s the score after all terms, p = e^(s - lse), delta = sum over e of dO O:
///   dV = p^T dO,  dS = p (dO V^T - delta),  dQ = scale dS K,  dK = scale dS^T Q,  d_sinks = -sum e^(sink - lse) delta
/// (with a softcap, dS further times 1 - tanh^2 before dQ and dK). d_bias and d_mask are sums of dS.
///
/// The bits of every gradient are the same for any number of threads: dK and dV of a key are added up over the heads of
/// its group and blocks of 384 rows in order, dQ of a row over blocks of 256 keys in order (docs/arithmetic.md).
/// p here comes from the LSE, one rounded number, where the forward divides by the row sum: it differs from the
/// forward's weight by a relative error of at most (|lse| + 3) 2^-24, and the same exp.
/// What is not seen never shows, NaN and infinity included; a NaN that is seen shows in its row's dQ and in dK and dV
/// of the keys that the row sees. A row that sees no key has no gradient (0). Boolean masks have none.
///
/// std::invalid_argument for what does not fit: d_o [B, Hq, Sq, Dv] like o, both of q's type or f32.
/// Memory beyond the arguments: O(threads * 256 * (D + Dv)), one table d_bias per thread if wanted, and 8 bytes per 256
/// keys.
///
/// From another language: every view is a pointer, a shape and strides in elements, so a buffer that is [B, S, H, D] is
/// passed by its strides (bshd() in tensor.h) and nothing needs a copy; an autograd function saves q, k, v, o and lse.
void attention_backward(const AttentionForward& forward, const ConstTensor& d_o, const AttentionGradients& gradients,
                        const AttentionParams& params = {});

/// Error of each element against exact gradients of the inputs as they are, with O and LSE as attention() gave them:
/// at most c eps times the same sums over absolute values, eps = 2^-24. That is, with a = |dO| |V|^T for dP and sum p a
/// for delta: dV: p^T |dO|; dS: p (a + sum p a); dQ, dK, d_bias, d_sinks: from that dS with |K|, |Q|, 1.
struct BackwardSize {
  int64_t dim, value_dim;
  int64_t rows;  // times the heads of a group: what is added up into one dK
  int64_t keys;
  double largest;  // of any visible score: sum |q k| scale, and its terms
};
double attention_backward_error_factor(const BackwardSize& size);

}  // namespace bareattn
