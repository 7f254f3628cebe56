// See page_sections.h.
#include "view/page_sections.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <stdexcept>

#include "model/carried.h"

namespace bareattn::view {
namespace {

int64_t triangle(int64_t n) { return n * (n + 1) / 2; }

int64_t length(const Observation& observation) { return static_cast<int64_t>(observation.tokens().size()); }

int64_t rows_in(int64_t block_index, int64_t block, int64_t tokens) {
  return std::min(block, tokens - block_index * block);
}

void append_float(Bytes& out, float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<uint8_t>(bits >> shift));
}

template <typename T>
void need(const std::vector<T>& values, int64_t size, const char* what) {
  if (static_cast<int64_t>(values.size()) != size) {
    throw std::logic_error("render_page: the observation gave " + std::to_string(values.size()) + " values for " +
                           what + " where " + std::to_string(size) + " were needed");
  }
}

}  // namespace

PoolLayout pool_layout(const Observation& observation, int merge) {
  const int64_t blocks = (observation.pool_blocks() + merge - 1) / merge;
  return {merge, static_cast<int64_t>(observation.pool_block()) * merge, blocks};
}

PooledMap pooled_map(const Observation& observation, HeadId head, const PoolLayout& layout) {
  const int64_t fine = observation.pool_blocks(), n = length(observation), cells = triangle(layout.blocks);
  const std::vector<double> sum = observation.pool_sum(head);
  const std::vector<float> max = observation.pool_max(head);
  const std::vector<float> first = observation.rows(Measure::first_mass, head);
  need(sum, triangle(fine), "pool_sum");
  need(max, triangle(fine), "pool_max");
  need(first, n, "rows(first_mass)");
  PooledMap map{std::vector<double>(static_cast<size_t>(cells)), std::vector<float>(static_cast<size_t>(cells)),
                std::vector<double>(static_cast<size_t>(layout.blocks))};
  for (int64_t r = 0; r < fine; ++r) {
    for (int64_t c = 0; c <= r; ++c) {
      const size_t from = static_cast<size_t>(triangle(r) + c);
      const size_t to = static_cast<size_t>(triangle(r / layout.merge) + c / layout.merge);
      map.share[to] += sum[from];
      // Not std::max: a NaN must win, whichever side it stands on.
      if (std::isnan(max[from]) || max[from] > map.max[to]) map.max[to] = max[from];
    }
  }
  for (int64_t r = 0; r < layout.blocks; ++r) {
    const double rows = static_cast<double>(rows_in(r, layout.block, n));
    for (int64_t c = 0; c <= r; ++c) {
      const size_t at = static_cast<size_t>(triangle(r) + c);
      map.share[at] /= rows;
      // Weights that the fixed point of the sums rounds to nothing are something still.
      if (map.share[at] == 0) map.share[at] = static_cast<double>(map.max[at]) / rows;
    }
    double first_mass = 0;
    for (int64_t i = r * layout.block; i < std::min(n, (r + 1) * layout.block); ++i) {
      first_mass += static_cast<double>(first[static_cast<size_t>(i)]);
    }
    const double rest = map.share[static_cast<size_t>(triangle(r))] - first_mass / rows;
    // The difference of two sums of roundings: below these it is nothing that is known.
    const double known = std::max(0x1p-20, static_cast<double>(layout.block) * 0x1p-27);
    map.share_without_first[static_cast<size_t>(r)] = rest < known && std::isfinite(rest) ? 0 : rest;
  }
  return map;
}

Bytes pool_bytes(const PooledMap& map) {
  Bytes out;
  out.reserve(2 * map.share.size() + map.share_without_first.size());
  for (const double v : map.share) out.push_back(log_code(v));
  for (const float v : map.max) out.push_back(log_code(static_cast<double>(v)));
  for (const double v : map.share_without_first) out.push_back(log_code(v));
  return out;
}

int64_t thumb_merge(const PoolLayout& layout) { return (layout.blocks + thumb_cells - 1) / thumb_cells; }

