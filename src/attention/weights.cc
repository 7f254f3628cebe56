// See bareattn/weights.h. The steps are tile.cc's (scores, terms, softmax of a block, merge of the states) and
// tile_observe.cc's (weight = strip * e^(block max - row max) / row sum), on the same kernels in the same order; only
// the blend is left out, and blocks outside the rectangle where the row's state is given.
#include "bareattn/weights.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "attention/modify.h"
#include "attention/overlap.h"
#include "attention/serve.h"
#include "attention/shared_pool.h"
#include "attention/tile.h"
#include "attention/widen.h"
#include "base/float_environment.h"
#include "kernels/convert.h"

namespace bareattn {
namespace attend {
namespace {

using kernels::block_keys;
using kernels::lanes;
using kernels::panel_keys;

constexpr float infinity = std::numeric_limits<float>::infinity();

int64_t up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

struct Span {
  int64_t begin, end;
};

// One row of one head at a time: the task of a worker.
class RowWeights {
 public:
  RowWeights(const Call& call, const Piece& piece, const ScoreTerms& terms, const KvCache& cache,
             const Rectangle& rectangle)
      : call_(call), piece_(piece), terms_(terms), cache_(cache), rectangle_(rectangle), kernels_(kernels::table()) {}

  /// row of the piece; line: of the rectangle's dense row arrays; to[0, columns): keys [columns.begin, columns.end) of
  /// the piece. q [D] as f32.
  void compute(int64_t head, int64_t row, int64_t line, const float* q, Span columns, float* to) {
    prepare(head, row, q);
    const bool all = rectangle_.stage < ScoreStage::biased;
    const Span seen = all ? Span{0, cache_.length()} : seen_;
    const bool given = rectangle_.max_logit != nullptr;
    const bool whole = rectangle_.stage == ScoreStage::weight && !given;
    Span keys = seen;  // to be computed
    if (!whole) keys = {std::max(seen.begin, columns.begin), std::min(seen.end, columns.end)};
    std::fill_n(to, columns.end - columns.begin, rectangle_.stage == ScoreStage::biased ? -infinity : 0.0F);
    if (keys.begin >= keys.end) return;
    const int64_t first = keys.begin / block_keys, last = (keys.end + block_keys - 1) / block_keys;
    strip_.resize(static_cast<size_t>((last - first) * block_keys));
    block_max_.assign(static_cast<size_t>(up(last - first, lanes)), 0.0F);
    State state;
    for (int64_t index = first; index < last; ++index) {
      float* s = strip_.data() + (index - first) * block_keys;
      // What the row sees of the block: all of it, whatever the rectangle needs, since the block's maximum counts.
      const Span here{std::max(seen.begin, index * block_keys) - index * block_keys,
                      std::min(seen.end, (index + 1) * block_keys) - index * block_keys};
      scores(index, here, s);
      if (rectangle_.stage != ScoreStage::weight) continue;
      std::fill_n(s, here.begin, -infinity);
      float& max = block_max_[static_cast<size_t>(index - first)];
      float sum = 0;
      kernels_.softmax_rows({s, 0, 1, &here.end, up(here.end, lanes), nullptr, nullptr, {.max = &max, .sum = &sum}});
      if (!given) state.take(kernels_, max, sum);
    }
    if (rectangle_.stage == ScoreStage::weight) {
      if (given) state.set(rectangle_.max_logit[line], rectangle_.row_sum[line]);
      if (!given && !terms_.sinks.empty()) {
        const float sink = terms_.sinks[static_cast<size_t>(head)];
        state.take(kernels_, sink, sink == -infinity ? 0.0F : 1.0F);
      }
      finish(state.max(), state.sum(), last - first);
    }
    const Span shown{std::max(keys.begin, columns.begin), std::min(keys.end, columns.end)};
    for (int64_t key = shown.begin; key < shown.end; ++key)
      to[key - columns.begin] = strip_[static_cast<size_t>(key - first * block_keys)];
  }

 private:
  // A row's running state, in lane 0 of what the kernel takes.
  class State {
   public:
    State() {
      std::fill_n(max_, lanes, -infinity);
      std::fill_n(sum_, lanes, 0.0F);
    }
    void set(float max, float sum) {
      std::fill_n(max_, lanes, max);
      std::fill_n(sum_, lanes, sum);
    }
    void take(const kernels::KernelTable& kernels, float max, float sum) {
      float block_max[lanes], block_sum[lanes], a[lanes], b[lanes];
      std::fill_n(block_max, lanes, max);
      std::fill_n(block_sum, lanes, sum);
      kernels.merge_states(max_, sum_, block_max, block_sum, a, b, lanes);
    }
    float max() const { return max_[0]; }
    float sum() const { return sum_[0]; }

   private:
    float max_[lanes], sum_[lanes];
  };

