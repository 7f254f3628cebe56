// The scalar twin: what every kernel computes, one number at a time, slow and clear. It ships, it is the table of
// machines without a fused multiply-add unit, and the tests hold every fast table to it with memcmp.
#include <cmath>
#include <limits>

#include "kernels/backward.h"
#include "kernels/bf16.h"
#include "kernels/exp.h"
#include "kernels/kernels.h"
#include "kernels/tree.h"

namespace bareattn::kernels {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

void score_tile(const float* q, int64_t ldq, int rows, int64_t dims, const float* panel, int columns, float* s,
                int64_t lds, bool accumulate) {
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < columns; ++c) {
      float acc = accumulate ? s[r * lds + c] : 0.0F;
      const float* keys = panel + c / panel_keys * panel_keys * dims + c % panel_keys;
      for (int64_t d = 0; d < dims; ++d) acc = std::fma(q[r * ldq + d], keys[d * panel_keys], acc);
      s[r * lds + c] = acc;
    }
}

void score_tile_bf16(const uint16_t* q, int64_t ldq, int rows, int64_t dims, const uint16_t* panel, int columns,
                     float* s, int64_t lds, bool accumulate, const float* scale) {
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < columns; ++c) {
      float acc = accumulate ? s[r * lds + c] : 0.0F;
      const uint16_t* keys = panel + c / panel_keys * panel_keys * dims + 2 * (c % panel_keys);
      for (int64_t d = 0; d < dims; d += 2) acc = dot_pair_bf16(q + r * ldq + d, keys + d * panel_keys, acc);
      s[r * lds + c] = scale == nullptr ? acc : acc * scale[r];
    }
}

void softmax_row(const SoftmaxArgs& args, int r) {
  float* s = args.s + r * args.lds;
  const BlockStates& state = args.state;
  const int64_t keys = args.keys[r], whole = (keys + lanes - 1) / lanes * lanes;
  const bool measure = args.seen_max != nullptr;
  float max = -infinity;
  int32_t max_key = -1;
  for (int64_t j = 0; j < keys; ++j)
    if (s[j] > max) {
      max = s[j];
      max_key = static_cast<int32_t>(j);
    }
  const float m = max == -infinity ? 0.0F : max;
  float sum[lanes] = {}, entropy[lanes] = {}, squares[lanes] = {}, distance[lanes] = {};
  const int32_t rest = measure ? args.origin[r] & (lanes - 1) : 0, whole16 = measure ? args.origin[r] - rest : 0;
  for (int64_t j = 0; j < whole; ++j) {
    const int64_t lane = j % lanes;
    const float x = j < keys ? s[j] - m : -infinity;
    const float p = exp_below(x);
    s[j] = p;
    sum[lane] += p;
    entropy[lane] = std::fma(p, x >= ExpConstants::lowest ? x : 0.0F, entropy[lane]);  // 0 * -inf would be NaN
    squares[lane] = std::fma(p, p, squares[lane]);
    distance[lane] = std::fma(p, static_cast<float>(whole16 - (j - lane)), distance[lane]);
  }
  for (int lane = 0; lane < lanes; ++lane)
    distance[lane] = std::fma(static_cast<float>(rest - lane), sum[lane], distance[lane]);
  for (int64_t j = whole; j < args.padded; ++j) s[j] = 0.0F;
  state.max[r] = max + 0.0F;  // of 0 and -0 either may be found first: the contract says 0
  state.sum[r] = tree_sum(sum);
  if (!measure) return;
  state.max_key[r] = max > args.seen_max[r] ? max_key : -1;
  state.entropy[r] = tree_sum(entropy);
  state.squares[r] = tree_sum(squares);
  state.distance[r] = tree_sum(distance);
}

void softmax_rows(const SoftmaxArgs& args) {
  for (int r = 0; r < args.rows; ++r) softmax_row(args, r);
}

void blend(const BlendArgs<float>& args) {
  for (int r = 0; r < args.rows; ++r)
    for (int64_t e = 0; e < args.dv; ++e) {
      float& o = args.o[r * args.ldo + e];
      float acc = args.accumulate ? o : 0.0F;
      for (int64_t j = 0; j < args.keys; ++j) acc = std::fma(args.p[r * args.ldp + j], args.v[j * args.ldv + e], acc);
      o = acc + 0.0F;
    }
}

