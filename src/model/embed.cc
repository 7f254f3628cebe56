// The ends of a pass: how a token enters the residual stream and how logits leave it; and the two steps that layers and
// ends share, norm and projection. See layer.h.
#include <algorithm>
#include <string>

#include "bareattn/error.h"
#include "kernels/elementwise.h"
#include "kernels/plain.h"
#include "model/layer.h"

namespace bareattn::model {
namespace {

// Rows that one worker takes at a time: their activations (128 * W floats) stay in its L2 beside a weight panel.
constexpr int64_t projection_rows = 128;

}  // namespace

void embed(const Pass& pass, std::span<const int32_t> tokens, int64_t first_row, Rows& x, int64_t at) {
  const Architecture& a = pass.architecture;
  const Weights& weights = pass.weights;
  const auto rows = static_cast<int64_t>(tokens.size());
  if (a.learned_positions && first_row + rows > a.context_length) {
    throw InputError("the text is longer than the " + std::to_string(a.context_length) +
                     " positions that the model has learned; there is nothing to go on with");
  }
  for (int64_t r = 0; r < rows; ++r) {
    float* row = x.row(at + r);
    look_up(weights, a.width, tokens[static_cast<size_t>(r)], row);
    if (a.embedding_scale != 1.0F) kernels::scale(a.embedding_scale, a.width, row);
    if (a.learned_positions) kernels::add(weights.positions.data() + (first_row + r) * a.width, a.width, row);
    if (a.token_type) kernels::add(weights.token_type.data(), a.width, row);
  }
  if (a.embedding_norm) normalize(pass, x, {at, rows}, weights.embedding_norm, x);
}

void unembed(const Pass& pass, const Rows& x, RowRange range, Rows& normed, float* to) {
  const int64_t first = range.first, rows = range.rows;
  const Architecture& a = pass.architecture;
  const int64_t vocabulary = a.vocab_size;
  if (a.norm_place == NormPlace::sum) {  // what comes in is a norm already
    for (int64_t r = 0; r < rows; ++r) std::copy_n(x.row(first + r), a.width, normed.row(r));
  } else {
    normalize(pass, x, range, pass.weights.final_norm, normed);
  }
  pass.watch.see(Point::ln_final, -1, pass.first_row + first, normed.view(rows));
  project(pass.pool, normed.view(rows), pass.weights.unembedding, to, vocabulary);
  for_rows(pass.pool, rows, [&](int64_t r) {
    if (a.logit_multiplier != 1.0F) kernels::scale(a.logit_multiplier, vocabulary, to + r * vocabulary);
    if (a.logit_softcap != 0.0F) kernels::softcap(a.logit_softcap, vocabulary, to + r * vocabulary);
  });
  pass.watch.see(Point::logits, -1, pass.first_row + first, {to, {rows, vocabulary}});
}

void normalize(const Pass& pass, const Rows& x, RowRange range, const NormWeights& weights, Rows& normed) {
  const Architecture& a = pass.architecture;
  const int64_t first = range.first, at = &x == &normed ? first : 0;  // in place
  for_rows(pass.pool, range.rows, [&](int64_t r) {
    if (a.norm == Norm::rms) {
      kernels::rms_norm(x.row(first + r), weights.weight.data(), a.width, a.norm_epsilon, normed.row(at + r));
      if (!weights.bias.empty()) kernels::add(weights.bias.data(), a.width, normed.row(at + r));
    } else {
      kernels::layer_norm({weights.weight.data(), weights.bias.empty() ? nullptr : weights.bias.data(), a.norm_epsilon},
                          x.row(first + r), a.width, normed.row(at + r));
    }
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
