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
  BlockState& state = args.state[r];
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
  for (int64_t j = 0; j < whole; ++j) {
    const int64_t lane = j % lanes;
    const float x = j < keys ? s[j] - m : -infinity;
    const float p = exp_below(x);
    s[j] = p;
    sum[lane] += p;
    entropy[lane] = std::fma(p, x >= ExpConstants::lowest ? x : 0.0F, entropy[lane]);  // 0 * -inf would be NaN
    squares[lane] = std::fma(p, p, squares[lane]);
    distance[lane] = std::fma(p, measure ? args.origin[r] - static_cast<float>(j) : 0.0F, distance[lane]);
  }
  for (int64_t j = whole; j < args.padded; ++j) s[j] = 0.0F;
  state.max = max + 0.0F;  // of 0 and -0 either may be found first: the contract says 0
  state.sum = tree_sum(sum);
  if (!measure) return;
  state.max_key = max > args.seen_max[r] ? max_key : -1;
  state.entropy = tree_sum(entropy);
  state.squares = tree_sum(squares);
  state.distance = tree_sum(distance);
}

void softmax_rows(const SoftmaxArgs& args) {
  for (int r = 0; r < args.rows; ++r) softmax_row(args, r);
}

void blend(const float* p, int64_t ldp, int rows, int64_t keys, const float* v, int64_t ldv, int64_t dv, float* o,
           int64_t ldo, bool accumulate) {
  for (int r = 0; r < rows; ++r)
    for (int64_t e = 0; e < dv; ++e) {
      float acc = accumulate ? o[r * ldo + e] : 0.0F;
      for (int64_t j = 0; j < keys; ++j) acc = std::fma(p[r * ldp + j], v[j * ldv + e], acc);
      o[r * ldo + e] = acc + 0.0F;
    }
}

void blend_bf16(const uint16_t* p, int64_t ldp, int rows, int64_t keys, const uint16_t* v, int64_t ldv, int64_t dv,
                float* o, int64_t ldo) {
  for (int r = 0; r < rows; ++r)
    for (int64_t e = 0; e < dv; ++e) {
      float acc = 0.0F;
      for (int64_t j = 0; j < keys; j += 2) acc = dot_pair_bf16(p + r * ldp + j, v + j * ldv + 2 * e, acc);
      o[r * ldo + e] = acc + 0.0F;
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

void exp_array(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = exp_below(x[i]);
}

void carry(const CarryArgs& args) {
  for (int64_t j = 0; j < args.keys && args.sums != nullptr; ++j) args.sums[j] += args.received[j];
  for (int64_t j = 0; j < args.keys && args.cell_sum != nullptr; ++j) {
    uint32_t& sum = args.cell_sum[j / lanes];
    float& max = args.cell_max[j / lanes];
    if (j % lanes == 0) sum = 0;
    sum += args.received[j];
    if (args.largest == nullptr) continue;
    if (j % lanes == 0) max = 0.0F;
    max = args.largest[j] > max ? args.largest[j] : max;
  }
}

void merge(float* o, const float* block, float a, float b, int64_t dv) {
  for (int64_t e = 0; e < dv; ++e) o[e] = std::fma(o[e], a, block[e] * b);
}

void divide(const float* from, float by, float* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = from[i] / by;
}

void finish_rows(const FinishArgs& args) {
  for (int r = 0; r < args.rows; ++r)
    for (int64_t j = 0; j < args.padded; ++j) {
      const float w = args.p[r * args.ldp + j] * args.factor27[r];
      args.received[j] += static_cast<uint32_t>(static_cast<int32_t>(std::nearbyint(w)));
      if (args.largest != nullptr) args.largest[j] = w > args.largest[j] ? w : args.largest[j];
    }
}

}  // namespace

const KernelTable& reference_table() {
  static const KernelTable table = {
      "scalar", score_tile,  softmax_rows, blend,           merge_states, exp_array,   merge,
      divide,   finish_rows, carry,        score_tile_bf16, blend_bf16,   narrow_bf16, &reference_backward()};
  return table;
}

}  // namespace bareattn::kernels
