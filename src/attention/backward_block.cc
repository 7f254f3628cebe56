// The arithmetic of one block of keys: five matrix products per tile on the register tiles, and between them the
// softmax backward. Rows and heads pass in order; see docs/arithmetic.md for the order of every rounding.
#include "attention/backward_block.h"

#include <algorithm>
#include <limits>

#include "attention/pointer.h"
#include "attention/widen.h"

namespace bareattn::attend {

using kernels::lanes;
using kernels::panel_keys;
using kernels::tile_rows;
using kernels::up16;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

int64_t down16(int64_t n) { return n / lanes * lanes; }

// Row (b, h, i) of a [B, H, S, dims] tensor times scale as f32, zero up to a multiple of 16; whether it is finite.
bool copy_row(const ConstTensor& tensor, const int64_t (&at)[3], float scale, float* to) {
  const int64_t dims = tensor.shape[3];
  const void* from = address(tensor, at[0], at[1], at[2], 0);
  const bool in_place = is_plain(tensor) && tensor.stride[3] == 1;
  if (!in_place) widen(tensor.dtype, from, tensor.stride[3], dims, to);
  std::fill(to + dims, to + up16(dims), 0.0F);
  return kernels::table().backward->scale_row(in_place ? static_cast<const float*>(from) : to, dims, scale, to);
}

// Row (b, h, i) of an output += from * scale.
void add_row(const TensorView<float>& out, const int64_t (&at)[3], const float* from, float scale) {
  const int64_t dims = out.shape[3], step = out.stride[3];
  float* to = pointer_to(out, at[0], at[1], at[2]);
  if (step == 1) return kernels::table().backward->add_scaled(from, dims, scale, to);
  for (int64_t d = 0; d < dims; ++d) kernels::table().backward->add_scaled(from + d, 1, scale, to + d * step);
}

}  // namespace

void BackwardBlock::compute(const BackwardJob& job, int64_t kv_head, int64_t block, Progress& progress, int64_t task,
                            int64_t before) {
  // Whatever happens here, the block after this one must not wait for ever.
  struct Done {
    Progress& progress;
    int64_t task;
    ~Done() { progress.publish(task, std::numeric_limits<int64_t>::max()); }
  } done{progress, task};
  job_ = &job;
  prepare(kv_head, block);
  const AttentionGradients& wanted = *job.gradients;
  int64_t step = 0;
  for (int64_t g = 0; g < job.group(); ++g) {
    const int64_t head = kv_head * job.group() + g;
    for (int64_t tile = 0; tile < job.tiles(); ++tile, ++step) {
      const int64_t first = tile * backward_rows, end = std::min(first + backward_rows, job.piece->rows);
      if (see(first, end - first)) {
        load(head, first);
        scores();
        weights(head, first);
        key_gradients(head, first);
        if (wanted.d_q.data != nullptr) {
          row_gradients(head, first);
          if (before >= 0) progress.wait_past(before, step);
          add_rows(head, first);
        }
        dirty_ = true;
      }
      // A block that does not see a tile need not wait: those before it do not see it either, or those after it.
      progress.publish(task, step + 1);
      if (end % backward_cut == 0 || end == job.piece->rows) flush();
    }
  }
  if (wanted.d_bias.data == nullptr) return;
  if (before >= 0) progress.wait_past(before, step);  // published by its Done alone
  flush_bias();
}

float BackwardJob::scale(int64_t head) const {
  const SpanBias* bias = call->params->bias;
  return bias == nullptr || bias->head_scale.empty() ? call->scale
                                                     : call->scale * bias->head_scale[static_cast<size_t>(head)];
}