void blend_bf16(const BlendArgs<uint16_t>& args) {
  for (int r = 0; r < args.rows; ++r)
    for (int64_t e = 0; e < args.dv; ++e) {
      float acc = 0.0F;
      for (int64_t j = 0; j < args.keys; j += 2)
        acc = dot_pair_bf16(args.p + r * args.ldp + j, args.v + j * args.ldv + 2 * e, acc);
      args.o[r * args.ldo + e] = acc + 0.0F;
    }
}

void narrow_bf16(const float* from, uint16_t* to, int64_t n) { bf16_from_f32(from, to, n); }

void merge_states(float* max, float* sum, const float* block_max, const float* block_sum, float* a, float* b,
                  int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float now = max[i] > block_max[i] ? max[i] : block_max[i];
    const float base = now == -infinity ? 0.0F : now;
    a[i] = exp_below(max[i] - base);
    b[i] = exp_below(block_max[i] - base);
    max[i] = now;
    sum[i] = std::fma(sum[i], a[i], block_sum[i] * b[i]);
  }
}

void join_row(const JoinArgs& args, int64_t r) {
  const float max = args.max[r], base = max == -infinity ? 0.0F : max;
  const float total = args.sum[r] == 0.0F ? infinity : args.sum[r];
  for (int64_t b = args.blocks - 1; b >= 0; --b) {
    const int64_t at = b * args.stride + r;
    const float factor = args.factor[at] = exp_below(args.states.max[at] - base) / total;
    if (args.entropy == nullptr) continue;
    if (args.states.max_key[at] >= 0 && args.states.max[at] == max)
      args.max_key[r] = args.first_key + static_cast<int32_t>(b * block_keys) + args.states.max_key[at];
    const double share = factor, sum = args.states.sum[at];
    if (share == 0.0 || sum == 0.0) continue;  // the block's max may be -inf, and the product no number
    args.entropy[r] -=
        share * (args.states.entropy[at] + sum * (static_cast<double>(args.states.max[at]) - static_cast<double>(max)));
    args.squares[r] += share * share * args.states.squares[at];
    args.distance[r] += share * args.states.distance[at];
  }
}

void join_states(const JoinArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) join_row(args, r);
}

void exp_array(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = exp_below(x[i]);
}

void merge(float* o, const float* block, float a, float b, int64_t dv) {
  for (int64_t e = 0; e < dv; ++e) o[e] = std::fma(o[e], a, block[e] * b);
}

void divide(const float* from, float by, float* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = from[i] / by;
}

void finish_rows(const FinishArgs& args) {
  for (int64_t j = 0; j < args.padded; ++j) {
    uint32_t sum = 0;
    float max = 0.0F;
    for (int r = 0; r < args.rows; ++r) {
      const float w = args.p[r][j] * args.factor27[r];
      sum += static_cast<uint32_t>(static_cast<int32_t>(std::nearbyint(w)));
      max = w > max ? w : max;
    }
    if (args.received != nullptr && j < args.keys) args.received[j] += sum;
    if (args.cell_sum == nullptr) continue;
    args.cell_sum[j / lanes] = sum + (j % lanes == 0 ? 0 : args.cell_sum[j / lanes]);
    if (args.cell_max == nullptr) continue;
    float& cell = args.cell_max[j / lanes];
    cell = j % lanes == 0 || max > cell ? max : cell;
  }
}

void run_sums(const float* const* s, const int64_t* begin, const int64_t* end, float* sum) {
  for (int r = 0; r < 4; ++r) {
    float lane[lanes] = {};
    for (int64_t j = begin[r]; j < end[r]; ++j) lane[j % lanes] += s[r][j];
    sum[r] = tree_sum(lane);
  }
}

void pool_rows(const float* w, int64_t ldw, int rows, int64_t keys, float* sum, float* max) {
  for (int64_t j = 0; j < keys; ++j) {
    float all = 0, most = 0;
    for (int r = 0; r < rows; ++r) {
      const float one = w[r * ldw + j];
      all += one;
      most = one > most ? one : most;
    }
    sum[j] = all;
    max[j] = most;
  }
}

}  // namespace

const KernelTable& reference_table() {
  static const KernelTable table = {
      "scalar", score_tile,  softmax_rows, blend,     merge_states,    join_states, exp_array,   merge,
      divide,   finish_rows, run_sums,     pool_rows, score_tile_bf16, blend_bf16,  narrow_bf16, &reference_backward()};
  return table;
}

}  // namespace bareattn::kernels
