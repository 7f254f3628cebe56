// A random backward problem and its slow answer: the forward and every gradient written out in f64, pair by pair, from
// the definition. Shared by the tests of attention_backward(); refuses nothing, owns its data.
#pragma once
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "bareattn/attention_backward.h"

namespace bareattn::testing {

struct BackwardShape {
  int64_t batch = 1, heads = 2, kv_heads = 1, rows = 5, keys = 5, dim = 8, value_dim = 8;
};

struct BackwardProblem {
  BackwardShape n;
  AttentionParams params;
  std::vector<float> q, k, v, d_o, o, lse, slopes, sinks, mask, bias_value, head_scale;
  std::vector<uint8_t> seen, row_span, key_span;
  std::vector<int64_t> lengths;
  SpanBias bias;
  std::vector<float> d_q, d_k, d_v, d_bias, d_sinks, d_mask;

  BackwardProblem(const BackwardShape& shape, uint32_t seed) : n(shape), random_(seed) {
    fill(q, n.batch * n.heads * n.rows * n.dim);
    fill(k, n.batch * n.kv_heads * n.keys * n.dim);
    fill(v, n.batch * n.kv_heads * n.keys * n.value_dim);
    fill(d_o, n.batch * n.heads * n.rows * n.value_dim);
    o.resize(d_o.size());
    lse.resize(static_cast<size_t>(n.batch * n.heads * n.rows));
  }
  BackwardProblem(const BackwardProblem&) = delete;
  BackwardProblem& operator=(const BackwardProblem&) = delete;

  uint32_t draw(uint32_t below) { return std::uniform_int_distribution<uint32_t>(0, below - 1)(random_); }
  void fill(std::vector<float>& to, int64_t count, float size = 1) {
    std::normal_distribution<float> normal(0, size);
    to.resize(static_cast<size_t>(count));
    for (float& x : to) x = normal(random_);
  }
  void add_alibi() {
    fill(slopes, n.heads, 0.05F);
    params.alibi_slopes = slopes;
  }
  void add_sinks() {
    fill(sinks, n.heads);
    params.sinks = sinks;
  }
  void add_boolean_mask() {
    seen.resize(static_cast<size_t>(n.batch * n.heads * n.rows * n.keys));
    for (uint8_t& x : seen) x = draw(4) != 0;
    params.attn_mask = TensorView<const uint8_t>(seen.data(), {n.batch, n.heads, n.rows, n.keys});
  }
  void add_additive_mask() {
    fill(mask, n.batch * n.heads * n.rows * n.keys);
    for (float& x : mask)
      if (draw(8) == 0) x = -std::numeric_limits<float>::infinity();
    params.attn_mask = TensorView<const float>(mask.data(), {n.batch, n.heads, n.rows, n.keys});
  }
  /// Needs rows at positions >= 0.
  void add_bias(int64_t positions) {
    bias.row_spans = 3;
    bias.key_spans = 4;
    fill(bias_value, n.heads * 12);
    bias_value[draw(static_cast<uint32_t>(bias_value.size()))] = -std::numeric_limits<float>::infinity();
    fill(head_scale, n.heads);
    for (float& x : head_scale) x = 1 + 0.1F * x;
    for (int64_t i = 0; i < positions; ++i) {
      row_span.push_back(static_cast<uint8_t>(draw(3)));
      key_span.push_back(i > 0 && draw(3) != 0 ? key_span.back() : static_cast<uint8_t>(draw(4)));
    }
    bias.value = bias_value;
    bias.head_scale = head_scale;
    bias.row_span = row_span;
    bias.key_span = key_span;
    params.bias = &bias;
  }
  void add_lengths() {
    for (int64_t b = 0; b < n.batch; ++b) lengths.push_back(draw(static_cast<uint32_t>(n.keys + 1)));
    params.kv_lengths = lengths;
  }

  using In = TensorView<const float>;
  using Out = TensorView<float>;
  In q_view() const { return {q.data(), {n.batch, n.heads, n.rows, n.dim}}; }
  In k_view() const { return {k.data(), {n.batch, n.kv_heads, n.keys, n.dim}}; }
  In v_view() const { return {v.data(), {n.batch, n.kv_heads, n.keys, n.value_dim}}; }
  In d_o_view() const { return {d_o.data(), {n.batch, n.heads, n.rows, n.value_dim}}; }
  Out o_view() { return {o.data(), {n.batch, n.heads, n.rows, n.value_dim}}; }