Bytes thumb_bytes(const PooledMap& map, const PoolLayout& layout, int64_t tokens) {
  const int64_t merge = thumb_merge(layout), size = (layout.blocks + merge - 1) / merge;
  std::vector<double> share(static_cast<size_t>(triangle(size))), rest(static_cast<size_t>(size));
  for (int64_t r = 0; r < layout.blocks; ++r) {
    // Shares of the rows of a thumbnail cell: each block row counts by how many rows it has.
    const int64_t t = r / merge;
    const int64_t rows = rows_in(r, layout.block, tokens), all = rows_in(t, layout.block * merge, tokens);
    const double weight = static_cast<double>(rows) / static_cast<double>(all);
    for (int64_t c = 0; c <= r; ++c) {
      const double value = map.share[static_cast<size_t>(triangle(r) + c)] * weight;
      share[static_cast<size_t>(triangle(t) + c / merge)] += value;
      if (c > 0 && c < merge) rest[static_cast<size_t>(t)] += value;
    }
    rest[static_cast<size_t>(t)] += map.share_without_first[static_cast<size_t>(r)] * weight;
  }
  Bytes out;
  for (const double v : share) out.push_back(log_code(v));
  for (const double v : rest) out.push_back(log_code(v));
  return out;
}

Bytes row_bytes(const Observation& observation, HeadId head) {
  const int64_t n = length(observation);
  const std::vector<double> received = observation.received(head);
  const std::vector<float> entropy = observation.rows(Measure::entropy, head);
  const std::vector<float> max_weight = observation.rows(Measure::max_weight, head);
  const std::vector<int32_t> max_key = observation.max_key(head);
  need(received, n, "received");
  need(entropy, n, "rows(entropy)");
  need(max_weight, n, "rows(max_weight)");
  need(max_key, n, "max_key");
  const double top = std::log(static_cast<double>(std::max<int64_t>(n, 2)));
  Bytes out;
  out.reserve(static_cast<size_t>(6 * n));
  // Key j is seen by n - j rows: the mean, not the sum, so that late keys are not dim for being late.
  for (int64_t j = 0; j < n; ++j)
    out.push_back(log_code(received[static_cast<size_t>(j)] / static_cast<double>(n - j)));
  for (const float v : entropy) out.push_back(linear_code(static_cast<double>(v), top));
  for (const float v : max_weight) out.push_back(log_code(static_cast<double>(v)));
  for (int shift = 0; shift < (n > 65536 ? 24 : 16); shift += 8) {
    for (const int32_t key : max_key) out.push_back(static_cast<uint8_t>(static_cast<uint32_t>(key) >> shift));
  }
  return out;
}

Bytes key_bytes(const Observation& observation, HeadId head) {
  const ModelConfig& config = observation.model().config();
  const std::vector<double> received = observation.received(head);
  need(received, length(observation), "received");
  Bytes out;
  for (const double v : received) append_float(out, static_cast<float>(v));
  const int kv_head = head.head / (config.heads / std::max(config.kv_heads, 1));
  const std::vector<float> sizes =
      observation.measured().values
          ? observation.carried(head)
          : model::carried_sizes(observation.model(), head.layer, head.head, observation.v_f16(head.layer, kv_head));
  for (const float v : sizes) append_float(out, v);
  return out;
}

Bytes agreement_bytes(const Agreement& agreement, int layer, int heads, bool outputs) {
  const auto side = static_cast<size_t>(heads);
  std::vector<float> js(side * side), cosine(side * side);
  for (size_t a = 0; a < side; ++a) cosine[a * side + a] = 1;
  for (const HeadPair& pair : agreement.pairs) {
    if (pair.layer != layer) continue;
    const auto a = static_cast<size_t>(pair.a), b = static_cast<size_t>(pair.b);
    js[a * side + b] = js[b * side + a] = static_cast<float>(pair.js);
    cosine[a * side + b] = cosine[b * side + a] = static_cast<float>(pair.output_cosine);
  }
  Bytes out;
  append_float(out, static_cast<float>(agreement.rows));
  for (const float v : js) append_float(out, v);
  for (const float v : cosine)
    if (outputs) append_float(out, v);
  return out;
}

Bytes q_bytes(const Observation& observation, HeadId head) {
  const int64_t n = length(observation);
  const std::vector<uint16_t> q = observation.q_f16(head);
  const std::vector<float> lse = observation.rows(Measure::lse, head);
  need(q, n * observation.model().config().head_dim, "q_f16");
  need(lse, n, "rows(lse)");
  Bytes out;
  append_planes(out, q);
  for (const float v : lse) append_float(out, v);
  return out;
}

Bytes k_bytes(const Observation& observation, int layer, int kv_head) {
  const std::vector<uint16_t> k = observation.k_f16(layer, kv_head);
  need(k, length(observation) * observation.model().config().head_dim, "k_f16");
  Bytes out;
  append_planes(out, k);
  return out;
}

}  // namespace bareattn::view
