// The reference: attention as the formula reads, row by row, two passes, everything in f64. Slow on purpose. The checks
// are the front door's, so both refuse the same things.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "attention/call.h"
#include "attention/modify.h"
#include "attention/returns.h"
#include "attention/widen.h"
#include "bareattn/interrupt.h"
#include "base/float_environment.h"

namespace bareattn {
namespace attend {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

struct Row {
  int64_t head, row, position;  // row of the piece
  int64_t begin, end;           // keys that the window leaves
  double max = -infinity, sum = 0;
  std::vector<double> score;   // [end - begin], -inf: not seen
  std::vector<double> weight;  // [end - begin]
};

std::vector<double> read(const ConstTensor& tensor, int64_t batch, int64_t head, int64_t row) {
  std::vector<double> out(static_cast<size_t>(tensor.shape[3]));
  widen(tensor.dtype, address(tensor, batch, head, row, 0), tensor.stride[3], tensor.shape[3], out.data());
  return out;
}

double span_bias(const SpanBias& bias, int64_t head, int64_t position, int64_t key) {
  if (bias.value.empty()) return 0;
  const int64_t row_span = bias.row_span[static_cast<size_t>(position)],
                key_span = bias.key_span[static_cast<size_t>(key)];
  return bias.value[static_cast<size_t>((head * bias.row_spans + row_span) * bias.key_spans + key_span)];
}

// softcap(scale q.k) + ALiBi + bias + mask, -inf where the key is not seen, whatever stood there.
double score(const Call& call, const ScoreTerms& terms, const Row& row, int64_t key, double dot) {
  if (terms.window >= 0 && key < row.position - terms.window && key >= terms.leading_keys) return -infinity;
  double scale = call.scale;
  if (terms.bias != nullptr && !terms.bias->head_scale.empty())
    scale *= terms.bias->head_scale[static_cast<size_t>(row.head)];
  double s = dot * scale;
  if (terms.softcap != 0) s = terms.softcap * std::tanh(s / terms.softcap);
  if (!terms.alibi_slopes.empty())
    s += static_cast<double>(terms.alibi_slopes[static_cast<size_t>(row.head)]) *
         static_cast<double>(key - row.position);
  double term = terms.bias != nullptr ? span_bias(*terms.bias, row.head, row.position, key) : 0;
  if (terms.mask.kind == MaskView::Kind::additive) {
    const double mask = terms.mask.additive.at(row.head, row.row, key);
    term = mask == -infinity || term == -infinity ? -infinity : term + mask;
  } else if (terms.mask.kind == MaskView::Kind::boolean && terms.mask.seen.at(row.head, row.row, key) == 0) {
    return -infinity;
  }
  return term == -infinity ? -infinity : s + term;
}

void softmax(const ScoreTerms& terms, Row& row) {
  bool nan = false;
  for (double s : row.score) {
    row.max = std::max(row.max, s);
    nan |= std::isnan(s);
  }
  const double sink = terms.sinks.empty() ? -infinity : terms.sinks[static_cast<size_t>(row.head)];
  row.max = std::max(row.max, sink);
  row.weight.resize(row.score.size());
  for (size_t j = 0; j < row.score.size(); ++j) {
    row.weight[j] = row.score[j] == -infinity ? 0 : std::exp(row.score[j] - row.max);
    row.sum += row.weight[j];
  }
  if (sink != -infinity) row.sum += std::exp(sink - row.max);
  if (nan || std::isnan(sink)) row.sum = std::numeric_limits<double>::quiet_NaN();
  for (double& w : row.weight) w = row.sum == 0 ? 0 : w / row.sum;
}

void row_statistics(const AttentionStatistics& out, const Row& row) {
  const int64_t at = row.head * out.row_stride + row.row;
  const auto put = [&](float* to, double value) {
    if (to != nullptr) to[at] = static_cast<float>(value);
  };
  const auto weight = [&](int64_t key) {
    return key >= row.begin && key < row.end ? row.weight[static_cast<size_t>(key - row.begin)] : 0.0;
  };
  double entropy = 0, squares = 0, distance = 0, recent = 0;
  int32_t max_key = -1;
  for (int64_t key = row.begin; key < row.end; ++key) {
    const double w = weight(key), s = row.score[static_cast<size_t>(key - row.begin)];
    if (w != 0) entropy -= w * (s - row.max - std::log(row.sum));
    squares += w * w;
    distance += w * static_cast<double>(row.position - key);
    if (key <= row.position && key > row.position - 64) recent += w;
    if (s == row.max && max_key < 0 && s != -infinity) max_key = static_cast<int32_t>(key);
  }
  double spread = 0;
  for (int64_t key = row.begin; key < row.end; ++key) {
    const double from_mean = static_cast<double>(row.position - key) - distance;
    spread += weight(key) * from_mean * from_mean;
  }
  put(out.distance_spread, std::sqrt(spread));
  for (int c = 0; out.column_sums != nullptr && c < out.columns; ++c) {
    double sum = 0;
    for (int64_t key = row.begin; key < row.end; ++key)
      if (const double w = weight(key); w != 0) sum += w * static_cast<double>(out.key_columns[key * out.columns + c]);
    out.column_sums[c * out.column_stride + at] = static_cast<float>(sum);
  }
  put(out.lse, row.sum == 0 ? -infinity : row.max + std::log(row.sum));
  put(out.max_logit, row.max);
  put(out.row_sum, row.sum);
  put(out.entropy, entropy);
  put(out.sum_squares, squares);
  put(out.mean_distance, distance);
  put(out.first_mass, weight(0));
  put(out.self_weight, weight(row.position));
  put(out.previous_weight, weight(row.position - 1));
  put(out.recent_mass, recent);
  if (out.max_key != nullptr) out.max_key[at] = max_key;
}

void key_statistics(const AttentionStatistics& out, const Row& row) {
  for (int64_t key = row.begin; key < row.end; ++key) {
    const double w = row.weight[static_cast<size_t>(key - row.begin)];
    if (std::isnan(w)) continue;
    const auto fixed = static_cast<uint64_t>(std::nearbyint(w * (1 << weight_fraction_bits)));
    if (out.received != nullptr) out.received[row.head * out.key_stride + key] += fixed;
    if (out.pool_block == 0) continue;
    const int64_t r = row.position / out.pool_block, c = key / out.pool_block;
    if (c > r) continue;
    const int64_t cell = row.head * out.pool_stride + r * (r + 1) / 2 + c;
    if (out.pool_sum != nullptr) out.pool_sum[cell] += fixed;
    if (out.pool_max != nullptr) out.pool_max[cell] = std::max(out.pool_max[cell], static_cast<float>(w));
  }
}

}  // namespace
}  // namespace attend