void BackwardBlock::prepare(int64_t kv_head, int64_t block) {
  const Call& call = *job_->call;
  kernels_ = &kernels::table();
  terms_ = capped_ = rest_ = call.terms(*job_->piece);
  capped_ = {};
  capped_.softcap = terms_.softcap;
  rest_.softcap = 0;
  kv_head_ = kv_head;
  first_key_ = block * backward_keys;
  keys_ = std::min(backward_keys, job_->piece->visible - first_key_);
  padded_ = up16(keys_);
  dim_ = call.dim;
  value_dim_ = call.value_dim;
  ldk_ = up16(dim_);
  ldv_ = up16(value_dim_);
  k_panels_.reserve<float>(backward_keys * dim_);
  v_panels_.reserve<float>(backward_keys * value_dim_);
  k_.reserve<float>(backward_keys * ldk_);
  d_k_.reserve<float>(backward_keys * ldk_);
  d_v_.reserve<float>(backward_keys * ldv_);
  q_.reserve<float>(backward_rows * ldk_);
  d_o_.reserve<float>(backward_rows * ldv_);
  d_q_.reserve<float>(backward_rows * ldk_);
  row_.reserve<float>(std::max(ldk_, ldv_));
  s_.reserve<float>(backward_rows * lds);
  dp_.reserve<float>(backward_rows * lds);
  if (terms_.softcap != 0.0F) slope_.reserve<float>(backward_rows * lds);
  k_finite_ = true;
  std::fill_n(k_panels_.as<float>(), backward_keys * dim_, 0.0F);
  std::fill_n(v_panels_.as<float>(), backward_keys * value_dim_, 0.0F);
  for (int64_t j = 0; j < keys_; ++j) {
    const int64_t at[3] = {job_->piece->batch, kv_head, job_->piece->key + first_key_ + j};
    float* k = k_.as<float>() + j * ldk_;
    k_finite_ = copy_row(job_->forward->k, at, 1, k) && k_finite_;
    float* panel = k_panels_.as<float>() + j / panel_keys * panel_keys * dim_ + j % panel_keys;
    for (int64_t d = 0; d < dim_; ++d) panel[d * panel_keys] = k[d];
    float* v = row_.as<float>();
    copy_row(job_->forward->v, at, 1, v);
    panel = v_panels_.as<float>() + j / panel_keys * panel_keys * value_dim_ + j % panel_keys;
    for (int64_t e = 0; e < value_dim_; ++e) panel[e * panel_keys] = v[e];
  }
  std::fill_n(d_k_.as<float>(), backward_keys * ldk_, 0.0F);
  std::fill_n(d_v_.as<float>(), backward_keys * ldv_, 0.0F);
  dirty_ = false;
  if (job_->gradients->d_bias.data != nullptr)
    d_bias_.assign(static_cast<size_t>(job_->group() * terms_.bias->row_spans * terms_.bias->key_spans), 0.0);
}

// What the rows of a tile see of this block; false: nothing.
bool BackwardBlock::see(int64_t first, int64_t count) {
  const Window& window = job_->call->window;
  count_ = count;
  bool any = false;
  for (int64_t r = 0; r < count; ++r) {
    const int64_t position = job_->piece->first_row + first + r - first_key_;
    seen_[r].begin = window.left < 0 ? 0 : std::clamp<int64_t>(position - window.left, 0, keys_);
    seen_[r].end = window.right < 0 ? keys_ : std::clamp<int64_t>(position + window.right + 1, 0, keys_);
    any = any || seen_[r].begin < seen_[r].end;
  }
  for (int64_t e = 0; any && e < count; e += tile_rows) {
    Seen& group = group_[e / tile_rows] = {keys_, 0};
    for (int64_t r = e; r < std::min<int64_t>(e + tile_rows, count); ++r) {
      if (seen_[r].begin >= seen_[r].end) continue;
      group.begin = std::min(group.begin, seen_[r].begin);
      group.end = std::max(group.end, seen_[r].end);
    }
  }
  return any;
}

