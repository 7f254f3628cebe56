// The front door: check, pack, run. The checks are call.cc's, the arithmetic tile.cc's.
#include "bareattn/attention.h"

#include <cmath>

#include "attention/returns.h"
#include "attention/serve.h"
#include "attention/shared_pool.h"
#include "base/float_environment.h"

namespace bareattn {

void attention(const ConstTensor& q, const ConstTensor& k, const ConstTensor& v, const MutableTensor& o,
               const AttentionParams& params) {
  using namespace attend;  // NOLINT: the floor's own names
  const Call call = make_call(q, k, &v, params, Types::fast);
  const NamedTensor inputs[] = {{"q", &q}, {"k", &k}, {"v", &v}, {"attn_mask", &params.attn_mask}};
  check_output(call, o, inputs, Types::fast);
  if (wants_rows(call)) clear_rows(call);
  if (call.heads == 0 || call.rows == 0) return;
  const base::DefaultFloatEnvironment environment;
  const PoolLease lease(params.threads);
  over_pieces(call, lease.pool(), [&](const Piece& piece, base::ThreadPool& pool) {
    Scratch scratch(call, call.value_dim, piece.visible);
    pack({&k, &v}, piece, 0, piece.visible, scratch.cache(), pool);
    serve_piece(call, piece, q, o, scratch.cache(), pool);
  });
}

double attention_error_factor(int64_t dim, int64_t keys, double largest) {
  // A score is a chain of D fused multiply-adds after one rounding of q scale, so its error is at most (D + 2) eps
  // sum |q_d k_d| scale; `largest` bounds that sum. It moves a weight by twice its size relatively (the weight's own
  // score and the row's sum), as do exp (1.1 ulp = 2.2 eps) and the difference to the maximum (eps * 2 largest). The
  // sum and the blend are chains over at most 512 keys per block plus one merge per block, relative to sum p |v|.
  const double score = (static_cast<double>(dim) + 4) * largest;
  const double blocks = std::ceil(static_cast<double>(keys) / 512);
  const double chain =
      std::min<double>(static_cast<double>(keys), 512) + std::min<double>(static_cast<double>(keys) / 16, 32);
  return 2 * (score + 2 * largest + 2.2) + chain + 6 * blocks + 8;
}

void merge_partial(TensorView<float> o1, TensorView<float> lse1, TensorView<const float> o2,
                   TensorView<const float> lse2) {
  using attend::refuse;
  if (o1.rank != 2 || o2.rank != 2 || o1.shape != o2.shape)
    refuse("o1, o2", attend::shape_text(o1) + " and " + attend::shape_text(o2), "the same shape [rows, Dv]");
  if (lse1.rank != 1 || lse2.rank != 1 || lse1.shape[0] != o1.shape[0] || lse2.shape[0] != o1.shape[0])
    refuse("lse1, lse2", attend::shape_text(lse1) + " and " + attend::shape_text(lse2),
           "[" + std::to_string(o1.shape[0]) + "], one per row of o1");
  const base::DefaultFloatEnvironment environment;
  for (int64_t r = 0; r < o1.shape[0]; ++r) {
    const double a = lse1.at(r), b = lse2.at(r), top = a > b ? a : b;
    if (std::isinf(top) && top < 0 && !std::isnan(a) && !std::isnan(b)) {  // neither has seen a key
      for (int64_t e = 0; e < o1.shape[1]; ++e) o1.at(r, e) = 0.0F;
      continue;
    }
    const double wa = std::exp(a - top), wb = std::exp(b - top), sum = wa + wb;
    lse1.at(r) = static_cast<float>(top + std::log(sum));
    for (int64_t e = 0; e < o1.shape[1]; ++e) {
      // A weight of 0 hides the other's value, NaN included: it has seen nothing.
      const double x = wa == 0 ? 0 : wa * o1.at(r, e), y = wb == 0 ? 0 : wb * o2.at(r, e);
      o1.at(r, e) = static_cast<float>((x + y) / sum);
    }
  }
}

}  // namespace bareattn
