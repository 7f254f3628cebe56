// What the attention tests share: owned tensors, a whole call in one struct, and its two answers, the fast one and the
// f64 one. Not a test.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include "bareattn/attention.h"
#include "bareattn/attention_cache.h"
#include "bareattn/weights.h"
#include "kernels/kernels.h"

namespace bareattn::testing {

inline constexpr float infinity = std::numeric_limits<float>::infinity();
inline constexpr float nan = std::numeric_limits<float>::quiet_NaN();
inline constexpr double eps = 0x1p-24;

template <class T>
struct Array {  // dense [a, b, c, d]
  std::vector<T> data;
  std::array<int64_t, 4> shape{};
  Array() = default;
  Array(int64_t a, int64_t b, int64_t c, int64_t d, T value = T{})
      : data(static_cast<size_t>(a * b * c * d), value), shape{a, b, c, d} {}
  T& at(int64_t i, int64_t j, int64_t k, int64_t l) {
    return data[static_cast<size_t>(((i * shape[1] + j) * shape[2] + k) * shape[3] + l)];
  }
  const T& at(int64_t i, int64_t j, int64_t k, int64_t l) const { return const_cast<Array*>(this)->at(i, j, k, l); }
  TensorView<T> view() { return {data.data(), {shape[0], shape[1], shape[2], shape[3]}}; }
  TensorView<const T> view() const { return {data.data(), {shape[0], shape[1], shape[2], shape[3]}}; }
};

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

inline Array<float> random_array(std::mt19937& random, int64_t a, int64_t b, int64_t c, int64_t d, float size = 1) {
  std::normal_distribution<float> normal(0, size);
  Array<float> out(a, b, c, d);
  for (float& x : out.data) x = normal(random);
  return out;
}

struct Sizes {
  int64_t batch = 1, heads = 2, kv_heads = 1, rows = 5, keys = 7, dim = 8, value_dim = 8;
};

struct Problem {
  Array<float> q, k, v;
  AttentionParams params;
  std::vector<float> slopes, sinks;
  Array<uint8_t> seen;    // boolean mask, used where it has elements
  Array<float> additive;  // additive mask, used where it has elements

  Problem() = default;
  Problem(const Sizes& n, unsigned seed, float size = 1) {
    std::mt19937 random(seed);
    q = random_array(random, n.batch, n.heads, n.rows, n.dim, size);
    k = random_array(random, n.batch, n.kv_heads, n.keys, n.dim, size);
    v = random_array(random, n.batch, n.kv_heads, n.keys, n.value_dim);
  }
  AttentionParams full_params() const {
    AttentionParams out = params;
    if (!slopes.empty()) out.alibi_slopes = slopes;
    if (!sinks.empty()) out.sinks = sinks;
    if (!seen.data.empty()) out.attn_mask = seen.view();
    if (!additive.data.empty()) out.attn_mask = additive.view();
    return out;
  }
  Array<float> output() const { return {q.shape[0], q.shape[1], q.shape[2], v.shape[3], -7.0F}; }
  std::vector<float> run() const { return run(full_params()); }
  std::vector<float> run(const AttentionParams& with) const {
    Array<float> o = output();
    attention(q.view(), k.view(), v.view(), o.view(), with);
    return o.data;
  }
  std::vector<double> exact() const {
    Array<double> o(q.shape[0], q.shape[1], q.shape[2], v.shape[3], -7.0);
    reference_attention(q.view(), k.view(), v.view(), o.view(), full_params());
    return o.data;
  }
};

/// Row statistics of a whole batch, with room for every one.
struct Collected {
  int64_t batch, heads, rows, keys;
  std::vector<float> lse, max_logit, row_sum, entropy, sum_squares, mean_distance, first_mass, self_weight,
      previous_weight, recent_mass, distance_spread, column_sums, key_columns;  // [2 columns, ...], [keys, 2]
  std::vector<int32_t> max_key;
  std::vector<uint64_t> received;
  std::vector<AttentionStatistics> list;