// Q times scale, dO, the LSE, and delta, which is computed again for every block: 2 % of the work, and no memory.
// With the sums in add_rows() this is where time goes that is not multiplication: 8 to 10 %, most of it reads from L3.
// Prefetching the next tile during the products did not help; wider blocks do (backward_keys).
void BackwardBlock::load(int64_t head, int64_t first) {
  const float scale = job_->scale(head);
  const ConstTensor& o = job_->forward->o;
  const bool in_place = is_plain(o) && o.stride[3] == 1 && value_dim_ == ldv_;
  q_finite_ = d_o_finite_ = true;
  for (int64_t r = 0; r < count_; ++r) {
    const int64_t at[3] = {job_->piece->batch, head, job_->piece->row + first + r};
    q_finite_ = copy_row(job_->forward->q, at, scale, q_.as<float>() + r * ldk_) && q_finite_;
    float* d_o = d_o_.as<float>() + r * ldv_;
    d_o_finite_ = copy_row(*job_->d_o, at, 1, d_o) && d_o_finite_;
    if (!in_place) copy_row(o, at, 1, row_.as<float>());
    const float* o_row = in_place ? static_cast<const float*>(address(o, at[0], at[1], at[2], 0)) : row_.as<float>();
    delta_[r] = kernels_->backward->dot(d_o, o_row, ldv_);
    lse_[r] = job_->forward->lse.at(at[0], at[1], at[2]);
  }
}

// S = Q K^T and dP = dO V^T where some row of a group sees the keys. A panel stays in L1 for all groups.
void BackwardBlock::scores() {
  const auto product = [&](const float* rows, int64_t ld, int64_t dims, const float* panels, float* out) {
    for (int64_t panel = 0; panel < keys_; panel += panel_keys)
      for (int64_t e = 0; e < count_; e += tile_rows) {
        const Seen seen = group_[e / tile_rows];
        const int64_t from = std::max(panel, down16(seen.begin)), to = std::min(panel + panel_keys, seen.end);
        if (from >= to) continue;
        kernels_->score_tile(rows + e * ld, ld, static_cast<int>(std::min<int64_t>(tile_rows, count_ - e)), dims,
                             panels + panel * dims + (from - panel), static_cast<int>(to - from), out + e * lds + from,
                             lds, false);
      }
  };
  product(q_.as<float>(), ldk_, dim_, k_panels_.as<float>(), s(0));
  product(d_o_.as<float>(), ldv_, value_dim_, v_panels_.as<float>(), dp(0));
}

// S becomes P and dP becomes dS; both are 0 on every key of the block that the row does not see.
void BackwardBlock::weights(int64_t head, int64_t first) {
  const Modifier rest(rest_);
  const bool modify = !rest.nothing();
  const bool terms = job_->gradients->d_bias.data != nullptr || job_->gradients->d_mask.data != nullptr;
  for (int64_t r = 0; r < count_; ++r) {
    const Seen seen = seen_[r];
    int64_t from = 0, to = 0;  // what is computed
    if (seen.begin < seen.end) {
      from = down16(seen.begin);
      to = up16(seen.end);
      const Modifier::Place place{head, first + r, job_->piece->first_row + first + r, first_key_ + seen.begin};
      if (terms_.softcap != 0.0F) softcap(place, r);
      if (modify) rest.apply(place, s(r) + seen.begin, seen.end - seen.begin);
      std::fill(s(r) + from, s(r) + seen.begin, -infinity);
      std::fill(s(r) + seen.end, s(r) + to, -infinity);
      kernels_->backward->softmax_backward(s(r) + from, dp(r) + from, to - from, lse_[r], delta_[r]);
      if (terms) add_to_terms(place, r);
      if (terms_.softcap != 0.0F) {
        const float* slope = slope_.as<float>() + r * lds;
        float* ds = dp(r);  // a key that is not seen has dS 0, whatever its slope
        for (int64_t j = seen.begin; j < seen.end; ++j) ds[j] = ds[j] == 0.0F ? 0.0F : ds[j] * slope[j];
      }
    }
    for (float* strip : {s(r), dp(r)}) {
      std::fill(strip, strip + from, 0.0F);
      std::fill(strip + to, strip + padded_, 0.0F);
    }
  }
}