void reference_attention(const ConstTensor& q, const ConstTensor& k, const ConstTensor& v, const MutableTensor& o,
                         const AttentionParams& params) {
  const base::DefaultFloatEnvironment environment;
  using namespace attend;  // NOLINT: the floor's own names
  const Call call = make_call(q, k, &v, params, Types::reference);
  const NamedTensor inputs[] = {{"q", &q}, {"k", &k}, {"v", &v}, {"attn_mask", &params.attn_mask}};
  check_output(call, o, inputs, Types::reference);
  if (wants_rows(call)) clear_rows(call);
  const int64_t group = call.kv_heads == 0 ? 1 : call.heads / call.kv_heads;
  for (const Piece& piece : call.pieces) {
    const ScoreTerms terms = call.terms(piece);
    const AttentionStatistics statistics = statistics_of(call, piece, 0);
    RowCollector collector(call, piece, 0);
    for (int64_t head = 0; head < call.heads; ++head)
      for (int64_t r = 0; r < piece.rows; ++r) {
        Interruption::point();
        Row row{head, r, piece.first_row + r, 0, piece.visible, -infinity, 0, {}, {}};
        if (call.window.left >= 0) row.begin = std::max(row.begin, row.position - call.window.left);
        if (call.window.right >= 0) row.end = std::min(row.end, row.position + call.window.right + 1);
        if (row.begin >= row.end) row.begin = row.end = 0;
        const std::vector<double> query = read(q, piece.batch, head, piece.row + r);
        for (int64_t key = row.begin; key < row.end; ++key) {
          const std::vector<double> other = read(k, piece.batch, head / group, piece.key + key);
          double dot = 0;
          for (size_t d = 0; d < query.size(); ++d) dot += query[d] * other[d];
          row.score.push_back(score(call, terms, row, key, dot));
        }
        softmax(terms, row);
        std::vector<double> sum(static_cast<size_t>(call.value_dim), 0.0);
        for (int64_t key = row.begin; key < row.end; ++key) {
          const size_t j = static_cast<size_t>(key - row.begin);
          if (row.score[j] == -infinity) continue;  // not seen: its value is never looked at
          const std::vector<double> value = read(v, piece.batch, head / group, piece.key + key);
          for (size_t e = 0; e < sum.size(); ++e) sum[e] += row.weight[j] * value[e];
        }
        narrow(sum.data(), call.value_dim, o.dtype, const_cast<void*>(address(o, piece.batch, head, piece.row + r, 0)),
               o.stride[3]);
        row_statistics(statistics, row);
        key_statistics(statistics, row);
        if (wants_rows(call) && collector.wants(head, r)) {
          const std::vector<float> weights(row.weight.begin(), row.weight.end());
          collector.see(head, r, row.begin, weights);
        }
      }
  }
}

}  // namespace bareattn