  explicit Collected(const Problem& p)
      : batch(p.q.shape[0]), heads(p.q.shape[1]), rows(p.q.shape[2]), keys(p.k.shape[2]) {
    const auto n = static_cast<size_t>(batch * heads * rows);
    for (auto* one : fields()) one->assign(n, -7.0F);
    max_key.assign(n, -7);
    column_sums.assign(2 * n, -7.0F);
    for (int64_t j = 0; j < keys; ++j) {
      key_columns.push_back(j % 3 == 1 ? 1.0F : 0.0F);
      key_columns.push_back(static_cast<float>(j % 7) - 2.5F);
    }
    received.assign(static_cast<size_t>(batch * heads * keys), 0);
    for (int64_t b = 0; b < batch; ++b) {
      AttentionStatistics s;
      const int64_t at = b * heads * rows;
      s.row_stride = rows;
      s.lse = lse.data() + at;
      s.max_logit = max_logit.data() + at;
      s.row_sum = row_sum.data() + at;
      s.entropy = entropy.data() + at;
      s.sum_squares = sum_squares.data() + at;
      s.mean_distance = mean_distance.data() + at;
      s.first_mass = first_mass.data() + at;
      s.self_weight = self_weight.data() + at;
      s.previous_weight = previous_weight.data() + at;
      s.recent_mass = recent_mass.data() + at;
      s.distance_spread = distance_spread.data() + at;
      s.columns = 2;
      s.column_stride = heads * rows;
      s.key_columns = key_columns.data();
      s.column_sums = column_sums.data() + 2 * at;
      s.max_key = max_key.data() + at;
      s.key_stride = keys;
      s.received = received.data() + b * heads * keys;
      list.push_back(s);
    }
  }
  std::vector<std::vector<float>*> fields() {
    return {&lse,        &max_logit,   &row_sum,         &entropy,     &sum_squares,    &mean_distance,
            &first_mass, &self_weight, &previous_weight, &recent_mass, &distance_spread};
  }
  bool same(Collected& other) {
    auto a = fields(), b = other.fields();
    for (size_t i = 0; i < a.size(); ++i)
      if (!same_bits(*a[i], *b[i])) return false;
    return same_bits(column_sums, other.column_sums) && same_bits(max_key, other.max_key) &&
           same_bits(received, other.received);
  }
};

/// sum_j p_j |v_j| of every output element, in f64: what the error bound is relative to.
inline std::vector<double> scale_of_error(const Problem& p) {
  Problem absolute = p;
  for (float& x : absolute.v.data) x = std::fabs(x);
  return absolute.exact();
}

/// The largest sum_d |q_d k_d| * scale of the problem: what attention_error_factor() calls `largest`.
inline double largest_score(const Problem& p) {
  double largest = 0;
  const int64_t group = p.q.shape[1] / std::max<int64_t>(1, p.k.shape[1]);
  const double scale = p.params.scale ? std::fabs(*p.params.scale) : 1 / std::sqrt(static_cast<double>(p.q.shape[3]));
  for (int64_t b = 0; b < p.q.shape[0]; ++b)
    for (int64_t h = 0; h < p.q.shape[1]; ++h)
      for (int64_t i = 0; i < p.q.shape[2]; ++i)
        for (int64_t j = 0; j < p.k.shape[2]; ++j) {
          double sum = 0;
          for (int64_t d = 0; d < p.q.shape[3]; ++d)
            sum += std::fabs(static_cast<double>(p.q.at(b, h, i, d)) * p.k.at(b, h / group, j, d));
          largest = std::max(largest, sum * scale);
        }
  return largest;
}

/// |fast - exact| <= c eps sum p |v| + the smallest number that counts, element by element; returns the largest ratio.
inline double expect_within_bound(const Problem& p, const std::vector<float>& fast, double extra_largest = 0) {
  const std::vector<double> exact = p.exact(), unit = scale_of_error(p);
  const double c = attention_error_factor(p.q.shape[3], p.k.shape[2], largest_score(p) + extra_largest);
  double worst = 0;
  for (size_t i = 0; i < fast.size(); ++i) {
    const double error = std::fabs(fast[i] - exact[i]), limit = c * eps * unit[i] + 1e-37;
    EXPECT_TRUE(error <= limit) << "element " << i << ": " << fast[i] << ", exact " << exact[i] << ", limit " << limit;
    if (error > limit) return worst;
    worst = std::max(worst, unit[i] == 0 ? 0 : error / (eps * unit[i]));
  }
  return worst;
}

/// Every table this CPU can run, by name; the scalar twin last.
inline std::vector<const kernels::KernelTable*> all_tables() {
  const kernels::KernelTable* list[8];
  const int count = kernels::tables(list, 8);
  return {list, list + count};
}

/// body() once per table, with that table in use.
inline void with_every_table(const std::function<void(const kernels::KernelTable&)>& body) {
  for (const kernels::KernelTable* table : all_tables()) {
    kernels::set_table_for_test(table);
    SCOPED_TRACE(table->name);
    body(*table);
  }
  kernels::set_table_for_test(nullptr);
}

}  // namespace bareattn::testing