// s = c tanh(s / c), and its slope 1 - tanh^2, as a product that stays exact where tanh is near 1.
void BackwardBlock::softcap(Modifier::Place place, int64_t r) {
  const Seen seen = seen_[r];
  Modifier(capped_).apply(place, s(r) + seen.begin, seen.end - seen.begin);
  float* slope = slope_.as<float>() + r * lds;
  for (int64_t j = seen.begin; j < seen.end; ++j) {
    const float t = s(r)[j] / terms_.softcap;
    slope[j] = (1.0F - t) * (1.0F + t);
  }
}

void BackwardBlock::add_to_terms(const Modifier::Place& place, int64_t r) {
  const Seen seen = seen_[r];
  const float* ds = dp(r);
  const TensorView<float>& mask = job_->gradients->d_mask;
  if (mask.data != nullptr)
    for (int64_t j = seen.begin; j < seen.end; ++j)
      mask.at(job_->piece->batch, place.head, job_->piece->row + place.row, job_->piece->key + first_key_ + j) = ds[j];
  if (job_->gradients->d_bias.data == nullptr) return;
  const SpanBias& bias = *terms_.bias;
  const int64_t g = place.head - kv_head_ * job_->group(),
                row_span = bias.row_span[static_cast<size_t>(place.position)];
  double* sums = d_bias_.data() + (g * bias.row_spans + row_span) * bias.key_spans;
  const uint8_t* span = bias.key_span.data() + first_key_;
  for (int64_t j = seen.begin, end; j < seen.end; j = end) {  // runs of one span, 16 sums each
    for (end = j + 1; end < seen.end && span[end] == span[j];) ++end;
    double lane[lanes] = {}, sum = 0;
    int64_t i = j;
    for (; i + lanes <= end; i += lanes)
      for (int64_t l = 0; l < lanes; ++l) lane[l] += ds[i + l];
    for (int64_t l = 0; i < end; ++i, ++l) lane[l] += ds[i];
    for (const double x : lane) sum += x;
    sums[span[j]] += sum;
  }
}

template <class F>
void BackwardBlock::runs(const Modifier::Place& place, int64_t r, F&& f) const {
  const Modifier modifier(terms_);
  const Seen seen = seen_[r];
  const auto hidden = [&](int64_t j) {
    return modifier.masks() && modifier.hides({place.head, place.row, place.position, first_key_ + j});
  };
  for (int64_t begin = seen.begin, end; begin < seen.end; begin = end) {
    while (begin < seen.end && hidden(begin)) ++begin;
    for (end = begin; end < seen.end && !hidden(end);) ++end;
    if (begin < end) f(begin, end);
  }
}

// dV += P^T dO and dK += dS^T Q. Zeros make no difference, so rows are cut only to save work; but zero times a value
// that is not finite would be NaN: such tiles go row by row over the keys that are seen, in the same order.
void BackwardBlock::key_gradients(int64_t head, int64_t first) {
  const AttentionGradients& wanted = *job_->gradients;
  const auto careful = [&](float* (BackwardBlock::*strip)(int64_t) const, const float* rows, int64_t ld, int64_t dims,
                           float* sum) {
    for (int64_t r = 0; r < count_; ++r)
      runs({head, first + r, job_->piece->first_row + first + r, 0}, r, [&](int64_t begin, int64_t end) {
        for (int64_t c = begin; c < end; c += tile_rows)
          kernels_->backward->blend_transposed((this->*strip)(r) + c, lds,
                                               static_cast<int>(std::min<int64_t>(tile_rows, end - c)), 1,
                                               rows + r * ld, ld, dims, sum + c * ld, ld);
      });
  };
  if (wanted.d_v.data != nullptr) {
    if (d_o_finite_)
      key_gradient(s(0), d_o_.as<float>(), ldv_, value_dim_, d_v_.as<float>());
    else
      careful(&BackwardBlock::s, d_o_.as<float>(), ldv_, value_dim_, d_v_.as<float>());
  }
  if (wanted.d_k.data != nullptr) {
    if (q_finite_)
      key_gradient(dp(0), q_.as<float>(), ldk_, dim_, d_k_.as<float>());
    else
      careful(&BackwardBlock::dp, q_.as<float>(), ldk_, dim_, d_k_.as<float>());
  }
}

