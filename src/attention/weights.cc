// See bareattn/weights.h: the checks, and rows handed out to the workers, 6 at a time (rows_weights.h).
#include "bareattn/weights.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "attention/overlap.h"
#include "attention/rows_weights.h"
#include "attention/serve.h"
#include "attention/shared_pool.h"
#include "attention/widen.h"
#include "base/float_environment.h"

namespace bareattn {
namespace attend {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

void check_rectangle(const Call& call, Rectangle& rectangle, const MutableTensor& out) {
  const auto clip = [](const char* name, int64_t& begin, int64_t& end, int64_t size) {
    if (end == -1) end = size;
    if (begin < 0 || begin > end || end > size)
      refuse(name, std::to_string(begin) + " to " + std::to_string(end),
             "a range in [0, " + std::to_string(size) + "]");
  };
  clip("rows", rectangle.row_begin, rectangle.row_end, call.rows);
  clip("keys", rectangle.key_begin, rectangle.key_end, call.keys);
  if ((rectangle.max_logit == nullptr) != (rectangle.row_sum == nullptr))
    refuse("max_logit, row_sum", "one of them", "both or none");
  const int64_t wanted[4] = {call.batch, call.heads, rectangle.row_end - rectangle.row_begin,
                             rectangle.key_end - rectangle.key_begin};
  bool fits = out.rank == 4 && out.dtype == DType::f32 && is_plain(out);
  for (int axis = 0; axis < 4 && fits; ++axis) fits = out.shape[axis] == wanted[axis];
  if (!fits)
    refuse("out", std::string(name(out.dtype)) + " of shape " + shape_text(out),
           "float32 of shape [" + std::to_string(wanted[0]) + ", " + std::to_string(wanted[1]) + ", " +
               std::to_string(wanted[2]) + ", " + std::to_string(wanted[3]) + "]");
}

}  // namespace
}  // namespace attend

void weights(const ConstTensor& q, const ConstTensor& k, const MutableTensor& out, const Rectangle& given,
             const AttentionParams& params) {
  using namespace attend;  // NOLINT: the floor's own names
  const Call call = make_call(q, k, nullptr, params, Types::fast);
  Rectangle rectangle = given;
  check_rectangle(call, rectangle, out);
  const NamedTensor inputs[] = {{"q", &q}, {"k", &k}, {"attn_mask", &params.attn_mask}};
  check_overlap("out", out, inputs);
  if (out.size() == 0) return;
  const base::DefaultFloatEnvironment environment;
  const PoolLease lease(params.threads);
  base::ThreadPool& pool = lease.pool();
  const int64_t columns = rectangle.key_end - rectangle.key_begin, lines = rectangle.row_end - rectangle.row_begin;
  float* const base = static_cast<float*>(out.data);
  const bool hide = rectangle.stage == ScoreStage::biased;
  pool.run(call.batch * call.heads * lines, [&](int64_t task, int) {  // where no piece writes: between sequences
    const int64_t line = task % lines, head = task / lines % call.heads, batch = task / lines / call.heads;
    float* to = base + batch * out.stride[0] + head * out.stride[1] + line * out.stride[2];
    for (int64_t j = 0; j < columns; ++j) to[j * out.stride[3]] = hide ? -infinity : 0.0F;
  });
  const bool every_key = rectangle.stage < ScoreStage::biased;  // neither lengths nor the mask have a say yet
  for (Piece piece : call.pieces) {
    if (every_key) piece.visible = params.cu_seqlens_q.empty() ? call.keys : piece.keys;
    const KeySpan rows{std::max(rectangle.row_begin, piece.row), std::min(rectangle.row_end, piece.row + piece.rows)};
    const KeySpan keys{std::max(rectangle.key_begin, piece.key),
                       std::min(rectangle.key_end, piece.key + piece.visible)};
    if (rows.begin >= rows.end || keys.begin >= keys.end) continue;
    ScoreTerms terms = every_key ? ScoreTerms{} : call.terms(piece);
    if (every_key) terms.softcap = params.softcap;
    if (every_key) terms.bias = params.bias;  // for its scale of the head
    Scratch scratch(call, 0, piece.visible);
    pack({&k, nullptr}, piece, 0, piece.visible, scratch.cache(), pool);
    const Weighing by{call, piece, terms, scratch.cache(), rectangle};
    const int64_t groups = (rows.end - rows.begin + kernels::tile_rows - 1) / kernels::tile_rows;
    pool.run(groups * call.heads, [&](int64_t task, int) {
      const int64_t row = rows.begin + task / call.heads * kernels::tile_rows, head = task % call.heads;
      const int64_t count = std::min<int64_t>(kernels::tile_rows, rows.end - row), width = keys.end - keys.begin;
      std::vector<float> query(static_cast<size_t>(count * call.dim));
      for (int64_t r = 0; r < count; ++r)
        widen(q.dtype, address(q, piece.batch, head, row + r, 0), q.stride[3], call.dim, query.data() + r * call.dim);
      const int64_t dense = (piece.batch * call.heads + head) * lines + row - rectangle.row_begin;
      float* to = base + piece.batch * out.stride[0] + head * out.stride[1] +
                  (row - rectangle.row_begin) * out.stride[2] + (keys.begin - rectangle.key_begin) * out.stride[3];
      const KeySpan shown{keys.begin - piece.key, keys.end - piece.key};
      RowsWeights some(by, {head, row - piece.row, count, dense, query.data()});
      if (out.stride[3] == 1) return some.compute(shown, to, out.stride[2]);
      std::vector<float> made(static_cast<size_t>(count * width));
      some.compute(shown, made.data(), width);
      for (int64_t r = 0; r < count; ++r)
        for (int64_t j = 0; j < width; ++j) to[r * out.stride[2] + j * out.stride[3]] = made[r * width + j];
    });
  }
}

}  // namespace bareattn