  void prepare(int64_t head, int64_t row, const float* q) {
    head_ = head;
    row_ = row;
    const int64_t position = piece_.first_row + row, keys = cache_.length();
    seen_.begin = call_.window.left < 0 ? 0 : std::max<int64_t>(0, position - call_.window.left);
    seen_.end = call_.window.right < 0 ? keys : std::min(keys, position + call_.window.right + 1);
    float scale = call_.scale;
    if (terms_.bias != nullptr && !terms_.bias->head_scale.empty())
      scale *= terms_.bias->head_scale[static_cast<size_t>(head)];
    scale_ = scale;
    q_.resize(static_cast<size_t>(call_.dim));
    for (int64_t d = 0; d < call_.dim; ++d) q_[static_cast<size_t>(d)] = q[d] * scale;
    if (cache_.storage() == Storage::f32) return;
    q16_.assign(static_cast<size_t>(cache_.panel_dims()), 0);
    kernels::bf16_from_f32(q, q16_.data(), call_.dim);
  }

  void scores(int64_t index, Span here, float* s) {
    const int64_t group = call_.heads / call_.kv_heads;
    const KvBlock kv = cache_.block(head_ / group, index);
    const int64_t first = here.begin / panel_keys * panel_keys, dims = cache_.panel_dims();
    const bool narrow = cache_.storage() == Storage::bf16;
    for (int64_t key = first; key < here.end; key += panel_keys) {
      const int columns_here = static_cast<int>(std::min(panel_keys, here.end - key));
      if (narrow)
        kernels_.score_tile_bf16(q16_.data(), dims, 1, dims, kv.k16 + key * dims, columns_here, s + key, block_keys,
                                 false, &scale_);
      else
        kernels_.score_tile(q_.data(), dims, 1, dims, kv.k + key * dims, columns_here, s + key, block_keys, false);
    }
    if (rectangle_.stage == ScoreStage::product) return;
    ScoreTerms terms = terms_;
    if (rectangle_.stage == ScoreStage::capped) terms.bias = nullptr;
    const Modifier modifier(terms);
    if (!modifier.nothing())
      modifier.apply({head_, row_, piece_.first_row + row_, index * block_keys + here.begin}, s + here.begin,
                     here.end - here.begin);
  }

  void finish(float max, float sum, int64_t blocks) {
    const float base = max == -infinity ? 0.0F : max;
    std::vector<float> power(block_max_.size());
    for (float& m : block_max_) m -= base;
    kernels_.exp_below(block_max_.data(), power.data(), static_cast<int64_t>(power.size()));
    for (int64_t b = 0; b < blocks; ++b) {
      const float factor = sum == 0.0F ? 0.0F : power[static_cast<size_t>(b)] / sum;
      float* s = strip_.data() + b * block_keys;
      for (int64_t j = 0; j < block_keys; ++j) s[j] *= factor;
    }
  }

  const Call& call_;
  const Piece& piece_;
  const ScoreTerms& terms_;
  const KvCache& cache_;
  const Rectangle& rectangle_;
  const kernels::KernelTable& kernels_;
  int64_t head_ = 0, row_ = 0;
  Span seen_{0, 0};
  float scale_ = 1;
  std::vector<float> q_, strip_, block_max_;
  std::vector<uint16_t> q16_;
};

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
    const Span rows{std::max(rectangle.row_begin, piece.row), std::min(rectangle.row_end, piece.row + piece.rows)};
    const Span keys{std::max(rectangle.key_begin, piece.key), std::min(rectangle.key_end, piece.key + piece.visible)};
    if (rows.begin >= rows.end || keys.begin >= keys.end) continue;
    ScoreTerms terms = every_key ? ScoreTerms{} : call.terms(piece);
    if (every_key) terms.softcap = params.softcap;
    if (every_key) terms.bias = params.bias;  // for its scale of the head
    Scratch scratch(call, 0, piece.visible);
    pack({&k, nullptr}, piece, 0, piece.visible, scratch.cache(), pool);
    pool.run((rows.end - rows.begin) * call.heads, [&](int64_t task, int) {
      const int64_t row = rows.begin + task / call.heads, head = task % call.heads;
      std::vector<float> query(static_cast<size_t>(call.dim)), line(static_cast<size_t>(keys.end - keys.begin));
      widen(q.dtype, address(q, piece.batch, head, row, 0), q.stride[3], call.dim, query.data());
      const int64_t dense = (piece.batch * call.heads + head) * lines + row - rectangle.row_begin;
      RowWeights one(call, piece, terms, scratch.cache(), rectangle);
      one.compute(head, row - piece.row, dense, query.data(), {keys.begin - piece.key, keys.end - piece.key},
                  line.data());
      float* to = base + piece.batch * out.stride[0] + head * out.stride[1] +
                  (row - rectangle.row_begin) * out.stride[2] + (keys.begin - rectangle.key_begin) * out.stride[3];
      for (size_t j = 0; j < line.size(); ++j) to[static_cast<int64_t>(j) * out.stride[3]] = line[j];
    });
  }
}

}  // namespace bareattn
