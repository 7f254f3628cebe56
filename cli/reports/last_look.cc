// See last_look.h.
#include "reports/last_look.h"

#include <algorithm>
#include <numeric>

namespace bareattn::cli {

LastLook last_look(const Observation& observation, int count, bool value_weighted) {
  const ModelConfig& config = observation.model().config();
  const int64_t length = static_cast<int64_t>(observation.tokens().size()), last = length - 1;
  LastLook look;
  look.mean.assign(length, 0);
  double total = 0;
  std::vector<HeadLook> strongest(length, HeadLook{{}, 0, 0});  // by key
  for (int layer = 0; layer < config.layers; ++layer) {
    for (int head = 0; head < config.heads; ++head) {
      std::vector<float> weights = observation.row_weights({layer, head}, last);
      double size = 1;
      if (value_weighted) {
        const std::vector<float> carried = observation.carried({layer, head});
        for (int64_t j = 0; j < length; ++j) weights[j] *= carried[j];
        size = std::accumulate(weights.begin(), weights.end(), 0.0);
      }
      total += size;
      for (int64_t j = 0; j < length; ++j) {
        look.mean[j] += weights[j];
        const double share = weights[j] / size;
        if (share > strongest[j].weight) strongest[j] = {{layer, head}, static_cast<int32_t>(j), share};
      }
    }
  }
  for (double& weight : look.mean) weight /= total;

  std::vector<int32_t> order(length);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return look.mean[a] > look.mean[b]; });
  const int64_t shown = std::min<int64_t>(count, length);
  for (int64_t i = 0; i < shown; ++i) look.keys.push_back({order[i], look.mean[order[i]]});
  for (int64_t i = shown; i < length; ++i) look.rest += look.mean[order[i]];

  for (int64_t j = 1; j < last - 1; ++j) {
    if (strongest[j].weight > 0) look.heads.push_back(strongest[j]);
  }
  std::stable_sort(look.heads.begin(), look.heads.end(),
                   [](const HeadLook& a, const HeadLook& b) { return a.weight > b.weight; });
  if (look.heads.size() > static_cast<size_t>(count)) look.heads.resize(count);
  return look;
}

std::vector<SpanLook> span_looks(const Observation& observation) {
  const ModelConfig& config = observation.model().config();
  std::vector<SpanLook> looks;
  for (const SpanSet& set : observation.span_sets()) {
    SpanLook look{set};
    const auto index = static_cast<int>(looks.size());
    const double heads = static_cast<double>(config.layers) * config.heads;
    for (int layer = 0; layer < config.layers; ++layer) {
      for (int head = 0; head < config.heads; ++head) {
        const double mean = mean_span_mass(observation, index, {layer, head});
        look.mean += mean / heads;
        look.last += static_cast<double>(observation.span_mass(index, {layer, head}).back()) / heads;
        if (mean > look.most) {
          look.most = mean;
          look.strongest = {layer, head};
        }
      }
    }
    looks.push_back(std::move(look));
  }
  return looks;
}

}  // namespace bareattn::cli