void BackwardBlock::key_gradient(const float* p, const float* rows, int64_t ld, int64_t dims, float* sum) {
  int64_t begin = 0, end = 0;  // rows that see any of the six keys: both only grow, as windows do
  for (int64_t c = 0; c < keys_; c += tile_rows) {
    const int64_t last = std::min<int64_t>(c + tile_rows, keys_);
    while (begin < count_ && seen_[begin].end <= c) ++begin;
    while (end < count_ && seen_[end].begin < last) ++end;
    if (begin < end)
      kernels_->backward->blend_transposed(p + begin * lds + c, lds, static_cast<int>(last - c), end - begin,
                                           rows + begin * ld, ld, dims, sum + c * ld, ld);
  }
}

// The block's share of dQ = dS K (times scale, when it is added).
void BackwardBlock::row_gradients(int64_t head, int64_t first) {
  const float* k = k_.as<float>();
  for (int64_t e = 0; e < count_; e += tile_rows) {
    const Seen seen = group_[e / tile_rows];
    const int64_t rows = std::min<int64_t>(tile_rows, count_ - e);
    float* d_q = d_q_.as<float>() + e * ldk_;
    if (seen.begin >= seen.end) continue;
    if (k_finite_) {
      kernels_->blend({dp(e) + seen.begin, lds, static_cast<int>(rows), seen.end - seen.begin, k + seen.begin * ldk_,
                       ldk_, dim_, d_q, ldk_, false});
      continue;
    }
    std::fill_n(d_q, rows * ldk_, 0.0F);
    for (int64_t r = e; r < e + rows; ++r)
      runs({head, first + r, job_->piece->first_row + first + r, 0}, r, [&](int64_t begin, int64_t end) {
        kernels_->blend(
            {dp(r) + begin, lds, 1, end - begin, k + begin * ldk_, ldk_, dim_, d_q + (r - e) * ldk_, ldk_, true});
      });
  }
}

void BackwardBlock::add_rows(int64_t head, int64_t first) {
  for (int64_t r = 0; r < count_; ++r)
    if (seen_[r].begin < seen_[r].end)
      add_row(job_->gradients->d_q, {job_->piece->batch, head, job_->piece->row + first + r},
              d_q_.as<float>() + r * ldk_, job_->scale(head));
}

void BackwardBlock::flush() {
  if (!dirty_) return;
  dirty_ = false;
  const auto add = [&](float* sums, int64_t ld, const TensorView<float>& out) {
    if (out.data == nullptr) return;
    for (int64_t j = 0; j < keys_; ++j)
      add_row(out, {job_->piece->batch, kv_head_, job_->piece->key + first_key_ + j}, sums + j * ld, 1);
    std::fill_n(sums, keys_ * ld, 0.0F);
  };
  add(d_k_.as<float>(), ldk_, job_->gradients->d_k);
  add(d_v_.as<float>(), ldv_, job_->gradients->d_v);
}

void BackwardBlock::flush_bias() {
  const TensorView<float>& d_bias = job_->gradients->d_bias;
  const SpanBias& bias = *terms_.bias;
  const double* from = d_bias_.data();
  for (int64_t g = 0; g < job_->group(); ++g)
    for (int64_t i = 0; i < bias.row_spans; ++i)
      for (int64_t j = 0; j < bias.key_spans; ++j, ++from)
        d_bias.at(kv_head_ * job_->group() + g, i, j) += static_cast<float>(*from);
}

}  // namespace bareattn::attend