  void forward() {
    std::vector<AttentionStatistics> statistics(static_cast<size_t>(n.batch));
    for (int64_t b = 0; b < n.batch; ++b) {
      statistics[static_cast<size_t>(b)].row_stride = n.rows;
      statistics[static_cast<size_t>(b)].lse = lse.data() + b * n.heads * n.rows;
    }
    AttentionParams with = params;
    with.returns.statistics = statistics;
    attention(q_view(), k_view(), v_view(), o_view(), with);
  }
  /// Gradients lie [B, S, H, D] where `bshd`, so that both layouts are seen.
  AttentionGradients gradients(bool bshd) {
    const auto make = [&](std::vector<float>& to, int64_t heads, int64_t length, int64_t dim) {
      to.assign(static_cast<size_t>(n.batch * heads * length * dim), std::nanf(""));  // all of it is overwritten
      return bshd ? bareattn::bshd(to.data(), n.batch, length, heads, dim)
                  : Out(to.data(), {n.batch, heads, length, dim});
    };
    AttentionGradients out;
    out.d_q = make(d_q, n.heads, n.rows, n.dim);
    out.d_k = make(d_k, n.kv_heads, n.keys, n.dim);
    out.d_v = make(d_v, n.kv_heads, n.keys, n.value_dim);
    if (params.attn_mask.rank != 0 && params.attn_mask.dtype == DType::f32)
      out.d_mask = make(d_mask, n.heads, n.rows, n.keys);
    if (!sinks.empty()) {
      d_sinks.assign(sinks.size(), std::nanf(""));
      out.d_sinks = {d_sinks.data(), {n.heads}};
    }
    if (!bias_value.empty()) {
      d_bias.assign(bias_value.size(), std::nanf(""));
      out.d_bias = {d_bias.data(), {n.heads, bias.row_spans, bias.key_spans}};
    }
    return out;
  }
  AttentionGradients backward(bool bshd = false) {
    const AttentionGradients out = gradients(bshd);
    const AttentionForward given{q_view(), k_view(), v_view(), o_view(), In(lse.data(), {n.batch, n.heads, n.rows})};
    attention_backward(given, d_o_view(), out, params);
    return out;
  }

 private:
  std::mt19937 random_;
};

/// One gradient in f64, and beside each element what its error bound is proportional to.
struct Exact {
  std::vector<double> value, size;
  explicit Exact(size_t count) : value(count), size(count) {}
  void add(size_t at, double x, double bound) {
    value[at] += x;
    size[at] += bound;
  }
};

struct ExactGradients {
  Exact d_q, d_k, d_v, d_bias, d_sinks, d_mask;
  double largest = 0;  // score (sum of |q k| scale and the terms), LSE
};

inline ExactGradients exact_gradients(const BackwardProblem& x) {
  const BackwardShape& n = x.n;
  const auto pairs = static_cast<size_t>(n.batch * n.heads * n.rows * n.keys);
  ExactGradients out{Exact(x.q.size()),          Exact(x.k.size()),     Exact(x.v.size()),
                     Exact(x.bias_value.size()), Exact(x.sinks.size()), Exact(pairs)};
  const AttentionParams& params = x.params;
  for (int64_t b = 0; b < n.batch; ++b)
    for (int64_t h = 0; h < n.heads; ++h)
      for (int64_t i = 0; i < n.rows; ++i) {
        const int64_t length = x.lengths.empty() ? n.keys : x.lengths[static_cast<size_t>(b)];
        const int64_t last = params.causal_align == CausalAlign::bottom_right ? length - n.rows : 0;
        const int64_t position = i + (params.offset ? *params.offset : last);
        const int64_t g = h / (n.heads / n.kv_heads), row = (b * n.heads + h) * n.rows + i;
        const double scale = (params.scale ? *params.scale : 1 / std::sqrt(static_cast<double>(n.dim))) *
                             (x.head_scale.empty() ? 1.0F : x.head_scale[static_cast<size_t>(h)]);
        const float* q = x.q.data() + row * n.dim;
        const float* d_o = x.d_o.data() + row * n.value_dim;
        std::vector<double> s(static_cast<size_t>(n.keys), -INFINITY), slope(s.size(), 1.0);
        double top = x.sinks.empty() ? -INFINITY : x.sinks[static_cast<size_t>(h)];
        for (int64_t j = 0; j < length; ++j) {
          const int64_t pair = row * n.keys + j;
          if (params.is_causal ? j > position : params.right_window >= 0 && j > position + params.right_window)
            continue;
          if (params.left_window >= 0 && j < position - params.left_window) continue;
          if (!x.seen.empty() && x.seen[static_cast<size_t>(pair)] == 0) continue;
          double dot = 0, size = 0;
          for (int64_t d = 0; d < n.dim; ++d) {
            const double one = scale * q[d] * x.k[static_cast<size_t>(((b * n.kv_heads + g) * n.keys + j) * n.dim + d)];
            dot += one;
            size += std::abs(one);
          }
          double score = dot;
          if (params.softcap != 0) {
            const double t = std::tanh(score / params.softcap);
            score = params.softcap * t;
            slope[static_cast<size_t>(j)] = 1 - t * t;
          }
          const auto term = [&](double value) {
            score += value;
            size += std::abs(value);
          };
          if (!x.slopes.empty()) term(x.slopes[static_cast<size_t>(h)] * static_cast<double>(j - position));
          if (!x.bias_value.empty())
            term(x.bias_value[static_cast<size_t>((h * 3 + x.row_span[static_cast<size_t>(position)]) * 4 +
                                                  x.key_span[static_cast<size_t>(j)])]);
          if (!x.mask.empty()) term(x.mask[static_cast<size_t>(pair)]);
          s[static_cast<size_t>(j)] = score;
          if (score == -INFINITY) continue;
          top = std::max(top, score);
          out.largest = std::max(out.largest, size);
        }
        if (top == -INFINITY) continue;
        double sum = x.sinks.empty() ? 0 : std::exp(x.sinks[static_cast<size_t>(h)] - top);
        for (double& score : s) sum += score = std::exp(score - top);
        std::vector<double> d_p(s.size()), d_p_size(s.size());
        double delta = 0, delta_size = 0;
        for (int64_t j = 0; j < n.keys; ++j) {
          double& p = s[static_cast<size_t>(j)];
          p /= sum;
          if (p == 0) continue;
          for (int64_t e = 0; e < n.value_dim; ++e) {
            const auto at = static_cast<size_t>(((b * n.kv_heads + g) * n.keys + j) * n.value_dim + e);
            d_p[static_cast<size_t>(j)] += static_cast<double>(d_o[e]) * x.v[at];
            d_p_size[static_cast<size_t>(j)] += std::abs(static_cast<double>(d_o[e]) * x.v[at]);
            out.d_v.add(at, p * d_o[e], p * std::abs(d_o[e]));
          }
          delta += p * d_p[static_cast<size_t>(j)];
          delta_size += p * d_p_size[static_cast<size_t>(j)];
        }
        for (int64_t j = 0; j < n.keys; ++j) {
          const double p = s[static_cast<size_t>(j)];
          if (p == 0) continue;
          double ds = p * (d_p[static_cast<size_t>(j)] - delta);
          double size = p * (d_p_size[static_cast<size_t>(j)] + delta_size);
          if (!x.mask.empty()) out.d_mask.add(static_cast<size_t>(row * n.keys + j), ds, size);
          if (!x.bias_value.empty())
            out.d_bias.add(static_cast<size_t>((h * 3 + x.row_span[static_cast<size_t>(position)]) * 4 +
                                               x.key_span[static_cast<size_t>(j)]),
                           ds, size);
          ds *= slope[static_cast<size_t>(j)];  // at most 1: the bound stays
          for (int64_t d = 0; d < n.dim; ++d) {
            const auto at = static_cast<size_t>(((b * n.kv_heads + g) * n.keys + j) * n.dim + d);
            const auto at_q = static_cast<size_t>(row * n.dim + d);
            out.d_q.add(at_q, scale * ds * x.k[at], scale * size * std::abs(x.k[at]));
            out.d_k.add(at, scale * ds * q[d], scale * size * std::abs(q[d]));
          }
        }
        if (x.sinks.empty()) continue;
        const double p = std::exp(x.sinks[static_cast<size_t>(h)] - top) / sum;
        out.d_sinks.add(static_cast<size_t>(h), -p * delta, p * delta_size);
      }
  return out;
}

}  // namespace bareattn::testing
